# SPDX-License-Identifier: Apache-2.0
"""The labelled flows that the flow classifier is trained and judged on, read from captures by our
own core.

Every flow knows its capture, its `group` (what is held out together: a tool and its maker for
attacks, an application for benign traffic) and its `origin` (the repository or laboratory the
capture comes from).
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.errors import InputError
from fortress.features import flow
from fortress.features.collect import collect_flows
from fortress.training import truth
from fortress.training.truth import Fate

Progress = Callable[[str, float], None]
GROUPS = ("attack", "benign", "dns-benign", "dns-tunnel")
DEMONSTRATION = "attack_day"  # the capture that `./dev run` shows: never trained on
_LAB = "lab"
_TELL_EVERY = 100  # captures
_CLOCK_STEP = 7  # end_reason: the stamps of the capture jump back, so the flow is cut at random
# What the lab's labels mean for one flow. A beacon's check-in is an ordinary request, only their
# rhythm tells; ARP has no flows: such flows are dropped.
_KIND_OF_DETECTOR = {
    "port_scan": "scan",
    "address_sweep": "scan",
    "syn_flood": "flood",
    "udp_flood": "flood",
    "icmp_flood": "flood",
    "password_guess": "guess",
}


@dataclass(frozen=True, slots=True)
class FlowSet:
    """Flows with their truth: arrays of one length (`matrix` and each of `columns` have a row a
    flow).

    `fate` is a Fate; `judged` says whether there is enough of the flow to judge; `kind`, `capture`,
    `group`, `origin` are strings; `columns` are the extra columns asked for.
    """

    matrix: npt.NDArray[np.float32]
    judged: npt.NDArray[np.bool_]
    fate: npt.NDArray[np.int8]
    kind: npt.NDArray[np.str_]
    capture: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    origin: npt.NDArray[np.str_]
    columns: Mapping[str, npt.NDArray[Any]]
    digest: str
    damages: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.fate)

    def take(self, rows: npt.NDArray[Any]) -> FlowSet:
        """The flows of a mask or of indices."""
        return FlowSet(
            self.matrix[rows],
            self.judged[rows],
            self.fate[rows],
            self.kind[rows],
            self.capture[rows],
            self.group[rows],
            self.origin[rows],
            {name: column[rows] for name, column in self.columns.items()},
            self.digest,
            self.damages,
        )


@dataclass(frozen=True, slots=True)
class _Capture:
    path: Path
    name: str
    origin: str
    group: str
    judge: Callable[[Mapping[str, npt.NDArray[Any]]], tuple[npt.NDArray[Any], npt.NDArray[Any]]]


def load_flows(
    data: Path, samples: Path | None, progress: Progress, extra: tuple[str, ...] = ()
) -> FlowSet:
    """All labelled flows of the shared captures under `data` and of the lab captures in `samples`.

    Raises InputError when the shared captures are not there.
    """
    folder = _captures_folder(data)
    names = tuple(dict.fromkeys((*flow.COLUMNS, *truth.COLUMNS, "end_reason", *extra)))
    parts: list[FlowSet] = []
    with tempfile.TemporaryDirectory(prefix="fortress-training.") as room:
        progress("unpack captures", 0.0)
        captures = [*_shared_captures(folder, Path(room)), *_lab_captures(samples)]
        for index, capture in enumerate(captures):
            if index % _TELL_EVERY == 0:
                progress(f"read captures, {index} of {len(captures)}", index / len(captures))
            parts.append(_read(capture, names, extra))
    return _joined(parts)


def load_demonstration(samples: Path | None) -> FlowSet | None:
    """The labelled flows of the capture that is never trained on; None where it is not there."""
    parts = [
        _read(capture, (*flow.COLUMNS, *truth.COLUMNS, "end_reason"), ())
        for capture in _lab_captures(samples, demonstration=True)
    ]
    return _joined(parts) if parts else None


def _captures_folder(data: Path) -> Path:
    for folder in (data, data / "pcap", data / "data" / "pcap"):
        if (folder / "labels.tsv").is_file():
            return folder
    raise InputError(
        f"{data}: no labels.tsv there, nor in pcap/ or data/pcap/ below it. The flow classifier is "
        "trained on the shared captures (attack, benign, dns-benign and dns-tunnel .tar.xz with "
        "labels.tsv); put the shared folder beside the checkout or name it with --data"
    )


def _shared_captures(folder: Path, room: Path) -> Iterator[_Capture]:
    for group in GROUPS:
        archive = folder / f"{group}.tar.xz"
        try:
            with tarfile.open(archive) as tar:
                _unpack(tar, room)
        except (OSError, tarfile.TarError) as error:
            raise InputError(f"{archive}: cannot be unpacked: {error}") from None
    with (folder / "labels.tsv").open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            yield _shared_capture(room / row["file_in_tar"], row)


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


def _shared_capture(path: Path, row: Mapping[str, str]) -> _Capture:
    origin = row["repo"].rpartition("/")[0]
    if row["group"] in ("benign", "dns-benign"):
        word = re.split(
            r"[^a-z]", row["label"].removeprefix("benign-").lower().lstrip("0123456789")
        )
        group = f"{row['group']}:{word[0] or row['label']}"
        return _Capture(path, path.name, origin, group, _all_benign)
    known = truth.TRUTHS.get(path.name[:8])
    if known is None:
        raise InputError(
            f"{path.name}: no row for this attack capture in fortress/training/truth.py"
        )

    def judge(flows: Mapping[str, npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        fate = truth.fates(known, flows)
        return fate, np.where(fate > 0, known.kind, "benign")

    return _Capture(path, path.name, origin, known.source, judge)


def _all_benign(
    flows: Mapping[str, npt.NDArray[Any]],
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    rows = len(flows["proto"])
    return np.full(rows, Fate.BENIGN, np.int8), np.full(rows, "benign")


def _lab_captures(samples: Path | None, demonstration: bool = False) -> Iterator[_Capture]:
    if samples is None:
        return
    for path in sorted(samples.glob("*.labels.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        if (facts["scenario"] == DEMONSTRATION) == demonstration:
            name = str(facts["scenario"])
            capture = path.with_name(facts["capture"])
            yield _Capture(capture, name, _LAB, f"{_LAB}:{name}", _lab_judge(facts))


def _lab_judge(
    facts: Mapping[str, Any],
) -> Callable[[Mapping[str, npt.NDArray[Any]]], tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    hosts = [h["ipv4"] for h in facts["hosts"].values()] + [
        h["ipv6"] for h in facts["hosts"].values() if h.get("ipv6")
    ]

    def judge(flows: Mapping[str, npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        fate, kind = _all_benign(flows)
        kind = kind.astype("U16")
        for label in facts["labels"]:
            named = _KIND_OF_DETECTOR.get(label["detector"])
            when = (flows["first_ns"] <= label["end"]) & (flows["last_ns"] >= label["start"])
            there = truth.within(flows["resp_addr"], label["dst"] or "any")
            if label["src"] is None:  # forged senders: not one of the laboratory's hosts
                known = np.any([truth.within(flows["orig_addr"], host) for host in hosts], axis=0)
                hit = when & there & ~known
            else:
                hit = when & there & truth.within(flows["orig_addr"], label["src"])
            fate[hit] = Fate.DROPPED if named is None else Fate.ATTACK
            kind[hit] = named or "benign"
        return fate, kind

    return judge


def _read(capture: _Capture, names: tuple[str, ...], extra: tuple[str, ...]) -> FlowSet:
    collected = collect_flows([capture.path], names)
    flows = collected.columns
    fate, kind = capture.judge(flows)
    keep = (fate != Fate.DROPPED) & (flows["end_reason"] != _CLOCK_STEP)
    rows = int(keep.sum())
    return FlowSet(
        flow.flow_matrix(flows)[keep],
        flow.judgeable(flows)[keep],
        fate[keep],
        kind[keep].astype("U16"),
        np.full(rows, capture.name),
        np.full(rows, capture.group),
        np.full(rows, capture.origin),
        {name: flows[name][keep] for name in extra},
        hashlib.sha256(capture.path.read_bytes()).hexdigest(),
        tuple(damage.replace(str(capture.path), capture.name) for damage in collected.damages),
    )


def _joined(parts: list[FlowSet]) -> FlowSet:
    extra = parts[0].columns
    digests = "\n".join(sorted(part.digest for part in parts))
    return FlowSet(
        np.concatenate([part.matrix for part in parts]),
        np.concatenate([part.judged for part in parts]),
        np.concatenate([part.fate for part in parts]),
        np.concatenate([part.kind for part in parts]),
        np.concatenate([part.capture for part in parts]),
        np.concatenate([part.group for part in parts]),
        np.concatenate([part.origin for part in parts]),
        {name: np.concatenate([part.columns[name] for part in parts]) for name in extra},
        hashlib.sha256(digests.encode()).hexdigest(),
        tuple(damage for part in parts for damage in part.damages),
    )
