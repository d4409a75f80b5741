# SPDX-License-Identifier: Apache-2.0
"""From the rows of a tick to findings, verdicts and the score: windows, detectors, model, fuse.

No input or output, no clock: what a tick gives is a function of its rows and of those before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from fortress.errors import ConfigError
from fortress.features.rows import Columns, Table
from fortress.features.windows import (
    FLOW_COLUMNS,
    INTERVAL_COLUMNS,
    PACKET_COLUMNS,
    REPLAY_SECRET,
    Windows,
)
from fortress.qsecbit.catalogue import chosen
from fortress.qsecbit.contract import Plain, Setting
from fortress.qsecbit.describe import Evidence, finding
from fortress.qsecbit.fuse import WATCH, Fuse, FuseSettings
from fortress.qsecbit.hold import Hold
from fortress.qsecbit.model import Classifier, ModelWindows
from fortress.qsecbit.places import Places
from fortress.qsecbit.score import score
from fortress.verdict import Finding, Notice, Score, Status, Verdict

WARM_S = 60  # until the shortest windows are full, the score is less sure of itself
_COLD = 0.5
_STALE = 0.5
_SECOND = 1_000_000_000
_Found = tuple[Finding, float]  # and the most risk it may have alone
_NEEDED = ("orig_port", "orig_mac", "iface")  # to describe what was found


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """The config sections `[qsecbit]` and `[detectors.<name>]`, checked when a Pipeline is made."""

    qsecbit: Mapping[str, Plain] = field(default_factory=dict)
    detectors: Mapping[str, Mapping[str, Plain]] = field(default_factory=dict)
    secret: int = REPLAY_SECRET


@dataclass(frozen=True, slots=True)
class TickResult:
    """What one tick brought: findings that are news, verdicts that changed, the score, notices."""

    opened: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]
    score: Score
    notices: tuple[Notice, ...] = ()


class Pipeline:
    """Holds windows, detectors, model and fuse; `tick` takes one closed tick after another."""

    def __init__(
        self, settings: PipelineSettings | None = None, classifier: Classifier | None = None
    ) -> None:
        settings = settings or PipelineSettings()
        self._detectors = chosen(settings.detectors)
        self._places = Places()
        self._fuse = Fuse(fuse_settings(settings.qsecbit), self._places)
        self._windows = Windows(settings.secret)
        self._model = ModelWindows(classifier, settings.secret) if classifier else None
        self._hold = Hold(
            self.reads_interval_columns, self.reads_flow_columns, self.reads_packet_columns
        )
        self._status = Status.GREEN
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._loss = 0.0
        self._stale = False
        self._refused = 0

    @property
    def reads_flow_columns(self) -> tuple[str, ...]:
        """The columns of ended flows that `tick` needs."""
        model = self._model.columns if self._model else ()
        return tuple(dict.fromkeys((*FLOW_COLUMNS, *_NEEDED, *model)))

    @property
    def reads_interval_columns(self) -> tuple[str, ...]:
        """The columns of interval rows that `tick` needs."""
        return INTERVAL_COLUMNS

    @property
    def reads_packet_columns(self) -> tuple[str, ...]:
        """The columns of packet rows that `tick` needs; the stream's packet_rows="control" has the
        rows.
        """
        return PACKET_COLUMNS

    @property
    def memory_bytes(self) -> int:
        """What the windows hold at most."""
        return self._windows.memory_bytes

    def counters(self) -> dict[str, int]:
        """How often a bounded table was full: evictions and refusals by table, findings that found
        no room.
        """
        counts = {"findings_overflows": self._fuse.overflows}
        for name, table in self._windows.tables.items():
            counts |= {f"{name}_evictions": table.evictions, f"{name}_refusals": table.refusals}
        return counts

    def sensor(
        self, *, packets: int = 0, drops: int = 0, lost: int = 0, stale: bool = False
    ) -> None:
        """Tells how far the sensors can be trusted: packets seen, dropped by the kernel, lost by
        us, and whether an input has gone stale; counted since the last call.
        """
        seen = packets + drops + lost
        self._loss = (drops + lost) / seen if seen else 0.0
        self._stale = stale

    def tick(
        self, tick_ns: int, intervals: Columns, flows: Columns, packets: Columns
    ) -> TickResult:
        """What the rows of the tick at `tick_ns` (mappings name → array of one length) bring.

        Floods and logins are judged at once, the rest after at most four seconds (see hold.py); at
        the end of the input call `finish`.

        A tick earlier than the last one starts everything anew, with a notice `clock_step`.
        """
        rest = self.finish() if self._last_ns is not None and tick_ns < self._last_ns else None
        notices = self._start(tick_ns)
        found: list[_Found] = []
        if self._hold.is_over(tick_ns):
            found += self._judge(self._hold.take())
        self._hold.add(tick_ns, intervals, flows, packets)
        tick = Evidence(tick_ns, intervals, flows, packets)
        found += self._judge_tables(self._windows.at_once(tick_ns, intervals), tick)
        if self._hold.is_due():
            found += self._judge(self._hold.take())
        else:
            self._hold.keep()
        result = self._result(tick_ns, found, notices)
        if rest is None:
            return result
        opened, verdicts = rest.opened + result.opened, rest.verdicts + result.verdicts
        return replace(result, opened=opened, verdicts=verdicts)

    def finish(self) -> TickResult | None:
        """What the rows bring that were still held when the input ended; None without any."""
        if not self._hold or self._last_ns is None:
            return None
        return self._result(self._last_ns, self._judge(self._hold.take()), ())

    def _judge(self, held: Evidence) -> list[_Found]:
        tables = self._windows.observe(held.ns, held.intervals, held.flows, held.packets)
        self._places.learn(self._windows.prefixes, self._windows.gateways)
        found = self._judge_tables(tables, held)
        if self._model:
            found += [(one, 1.0) for one in self._model.observe(held.flows, held.ns)]
        return found

    def _judge_tables(self, tables: Mapping[str, Table], evidence: Evidence) -> list[_Found]:
        found: list[_Found] = []
        for setting in self._detectors:
            table = tables.get(setting.detector.table)
            if table and len(table["row"]):
                found += _judged(setting, table, evidence)
        return found

    def _result(self, ns: int, found: Sequence[_Found], notices: tuple[Notice, ...]) -> TickResult:
        opened = self._fuse.add(ns, found) if found else ()
        parts = self._fuse.parts(ns) if len(self._fuse) else []
        verdicts = self._fuse.verdicts(ns, parts) if found else ()  # decay alone changes none
        now = score(ns, parts, self._status, self._confidence(ns))
        self._status = now.status
        return TickResult(opened, verdicts, now, notices)

    def _start(self, tick_ns: int) -> tuple[Notice, ...]:
        last, self._last_ns = self._last_ns, tick_ns
        if last is None or tick_ns >= last:
            self._first_ns = tick_ns if self._first_ns is None else self._first_ns
            return ()
        self._first_ns = tick_ns
        self._hold.clear()
        self._fuse.clear()
        self._windows.clear()
        if self._model:
            self._model.clear()
        self._status = Status.GREEN
        seconds = (last - tick_ns) / _SECOND
        message = f"the capture's clock went back by {seconds:.3f} s; windows start anew"
        return (Notice(tick_ns, "clock_step", message, {"seconds": seconds}),)

    def _confidence(self, tick_ns: int) -> float:
        age_s = (tick_ns - (self._first_ns or tick_ns)) / _SECOND
        warm = _COLD + (1 - _COLD) * min(age_s / WARM_S, 1.0)
        refused = sum(table.refusals for table in self._windows.tables.values())
        overloaded, self._refused = refused > self._refused, refused
        return warm * (1 - self._loss) * (_STALE if self._stale or overloaded else 1.0)


def fuse_settings(section: Mapping[str, Plain]) -> FuseSettings:
    """The settings of `[qsecbit]`; ConfigError names the key at fault."""
    known = {one.name: one for one in fields(FuseSettings)}
    for key, value in section.items():
        if key not in known:
            raise ConfigError(f"qsecbit.{key}: no such setting; there are: {', '.join(known)}")
        boolean = known[key].type == "bool"
        if boolean != isinstance(value, bool) or isinstance(value, str):
            raise ConfigError(
                f"qsecbit.{key}: {value!r} is not {'true or false' if boolean else 'a number'}"
            )
        if not boolean and not value > 0:
            raise ConfigError(f"qsecbit.{key}: {value!r} is not above 0")
    values: dict[str, Any] = dict(section)
    return FuseSettings(**values)


def _judged(setting: Setting, table: Table, evidence: Evidence) -> list[_Found]:
    detector = setting.detector
    scores = setting.scores(table)
    rows = np.flatnonzero(scores * detector.severity >= WATCH)
    if len(rows) > _MOST_ROWS:  # a storm: the surest ones stand for it
        rows = np.sort(rows[np.argsort(-scores[rows], kind="stable")[:_MOST_ROWS]])
    rows = rows[np.argsort(table["row"][rows], kind="stable")]  # whatever the keys are
    return [
        (finding(detector, table, int(row), float(scores[row]), evidence), detector.lone_risk)
        for row in rows
    ]


_MOST_ROWS = 256
