"""The lab: labelled captures of real tools, and judgement of Fortress on them."""
