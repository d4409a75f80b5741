# SPDX-License-Identifier: Apache-2.0
"""What the agent shows of itself: immutable snapshots, and who gives and who reads them.

The loop makes snapshots and replaces them whole (`Board` in board.py keeps them); the HTTP surface
reads them from its own threads. Neither knows the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from fortress.archive.shelf import ArchiveState
from fortress.qsecbit.energy import Energy
from fortress.verdict import Finding, Score, Status

SensorState = Literal["live", "stale", "missing"]
State = Literal["starting", "running", "reloading", "stopping"]
Fact = float | int | str


@dataclass(frozen=True, slots=True)
class SensorRow:
    """One input: `live`, `stale` (it was, or says less than it should) or `missing`.

    `kind` has few values (capture, conntrack, devices, energy, guard, lists, output), `name` tells
    them apart (an interface); `reason` says why it is not live; `last_ns` is when it last said
    something, 0 never.
    """

    name: str
    kind: str
    state: SensorState
    reason: str = ""
    last_ns: int = 0
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Totals:
    """What was seen and what was lost since the start; each number only rises."""

    packets: int = 0
    bytes: int = 0
    flows: int = 0
    kernel_drops: int = 0  # packets: the ring was full
    rows_lost: int = 0  # rows of a tick beyond its bound: seen by the flow table, not judged
    packets_shed: int = 0  # left out on purpose above capacity, by flow hash
    flows_evicted: int = 0  # ended early: the flow table was full


DROPS = ("kernel_drops", "rows_lost", "packets_shed", "flows_evicted")


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model in use; the indices of drift are None while too little was seen."""

    name: str
    mode: str
    version: str = ""
    publisher: str = ""
    drift_inputs: float | None = None
    drift_scores: float | None = None


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """The agent at one moment; `time_ns` is the last tick's, wall clock.

    `sampled` is the share of flows that is looked at: 1.0 unless load is shed.
    """

    time_ns: int
    state: State = "running"
    mode: str = "monitor"
    source: str = ""
    sensors: tuple[SensorRow, ...] = ()
    totals: Totals = Totals()
    flows_active: int = 0
    sampled: float = 1.0
    archive: ArchiveState | None = None  # None = no archive is kept
    energy: Energy | None = None  # None = nothing is known
    models: tuple[ModelRow, ...] = ()
    notes: tuple[str, ...] = ()  # sentences for people: why `auto` chose the source, what is off


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the loop moves: `ok` is what `/health` answers 200 or 503 for."""

    ok: bool
    state: str
    pid: int
    version: str
    uptime_s: float
    tick_age_s: float | None  # since the loop last said something; None = it never has
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """The worst of a second or a minute, and what was seen in it."""

    time_ns: int
    value: float
    status: Status
    confidence: float
    packets: int
    bytes: int
    drops: int


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block: `standing` in the kernel, or `proposed` and waiting to be confirmed."""

    target: str
    kind: Literal["addr", "prefix", "mac"]
    action: str
    state: Literal["standing", "proposed"]
    origin: str
    why: str
    until_ns: int | None = None  # None = until it is undone
    hits: int | None = None  # None = not known
    signatures: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request to change something."""

    done: bool
    message: str


class AgentView(Protocol):
    """What the surface reads; every call is quick, never blocks and may come from any thread."""

    def health(self) -> Health:
        """Whether the loop moves."""

    def status(self) -> AgentStatus | None:
        """The last snapshot; None before the first."""

    def score(self) -> Score | None:
        """The last score; None = no data."""

    def history(self, since_ns: int, step_s: int) -> tuple[HistoryRow, ...]:
        """Rows not older than `since_ns`, oldest first; a row a second or a minute (1 or 60)."""

    def findings(self, limit: int) -> tuple[Finding, ...]:
        """The last findings, newest first."""

    def blocks(self) -> tuple[BlockRow, ...]:
        """Blocks that stand or wait to be confirmed."""

    def metrics(self) -> bytes:
        """Prometheus' text."""


class AgentControl(Protocol):
    """What the surface may ask for; called from its threads, FortressError says what is wrong."""

    def confirm(self, target: str) -> Outcome:
        """Carry out the block that is proposed for `target`."""

    def reload(self) -> Outcome:
        """Read the configuration again."""

    def promote(self, name: str, version: str) -> Outcome:
        """Put a published version of a model in use."""

    def rollback(self, name: str) -> Outcome:
        """Put the version of a model that was in use before back in use."""
