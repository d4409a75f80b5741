# SPDX-License-Identifier: Apache-2.0
"""From the rows of a tick to findings, verdicts and the score: windows, detectors, model, fuse.

No input or output, no clock: what a tick gives is a function of its rows and of those before it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from fortress.errors import ConfigError
from fortress.features.inside import Inside
from fortress.features.keys import Addresses
from fortress.features.lately import LastSecond, Unsettled
from fortress.features.rows import Columns, Table
from fortress.features.windows import (
    ATTEMPT_COLUMNS,
    FLOW_COLUMNS,
    INTERVAL_COLUMNS,
    PACKET_COLUMNS,
    REPLAY_SECRET,
    Windows,
)
from fortress.qsecbit.catalogue import chosen
from fortress.qsecbit.contract import Plain, Setting
from fortress.qsecbit.describe import Evidence, finding, mac_text
from fortress.qsecbit.fuse import WATCH, Fuse, FuseSettings
from fortress.qsecbit.hold import ENDED_S, HOLD_S, Hold
from fortress.qsecbit.model import Classifier, ModelWindows
from fortress.qsecbit.places import OurSide, Places
from fortress.qsecbit.score import score
from fortress.qsecbit.shadows import Shadows
from fortress.qsecbit.stages import StageModel, StageWindows
from fortress.qsecbit.unusual import DeviceModel, UnusualDevices
from fortress.verdict import Finding, Notice, Score, Status, Verdict

WARM_S = 60  # until the shortest windows are full, the score is less sure of itself
_COLD = 0.5
_STALE = 0.5
_SECOND = 1_000_000_000
_Found = tuple[Finding, float]  # and the most risk it may have alone
_V4, _WORD = 0xFFFF << 32, (1 << 64) - 1  # addresses are of 16 bytes, in two words
_NEEDED = ("orig_port", "orig_mac", "iface")  # to describe what was found


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """The config sections `[qsecbit]` and `[detectors.<name>]`, checked when a Pipeline is made."""

    qsecbit: Mapping[str, Plain] = field(default_factory=dict)
    detectors: Mapping[str, Mapping[str, Plain]] = field(default_factory=dict)
    secret: int = REPLAY_SECRET
    tick_ns: int = _SECOND  # shorter ones, as of live capture, are judged at once


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
        self,
        settings: PipelineSettings | None = None,
        classifier: Classifier | None = None,
        stages: StageModel | None = None,
        devices: DeviceModel | None = None,
    ) -> None:
        settings = settings or PipelineSettings()
        self._detectors = chosen(settings.detectors)
        self._places = Places()
        self._fuse = Fuse(fuse_settings(settings.qsecbit), self._places)
        self._side: OurSide | None = None
        self._windows = Windows(settings.secret)
        self._model = ModelWindows(classifier, settings.secret) if classifier else None
        self._stages = StageWindows(stages, settings.secret) if stages else None
        self._devices = UnusualDevices(devices, settings.secret) if devices else None
        self._holds = (
            Hold(HOLD_S, intervals=ATTEMPT_COLUMNS, packets=PACKET_COLUMNS),
            Hold(ENDED_S, flows=self.reads_flow_columns),
        )
        self._lately = LastSecond(INTERVAL_COLUMNS) if settings.tick_ns < _SECOND else None
        self._unsettled = Unsettled(INTERVAL_COLUMNS)
        self._status = Status.GREEN
        self._score: Score | None = None
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._loss = 0.0
        self._stale = False
        self._refused = 0
        self._is_shadowed = False
        self._stages_are_shadowed = True
        self._devices_are_shadowed = True
        self._shadows = Shadows()

    @property
    def reads_flow_columns(self) -> tuple[str, ...]:
        """The columns of ended flows that `tick` needs."""
        model = self._model.columns if self._model else ()
        stages = self._stages.columns if self._stages else ()
        return tuple(dict.fromkeys((*FLOW_COLUMNS, *_NEEDED, *model, *stages)))

    @property
    def reads_interval_columns(self) -> tuple[str, ...]:
        """The columns of interval rows that `tick` needs."""
        devices = self._devices.columns if self._devices else ()
        return tuple(dict.fromkeys((*INTERVAL_COLUMNS, *devices)))

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
        tables = self._windows.tables | (self._stages.tables if self._stages else {})
        for name, table in tables.items():
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

        Of ticks of a second floods and logins are judged at once, the rest after at most five
        seconds, ended flows after fifteen (see hold.py); at the end of the input call `finish`.
        Shorter ticks are judged as they come (see features/lately.py), and have the same score
        within a second unless something is found.

        A tick earlier than the last one starts everything anew, with a notice `clock_step`.
        """
        rest = self.finish() if self._last_ns is not None and tick_ns < self._last_ns else None
        notices = self._start(tick_ns)
        tick = Evidence(tick_ns, intervals, flows, packets)
        found = self._judge_held(tick) if self._lately is None else self._judge_now(tick)
        found += self._judge_devices(tick)
        result = self._result(tick_ns, found, notices)
        if rest is None:
            return result
        opened, verdicts = rest.opened + result.opened, rest.verdicts + result.verdicts
        return replace(result, opened=opened, verdicts=verdicts)

    def finish(self) -> TickResult | None:
        """What the rows bring that were still held when the input ended; None without any."""
        if self._lately is not None and self._last_ns is not None:  # a second on all is settled
            nothing = Evidence(self._last_ns + _SECOND, {}, {}, {})
            found = self._judge_now(nothing)
            return self._result(self._last_ns, found, ()) if found else None
        if self._last_ns is None or not any(self._holds):
            return None
        found = [one for hold in self._holds if hold for one in self._judge(hold.take())]
        return self._result(self._last_ns, found, ())

    def place(self, side: OurSide | None) -> None:
        """Takes what the machine that captures knows of the networks around it; None where that is
        nothing, as in replay. What was seen before stays as it was understood.
        """
        if side == self._side:
            return
        self._side = side
        self._places.know(side)
        networks = side.networks if side else None
        inside = None if networks is None else Inside(networks)
        self._windows.know(inside)
        if self._model:
            self._model.inside = inside
        if self._stages:
            self._stages.take_side(inside)

    def shadow(self, is_shadowed: bool) -> None:
        """Says whether what the model finds is told by notices alone, and touches nothing."""
        self._is_shadowed = is_shadowed

    def shadow_stages(self, is_shadowed: bool) -> None:
        """The same of the sequence model, which is shadowed until this is called."""
        self._stages_are_shadowed = is_shadowed

    def shadow_devices(self, is_shadowed: bool) -> None:
        """The same of the model of devices, which is shadowed until this is called."""
        self._devices_are_shadowed = is_shadowed

    def retune(self, settings: PipelineSettings) -> None:
        """Go on with other settings of detectors and score; what was seen stays. ConfigError names
        the key at fault, and nothing has changed then.
        """
        detectors, fuse = chosen(settings.detectors), fuse_settings(settings.qsecbit)
        self._detectors = detectors
        self._fuse.retune(fuse)

    def _judge_held(self, tick: Evidence) -> list[_Found]:
        found: list[_Found] = []
        for hold in self._holds:
            if hold.is_over(tick.ns):
                found += self._judge(hold.take())
            hold.add(tick.ns, tick.intervals, tick.flows, tick.packets)
        found += self._judge_tables(self._windows.at_once(tick.ns, tick.intervals), tick)
        for hold in self._holds:
            if hold.is_due():
                found += self._judge(hold.take())
            else:
                hold.keep()
        return found

    def _judge_now(self, tick: Evidence) -> list[_Found]:
        assert self._lately is not None
        found: list[_Found] = []
        second = self._lately.over(tick.ns)
        if second is not None:
            logins = self._windows.logins(tick.ns, second)
            found += self._judge_tables(logins, replace(tick, intervals=second))
        self._lately.add(tick.ns, tick.intervals)
        second = self._lately.flooded(tick.ns)
        if second is not None:
            targets = self._windows.targets(second)
            found += self._judge_tables(targets, replace(tick, intervals=second))
        settled = self._unsettled.settle(tick.ns, tick.intervals)
        if any(map(_rows, (settled, tick.flows, tick.packets))):
            found += self._judge(replace(tick, intervals=settled))
        return found

    def _judge(self, held: Evidence) -> list[_Found]:
        tables = self._windows.observe(held.ns, held.intervals, held.flows, held.packets)
        self._places.learn(self._windows.prefixes, self._windows.gateways)
        found = self._judge_tables(tables, held)
        for model, is_shadowed in (
            (self._model, self._is_shadowed),
            (self._stages, self._stages_are_shadowed),
        ):
            said = model.observe(held.flows, held.ns) if model and held.flows else []
            if is_shadowed:
                self._shadows.add(said)
            else:
                found += [(self._places.attributed(one, self._holder), 1.0) for one in said]
        return found

    def _judge_devices(self, tick: Evidence) -> list[_Found]:
        """What is said of devices whose minute this tick ends."""
        if self._devices is None:
            return []
        self._devices.prefixes = self._windows.prefixes
        self._devices.gateways = self._windows.gateways
        said = self._devices.observe(tick.intervals, tick.ns)
        if not self._devices_are_shadowed:
            return [(self._places.attributed(one, self._holder), 1.0) for one in said]
        self._shadows.add(said)
        return []

    def _holder(self, host: str) -> str:
        """Who has claimed an address on the link."""
        packed = int(ipaddress.ip_address(host)) | (_V4 if "." in host else 0)
        high, low = np.array([packed >> 64], np.uint64), np.array([packed & _WORD], np.uint64)
        return mac_text(self._windows.holder(Addresses(high, low)))

    def _judge_tables(self, tables: Mapping[str, Table], evidence: Evidence) -> list[_Found]:
        found: list[_Found] = []
        for setting in self._detectors:
            table = tables.get(setting.detector.table)
            if table and len(table["row"]):
                found += [
                    (self._places.attributed(one, self._holder), lone)
                    for one, lone in _judged(setting, table, evidence)
                ]
        return found

    def _result(self, ns: int, found: Sequence[_Found], notices: tuple[Notice, ...]) -> TickResult:
        known = self._score if self._lately is not None and not (found or notices) else None
        if known is not None and known.time_ns // _SECOND == ns // _SECOND:
            return TickResult((), (), known)
        notices += self._shadows.take()
        opened = self._fuse.add(ns, found) if found else ()
        parts = self._fuse.parts(ns) if len(self._fuse) else []
        verdicts = self._fuse.verdicts(ns, parts) if found else ()  # decay alone changes none
        now = score(ns, parts, self._status, self._confidence(ns))
        self._status, self._score = now.status, now
        return TickResult(opened, verdicts, now, notices)

    def _start(self, tick_ns: int) -> tuple[Notice, ...]:
        last, self._last_ns = self._last_ns, tick_ns
        if last is None or tick_ns >= last:
            self._first_ns = tick_ns if self._first_ns is None else self._first_ns
            return ()
        self._first_ns = tick_ns
        for hold in self._holds:
            hold.clear()
        self._unsettled.clear()
        if self._lately is not None:
            self._lately.clear()
        self._fuse.clear()
        self._windows.clear()
        for model in (self._model, self._stages, self._devices):
            if model:
                model.clear()
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


def _rows(columns: Columns) -> int:
    return len(next(iter(columns.values()))) if columns else 0


_MOST_ROWS = 256
