# SPDX-License-Identifier: Apache-2.0
"""What the sequence model says of flow after flow, gathered into findings about hosts.

A step that looks like a stage of an attack says little; several within ten minutes say more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fortress.features.inside import Inside, sender
from fortress.features.keys import ABSENT, KeyTable, address_key, group, is_among, words
from fortress.features.panes import TEN_MINUTES, Panes
from fortress.qsecbit.describe import of_flow
from fortress.qsecbit.fuse import WATCH
from fortress.qsecbit.shape import rises
from fortress.verdict import Finding, Layer, Source

DETECTOR = "stage_model"
HALF_STEPS = 6.0
ENOUGH = 3  # steps of one host that look like an attack, below which nothing is said
SIGNATURE_ID = 1910  # of the first stage; the others follow
SEVERITIES: Mapping[str, float] = {
    "reconnaissance": 0.45,
    "access": 0.5,
    "command and control": 0.55,
    "lateral movement": 0.6,
    "exfiltration": 0.6,
    "impact": 0.5,
}
READS = (
    "flow_id", "last_ns", "orig_addr", "resp_addr", "orig_port", "resp_port", "proto",
    "orig_mac", "iface",
)  # fmt: skip
_STAGES = tuple(SEVERITIES)
_CALM = len(_STAGES)  # the counter of steps that look like none


class Stages(Protocol):
    """What a sequence model says of some steps, as `fortress.inference.threat_sequence.Stages`."""

    @property
    def row(self) -> npt.NDArray[np.intp]:
        """The number of the flow that each step is."""

    @property
    def stage(self) -> npt.NDArray[np.str_]:
        """The name of the stage of each, "none" below the threshold."""

    @property
    def risk(self) -> npt.NDArray[np.float32]:
        """The calibrated probability of attack."""

    @property
    def surprise(self) -> npt.NDArray[np.float32]:
        """The share of ordinary steps that surprise less."""


class StageModel(Protocol):
    """The part of `fortress.inference.ThreatSequence` that is used here."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The flow columns it reads."""

    @property
    def table(self) -> KeyTable:
        """Who is remembered."""

    def observe(self, tick_ns: int, flows: Mapping[str, npt.NDArray[Any]]) -> Stages:
        """What the flows that ended say of their originators."""

    def begin(self, secret: int) -> None:
        """Forgets every originator; keys are made with this secret from now on."""

    def take_side(self, inside: Inside | None) -> None:
        """Says which addresses are on our side."""

    def clear(self) -> None:
        """Forgets every originator."""


class StageWindows:
    """Steps of each host by stage, over ten minutes."""

    def __init__(self, model: StageModel, secret: int, capacity: int = 1024) -> None:
        self._model = model
        self._secret = secret
        model.begin(secret)
        self.inside: Inside | None = None
        self.table = KeyTable(capacity)
        self._panes = Panes(capacity, len(_STAGES) + 1, TEN_MINUTES)

    def take_side(self, inside: Inside | None) -> None:
        """Says which addresses are on our side."""
        self.inside = inside
        self._model.take_side(inside)

    @property
    def tables(self) -> dict[str, KeyTable]:
        """The bounded tables by name, for their counters."""
        return {"stages": self.table, "originators": self._model.table}

    @property
    def columns(self) -> tuple[str, ...]:
        """The flow columns that are needed."""
        return tuple(dict.fromkeys((*self._model.columns, *READS)))

    def observe(self, flows: Mapping[str, npt.NDArray[Any]], ns: int) -> list[Finding]:
        """Findings about the sources of the flows that ended in this tick."""
        if not flows or not len(flows["flow_id"]):
            return []
        said = self._model.observe(ns, flows)
        stage = _numbers(said.stage)
        if (stage == _CALM).all() and not len(self.table):
            return []
        row = said.row
        host = sender(words(flows["orig_addr"][row]), flows["orig_mac"][row], self.inside)
        source = address_key(self._secret, host)
        worth = is_among(source, source[stage != _CALM]) | (self.table.find(source) != ABSENT)
        step = np.flatnonzero(worth)
        stage, groups = stage[step], group(source[step])
        counts = np.zeros((len(groups.keys), _CALM + 1), np.float32)
        np.add.at(counts, (groups.of_row, stage), 1)
        suspect = np.any(counts[:, :_CALM] > 0, axis=1)
        slots = self.table.find(groups.keys)
        slots[suspect], fresh = self.table.admit(groups.some(suspect), ns)
        self._panes.forget(fresh)
        known = slots != ABSENT
        self._panes.add(slots[known], counts[known], ns)
        suspect &= known
        totals = np.zeros_like(counts)
        totals[suspect] = self._panes.totals(slots[suspect], ns)[0]
        suspect &= totals[:, :_CALM].sum(axis=1) >= ENOUGH
        last = np.full((len(counts), _CALM + 1), -1, np.intp)
        last[groups.of_row, stage] = step
        found = []
        for one in np.flatnonzero(suspect):  # few: a host a finding
            likely = int(np.argmax(np.where(counts[one, :_CALM] > 0, totals[one, :_CALM], 0)))
            found.append(_finding(flows, said, int(last[one, likely]), totals[one], ns))
        return [one for one in found if one.risk >= WATCH]

    def clear(self) -> None:
        """Forgets everything seen."""
        self.table.clear()
        self._model.clear()


def _numbers(stage: npt.NDArray[np.str_]) -> npt.NDArray[np.intp]:
    """The number of each stage in _STAGES, _CALM for every other word."""
    numbers = np.full(len(stage), _CALM, np.intp)
    some = np.flatnonzero(stage != "none")
    for number, name in enumerate(_STAGES):
        numbers[some[stage[some] == name]] = number
    return numbers


def _finding(
    flows: Mapping[str, npt.NDArray[Any]],
    said: Stages,
    step: int,
    totals: npt.NDArray[np.floating[Any]],
    ns: int,
) -> Finding:
    name = str(said.stage[step])
    number = _STAGES.index(name)
    steps, calm = float(totals[:_CALM].sum()), float(totals[_CALM])
    words_of_flow = of_flow(flows, int(said.row[step])) | {"time_ns": ns, "target": ""}
    kinds = {_STAGES[k]: float(totals[k]) for k in range(_CALM) if totals[k]}
    seen = ", ".join(f"{kind} {count:.0f}" for kind, count in kinds.items())
    return Finding(
        detector=DETECTOR,
        signature=f"A sequence of flows looks like {name}",
        signature_id=SIGNATURE_ID + number,
        category="machine learning",
        layer=Layer.L4,
        source=Source.MODEL,
        technique="",
        severity=SEVERITIES[name],
        confidence=float(rises(np.array([steps]), HALF_STEPS)[0]),
        reason=f"{steps:.0f} of {steps + calm:.0f} steps of {words_of_flow['host']} within ten"
        f" minutes look like an attack ({seen}), the last to {words_of_flow['dest_ip']}",
        evidence={
            "stage": name,
            "suspicious": steps,
            "calm": calm,
            "risk": round(float(said.risk[step]), 4),
            "surprise": round(float(said.surprise[step]), 4),
        },
        **words_of_flow,
    )
