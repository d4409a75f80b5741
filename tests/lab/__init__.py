"""The lab: records labelled captures of real tools in private network namespaces and judges Fortress on them."""
