# SPDX-License-Identifier: Apache-2.0
"""The labelled captures that models are trained and judged on: where they lie, who made them, and
which of their flows are what.

Every capture knows its `origin` (the repository or laboratory it comes from) and its `group`, what
is held out together: a tool and its maker for attacks, an application for benign traffic. A capture
of the laboratory may hold several tools, so a group is given flow by flow there.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.errors import InputError
from fortress.training import truth
from fortress.training.truth import Fate

Columns = Mapping[str, npt.NDArray[Any]]
GROUPS = ("attack", "benign", "dns-benign", "dns-tunnel")
DEMONSTRATION = "attack_day"  # the capture that `./dev run` shows: never trained on
LAB = "lab"
# What the laboratory's labels mean for one flow. A beacon's check-in is an ordinary request, only
# their rhythm tells; ARP has no flows: such flows are dropped.
_KIND_OF_DETECTOR = {
    "port_scan": "scan",
    "address_sweep": "scan",
    "syn_flood": "flood",
    "udp_flood": "flood",
    "icmp_flood": "flood",
    "password_guess": "guess",
}
_TOOL_OF_DETECTOR = {  # the program behind the labels that do not name theirs
    "port_scan": "nmap",
    "address_sweep": "nmap",
    "syn_flood": "hping3",
    "udp_flood": "hping3",
    "icmp_flood": "hping3",
    "password_guess": "hydra",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of each flow of a capture: its Fate, kind of attack ("benign") and group."""

    fate: npt.NDArray[np.int8]
    kind: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Capture:
    """A labelled capture; `judge` maps its flows (truth.COLUMNS) to what they are."""

    path: Path
    name: str
    origin: str
    judge: Callable[[Columns], Judged]

    @property
    def digest(self) -> str:
        """The sha256 of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def shared_captures(folder: Path, room: Path, groups: Sequence[str] = GROUPS) -> Iterator[Capture]:
    """The captures of some groups of the shared data in `folder` (see `captures_folder`), unpacked
    into `room`.
    """
    for group in groups:
        archive = folder / f"{group}.tar.xz"
        try:
            with tarfile.open(archive) as tar:
                _unpack(tar, room)
        except (OSError, tarfile.TarError) as error:
            raise InputError(f"{archive}: cannot be unpacked: {error}") from None
    with (folder / "labels.tsv").open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            if row["group"] in groups:
                yield _shared_capture(room / row["file_in_tar"], row)


def captures_folder(data: Path) -> Path:
    """Where the shared captures lie in or below `data`. Raises InputError where they do not."""
    for folder in (data, data / "pcap", data / "data" / "pcap"):
        if (folder / "labels.tsv").is_file():
            return folder
    raise InputError(
        f"{data}: no labels.tsv there, nor in pcap/ or data/pcap/ below it. Models are "
        "trained on the shared captures (attack, benign, dns-benign and dns-tunnel .tar.xz with "
        "labels.tsv); put the shared folder beside the checkout or name it with --data"
    )


def lab_captures(*folders: Path | None, demonstration: bool = False) -> Iterator[Capture]:
    """The laboratory's captures in these folders, the demonstration alone or all but it."""
    for folder in folders:
        for path in sorted(folder.glob("*.labels.json")) if folder is not None else ():
            facts = json.loads(path.read_text(encoding="utf-8"))
            name = str(facts["scenario"])
            if (name == DEMONSTRATION) == demonstration:
                yield Capture(path.with_name(facts["capture"]), name, LAB, _lab_judge(name, facts))


def _unpack(tar: tarfile.TarFile, room: Path) -> None:
    """Write the plain files of `tar` below `room`; a name that leads elsewhere is an error."""
    for member in tar:
        place = (room / member.name).resolve()
        if not member.isfile():
            continue
        if not place.is_relative_to(room.resolve()):
            raise tarfile.TarError(f"{member.name} leads out of the archive")
        source = tar.extractfile(member)
        if source is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as target:
                shutil.copyfileobj(source, target)


def _shared_capture(path: Path, row: Mapping[str, str]) -> Capture:
    origin = row["repo"].rpartition("/")[0]
    if row["group"] in ("benign", "dns-benign"):
        word = re.split(
            r"[^a-z]", row["label"].removeprefix("benign-").lower().lstrip("0123456789")
        )
        group = f"{row['group']}:{word[0] or row['label']}"
        return Capture(path, path.name, origin, lambda flows: _all_benign(flows, group))
    known = truth.TRUTHS.get(path.name[:8])
    if known is None:
        raise InputError(
            f"{path.name}: no row for this attack capture in fortress/training/truth.py"
        )

    def judge(flows: Columns) -> Judged:
        fate = truth.fates(known, flows)
        kind = np.where(fate > 0, known.kind, "benign")
        return Judged(fate, kind, np.full(len(fate), known.source))

    return Capture(path, path.name, origin, judge)


def _all_benign(flows: Columns, group: str) -> Judged:
    rows = len(flows["proto"])
    return Judged(
        np.full(rows, Fate.BENIGN, np.int8), np.full(rows, "benign"), np.full(rows, group)
    )


def _lab_judge(name: str, facts: Mapping[str, Any]) -> Callable[[Columns], Judged]:
    hosts = [h["ipv4"] for h in facts["hosts"].values()] + [
        h["ipv6"] for h in facts["hosts"].values() if h.get("ipv6")
    ]

    def judge(flows: Columns) -> Judged:
        calm = _all_benign(flows, f"{LAB}:{name}")
        fate, kind, group = calm.fate, calm.kind.astype("U16"), calm.group.astype("U40")
        for label in facts["labels"]:
            detector = label["detector"]
            named = label.get("kind") or _KIND_OF_DETECTOR.get(detector)
            tool = label.get("tool") or _TOOL_OF_DETECTOR.get(detector, detector)
            when = (flows["first_ns"] <= label["end"]) & (flows["last_ns"] >= label["start"])
            there = truth.within(flows["resp_addr"], label["dst"] or "any")
            if label["src"] is None:  # forged senders: not one of the laboratory's hosts
                known = np.any([truth.within(flows["orig_addr"], host) for host in hosts], axis=0)
                hit = when & there & ~known
            else:
                hit = when & there & truth.within(flows["orig_addr"], label["src"])
            fate[hit] = Fate.DROPPED if named is None else Fate.ATTACK
            kind[hit] = named or "benign"
            group[hit] = f"{LAB}:{tool}"
        return Judged(fate, kind, group)

    return judge
