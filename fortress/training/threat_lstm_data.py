# SPDX-License-Identifier: Apache-2.0
"""What the model `threat-lstm` learns from: the flows of each capture in the order in which the
core hands them out, each with the stage of the attack that it belongs to.

Sources: the shared captures (stages from `truth.py`), captures of the laboratory (stages from the
techniques of their labels) and public flow logs of Zeek (labelled by their publishers).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.features import sequence
from fortress.training import truth
from fortress.training.captures import Capture, captures_folder, lab_captures, shared_captures
from fortress.training.dataset import read_columns
from fortress.training.threat_lstm_logs import read_logs
from fortress.training.truth import Fate

STAGES = (
    "none",
    "reconnaissance",
    "access",
    "command and control",
    "lateral movement",
    "exfiltration",
    "impact",
)
UNKNOWN = -1  # a flow that is neither learnt from nor counted
COLUMNS = tuple(dict.fromkeys((*sequence.COLUMNS, *truth.COLUMNS)))
_STAGE_OF_KIND = {"scan": 1, "guess": 2, "c2": 3, "lateral": 4, "tunnel": 5, "flood": 6}
_LATERAL = ("petitpotam", "smb")  # exploits and copies between hosts of one network
_STAGE_OF_TECHNIQUE = {  # ATT&CK technique → tactic, the way this model names it
    "T1018": 1, "T1046": 1, "T1595": 1, "T1110": 2, "T1071": 3, "T1021": 4, "T1570": 4,
    "T1041": 5, "T1048": 5, "T1572": 5, "T1498": 6, "T1499": 6,
}  # fmt: skip
_TELL_EVERY = 100
_CLOCK_STEP = 7  # end_reason: the stamps of the capture jump back, so the flow is cut at random
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Episode:
    """A capture's flows (`COLUMNS`, in order of their end) and the stage of each, int8, UNKNOWN
    where nobody can say.

    `unit` is what is held out together: a tool and its maker, a scenario, an application; `origin`
    the repository or laboratory.
    """

    name: str
    unit: str
    origin: str
    flows: Mapping[str, npt.NDArray[Any]]
    stage: npt.NDArray[np.int8]

    def take(self, rows: npt.NDArray[Any]) -> Episode:
        """Some of its flows."""
        some = {name: column[rows] for name, column in self.flows.items()}
        return Episode(self.name, self.unit, self.origin, some, self.stage[rows])


@dataclass(frozen=True, slots=True)
class Corpus:
    """Everything there is to learn from and to be judged on, and a digest of it."""

    episodes: tuple[Episode, ...]
    digest: str


def load_corpus(data: Path, labs: tuple[Path, ...], progress: Progress) -> Corpus:
    """All episodes: shared captures and logs under `data`, lab captures in the folders `labs`; the
    demonstration is not among them.

    Raises InputError when the shared captures are not there.
    """
    folder = captures_folder(data)
    episodes = []
    with tempfile.TemporaryDirectory(prefix="fortress-training.") as room:
        progress("unpack captures", 0.0)
        captures = list(shared_captures(folder, Path(room)))
        for index, capture in enumerate(captures):
            if index % _TELL_EVERY == 0:
                progress(f"read captures, {index} of {len(captures)}", index / len(captures))
            episodes.append(_shared(capture))
    episodes += [_lab(capture) for capture in lab_captures(*labs)]
    for name, origin, flows, stage in read_logs(folder.parent / "flows"):
        episodes.append(Episode(name, f"log:{name}", origin, flows, stage))
    episodes = [episode for episode in episodes if len(episode.stage)]
    return Corpus(tuple(episodes), _digest(episodes))


def demonstration(samples: Path) -> Episode | None:
    """The lab's day of attacks, which is never trained on; None where it is not."""
    for capture in lab_captures(samples, demonstration=True):
        return _lab(capture)
    return None


def _shared(capture: Capture) -> Episode:
    flows, _, _ = read_columns(capture, (*COLUMNS, "end_reason"))
    judged = capture.judge(flows)
    unit = str(judged.group[0]) if len(judged.group) else capture.name
    kind = str(judged.kind[judged.fate > 0][0]) if (judged.fate > 0).any() else ""
    lateral = unit in _LATERAL
    stage = _STAGE_OF_KIND.get("lateral" if lateral else kind, UNKNOWN)
    stages = np.full(len(judged.fate), UNKNOWN, np.int8)
    stages[judged.fate == Fate.BENIGN] = 0
    stages[judged.fate == Fate.ATTACK] = stage
    if lateral:
        stages[judged.fate == Fate.CONTENT] = stage
    return _whole(Episode(capture.name, unit, capture.origin, flows, stages))


def _lab(capture: Capture) -> Episode:
    flows, _, _ = read_columns(capture, (*COLUMNS, "end_reason"))
    labels = json.loads(labels_path(capture).read_text(encoding="utf-8"))
    stages = _by_labels(labels, flows)
    return _whole(Episode(capture.name, f"lab:{capture.name}", capture.origin, flows, stages))


def is_reserved(episode: Episode) -> bool:
    """Whether it is a campaign that is never learnt from: one in ten, by its number."""
    number = episode.name.removeprefix("campaign_")
    return episode.name != number and int(number) % 10 == 7


def labels_path(capture: Capture) -> Path:
    """Where the labels of a capture of the laboratory lie."""
    return capture.path.with_name(capture.path.name.split(".")[0] + ".labels.json")


def _whole(episode: Episode) -> Episode:
    """Without flows that a jump of the capture's clock cut off."""
    whole = np.flatnonzero(episode.flows["end_reason"] != _CLOCK_STEP)
    flows = {name: episode.flows[name] for name in COLUMNS}
    return replace(episode, flows=flows).take(whole)


def _by_labels(
    facts: Mapping[str, Any], flows: Mapping[str, npt.NDArray[Any]]
) -> npt.NDArray[np.int8]:
    hosts = [h[key] for h in facts["hosts"].values() for key in ("ipv4", "ipv6") if h.get(key)]
    stages = np.zeros(len(flows["proto"]), np.int8)
    for label in facts["labels"]:
        when = (flows["first_ns"] <= label["end"]) & (flows["last_ns"] >= label["start"])
        there = truth.within(flows["resp_addr"], label["dst"] or "any")
        if label["src"] is None:  # forged senders: none of the lab's hosts
            own = [truth.within(flows["orig_addr"], host) for host in hosts]
            hit = when & there & ~np.any(own, axis=0)
        else:
            hit = when & there & truth.within(flows["orig_addr"], label["src"])
        stages[hit] = _STAGE_OF_TECHNIQUE.get(label["technique"][:5], UNKNOWN)
    return stages


def _digest(episodes: list[Episode]) -> str:
    digest = hashlib.sha256()
    for episode in episodes:
        digest.update(f"{episode.name} {episode.unit} {episode.origin}\n".encode())
        for name in COLUMNS:
            digest.update(np.ascontiguousarray(episode.flows[name]).tobytes())
        digest.update(episode.stage.tobytes())
    return digest.hexdigest()
