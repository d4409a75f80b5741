"""The labels file beside each capture: what is in it, when, and how it was made.

``NAME.labels.json`` is one object:

- ``schema`` (1), ``scenario``, ``sentence``, ``capture`` (file name), ``sha256`` (of that file);
- ``packets``, ``wire_bytes``, ``start``, ``end`` (epoch ns of first and last packet), ``dropped``;
- ``interface``, ``snaplen``, ``offloads`` (whether senders handed over segments of up to 64 KiB);
- ``hosts``: name → ``ipv4``, ``ipv6``, ``mac``; ``tools``: name → Debian package and version;
- ``commands``: ``at`` (epoch ns), ``actor``, ``command``, ``times``;
- ``labels``, empty for benign traffic. A label has ``start``, ``end`` (epoch ns of its first and
  last packet), ``src``, ``dst`` (address, network, or null for many or forged), ``src_mac``,
  ``technique`` (ATT&CK), ``detector``, ``also`` (other detectors that are right to speak of it),
  ``notice`` (whether a finding below an alert's risk counts as detected) and ``note``; captures
  for training also have ``kind`` and ``tool`` (what the flows are, which program made them).
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1
SUFFIX = ".labels.json"
_TECHNIQUE = re.compile(r"T\d{4}(\.\d{3})?")
_KEYS = {
    "schema": int, "scenario": str, "sentence": str, "capture": str, "sha256": str, "packets": int,
    "wire_bytes": int, "start": int, "end": int, "snaplen": int, "offloads": bool, "interface": str,
    "dropped": int, "hosts": dict, "tools": dict, "commands": list, "labels": list,
}  # fmt: skip


class LabelsError(Exception):
    """A labels file is missing or says something impossible; the message names file and key."""


@dataclass(frozen=True, slots=True)
class Label:
    """One attack in a capture; see the module's text for the meaning of each field."""

    start: int
    end: int
    src: str | None
    dst: str | None
    src_mac: str | None
    technique: str
    detector: str
    note: str
    also: tuple[str, ...] = ()
    notice: bool = False
    kind: str = ""
    tool: str = ""


def labels_path(capture: Path) -> Path:
    """Where the labels of a capture file lie: beside it, without the capture's own suffixes."""
    name = capture.name
    for suffix in (".gz", ".zst", ".pcap", ".pcapng"):
        name = name.removesuffix(suffix)
    return capture.with_name(name + SUFFIX)


def write_labels(path: Path, facts: dict[str, Any], labels: tuple[Label, ...]) -> None:
    """Write a labels file; what does not satisfy ``read_labels`` is not written."""
    document = {"schema": SCHEMA, **facts, "labels": [asdict(label) for label in labels]}
    text = json.dumps(document, indent=1) + "\n"
    _check(json.loads(text), path)
    path.write_text(text)


def read_labels(path: Path) -> tuple[dict[str, Any], tuple[Label, ...]]:
    """The facts and the labels of a labels file, checked."""
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise LabelsError(f"{path}: no labels file; only labelled captures can be judged") from None
    except ValueError as error:
        raise LabelsError(f"{path}: not JSON: {error}") from error
    labels = _check(document, path)
    return {key: value for key, value in document.items() if key != "labels"}, labels


def _check(document: Any, path: Path) -> tuple[Label, ...]:
    if not isinstance(document, dict):
        raise LabelsError(f"{path}: not a JSON object")
    for key, kind in _KEYS.items():
        if type(document.get(key)) is not kind:
            raise LabelsError(f"{path}: {key}: want {kind.__name__}, have {document.get(key)!r}")
    if document["schema"] != SCHEMA:
        raise LabelsError(f"{path}: schema: {document['schema']} is not {SCHEMA}")
    return tuple(
        _check_label(record, f"{path}: labels[{index}]", document)
        for index, record in enumerate(document["labels"])
    )


def _check_label(record: Any, where: str, document: dict[str, Any]) -> Label:
    try:
        label = Label(**{**record, "also": tuple(record.get("also", ()))})
    except (TypeError, AttributeError) as error:
        raise LabelsError(f"{where}: {error}") from error
    if not document["start"] <= label.start <= label.end <= document["end"]:
        raise LabelsError(f"{where}: start and end are not within the capture's")
    if not _TECHNIQUE.fullmatch(label.technique):
        raise LabelsError(f"{where}: technique: {label.technique!r} is no ATT&CK id")
    for key in ("src", "dst"):
        value = getattr(label, key)
        try:
            if value is not None:
                ipaddress.ip_network(value)
        except ValueError as error:
            raise LabelsError(f"{where}: {key}: {error}") from error
    return label
