# SPDX-License-Identifier: Apache-2.0
"""The live loop: the stream's batches through the pipeline, ten ticks a second, to all who are to
know.

Nothing in it waits but the stream itself: sinks, ports and guard have threads of their own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Event

from fortress_core import Batch, Stream, StreamStats

from fortress.archive.writer import Archive
from fortress.errors import FortressError
from fortress.events import FlowLines, is_alert
from fortress.notify import Notifier
from fortress.qsecbit import Pipeline, TickResult
from fortress.qsecbit.energy import EnergySensor
from fortress.services.agent.acts import Acts
from fortress.services.agent.board import Board
from fortress.services.agent.census import Census
from fortress.services.agent.lists import Lists
from fortress.services.agent.models import Models
from fortress.services.agent.offloads import Offloads
from fortress.services.agent.pace import ScoreGate
from fortress.services.agent.ports import Ports
from fortress.services.agent.report import Report
from fortress.services.agent.requests import Requests
from fortress.services.agent.sensors import Sensors, energy_row, output_rows
from fortress.services.agent.shed import Second, Shedding
from fortress.services.agent.sides import Sides
from fortress.services.agent.taps import Tapping
from fortress.services.agent.ticks import Gathered
from fortress.services.agent.view import (
    AgentControl,
    AgentStatus,
    Outcome,
    SensorRow,
    State,
    Totals,
)
from fortress.sinks import Outputs
from fortress.sinks.aside import Aside
from fortress.verdict import Finding, Notice, Score

TICK_NS = 100_000_000
MAX_INTERVALS, MAX_ENDED = 4096, 2048  # rows of a tick that are judged; the others are counted
_SECOND_NS = 1_000_000_000


@dataclass(slots=True)
class Parts:
    """What the loop joins."""

    stream: Stream
    pipeline: Pipeline
    ports: Ports
    outputs: Outputs
    asides: Sequence[Aside]
    board: Board
    requests: Requests
    control: AgentControl
    models: Models
    notifier: Notifier
    energy: EnergySensor
    archive: Archive | None
    acts: Acts
    tapping: Tapping
    sides: Sides
    census: Census
    offloads: Offloads
    lists: Lists
    notes: tuple[str, ...]
    flow_lines: bool


class Loop:
    """Runs until `stop` is set; `reload` asks for the configuration to be read again."""

    def __init__(self, parts: Parts, stop: Event, reload: Event) -> None:
        self._parts, self._stop, self._reload = parts, stop, reload
        pipeline = parts.pipeline
        self._intervals = Gathered(pipeline.reads_interval_columns, MAX_INTERVALS)
        self._flows = Gathered(pipeline.reads_flow_columns, MAX_ENDED)
        self._packets = Gathered(pipeline.reads_packet_columns, MAX_ENDED)
        self._gate = ScoreGate()
        self._report = Report()
        self._sensors = Sensors()
        self._shedding = Shedding()
        self._stats = parts.stream.stats()
        self._score: Score | None = None
        self._has_begun = self._is_ready = False
        self._state: State = "starting"
        self._second = self._ticks = self._lost = self._ns = 0
        self._lag_s, self._worked_s = math.inf, 0.0
        self._began_s = time.monotonic()

    def run(self) -> Report:
        """What the run amounted to, once it was asked to stop."""
        parts, worked_s = self._parts, time.thread_time()
        self._publish(time.time_ns())
        for batch in parts.stream:
            if parts.archive is not None:
                parts.archive.add(batch.flows)
            if parts.flow_lines and batch.flows.rows:
                lines = batch.flow_lines(parts.ports.only)
                parts.outputs.say(FlowLines(batch.tick_ns, lines))
            closed = batch.tick_closed or batch.end
            self._intervals.add(batch.intervals, closed)
            self._flows.add(batch.flows, closed)
            self._packets.add(batch.packets, closed)
            if closed:
                self._tick(batch)
            now_s = time.thread_time()
            self._worked_s, worked_s = self._worked_s + now_s - worked_s, now_s
            if self._stop.is_set():
                if self._state != "stopping":
                    self._state = "stopping"
                    self._publish(batch.tick_ns)
                parts.notifier.stopping("asked to stop")
                parts.stream.stop()
        return self._end()

    # ---- what the surface and SIGHUP ask for, done between two ticks ----

    def confirm(self, target: str) -> Outcome:
        """Carry out the block that is proposed for `target`."""
        return self._parts.control.confirm(target)

    def reload(self) -> Outcome:
        """Read the configuration again, and tell everybody; a wrong one changes nothing."""
        notifier, ns = self._parts.notifier, self._ns
        before, self._state = self._state, "reloading"
        self._publish(ns)
        notifier.reloading("reads the configuration again")
        told = "nothing was changed"
        try:
            outcome = self._parts.control.reload()
            told = outcome.message
            return outcome
        except FortressError as error:
            told = f"nothing was changed: {error}"
            raise
        finally:
            self._say(Notice(ns, "reload", told))
            notifier.ready(told)
            self._state = before
            self._publish(ns)

    def promote(self, name: str, version: str) -> Outcome:
        """Put a published version of a model in use; it is taken up after the next tick."""
        return self._parts.control.promote(name, version)

    def rollback(self, name: str) -> Outcome:
        """Put the version of a model that was in use before back in use."""
        return self._parts.control.rollback(name)

    # ---- the loop ----

    def _tick(self, batch: Batch) -> None:
        parts, ns = self._parts, batch.tick_ns
        self._ticks += 1
        self._lag_s = min(self._lag_s, (time.time_ns() - ns - TICK_NS) / 1e9)
        intervals, flows, packets = self._intervals.take(), self._flows.take(), self._packets.take()
        if not self._has_begun:  # no packet yet: there is no score, rather than a calm one
            self._has_begun = parts.stream.stats().packets > 0
        parts.census.see(packets)
        result = parts.pipeline.tick(ns, intervals, flows, packets)
        acts = parts.acts.decide(result.verdicts, ns) if result.verdicts else []
        self._tell(result)
        for notice in parts.models.look(ns):
            self._say(notice)
        for act in (*acts, *parts.acts.heard()):
            parts.outputs.say(act)
        if ns // _SECOND_NS != self._second:
            self._second = ns // _SECOND_NS
            self._each_second(ns)
        parts.notifier.beat(self._ticks)
        self._ns = ns
        parts.requests.answer(self)
        if self._reload.is_set():
            self._reload.clear()
            with suppress(FortressError):  # has been said
                self.reload()

    def _tell(self, result: TickResult) -> None:
        parts = self._parts
        for notice in result.notices:
            self._say(notice)
        for finding in result.opened:
            finding = self._named(finding)
            self._report.add_finding(finding, is_alert(finding))
            parts.outputs.say(finding)
        for verdict in result.verdicts:
            self._report.add_verdict(verdict)
            parts.outputs.say(verdict)
        if self._has_begun and self._score is not result.score:
            self._score = result.score
            worth = self._gate.passes(result.score)
            self._report.add_score(result.score, worth)
            if worth:
                parts.outputs.say(result.score)

    def _named(self, finding: Finding) -> Finding:
        """With the interface's name in the place of its number."""
        if not finding.in_iface.isdecimal():
            return finding
        names, number = self._parts.ports.interfaces, int(finding.in_iface)
        return replace(finding, in_iface=names[number] if number < len(names) else "")

    def _say(self, notice: Notice) -> None:
        self._report.notices += 1
        self._parts.outputs.say(notice)

    def _each_second(self, ns: int) -> None:
        parts, before = self._parts, self._stats
        parts.energy.poll(before.packets)
        for notice in self._sensors.look(ns, self._sensor_rows(ns)):
            self._say(notice)
        for notice in parts.sides.look(parts.stream, ns):
            self._say(notice)
        parts.pipeline.place(parts.sides.inside)
        stats = self._stats = self._counted()
        frames = sum(state.packets for state in parts.stream.ports())
        frames += parts.stream.shunt_stats().packets
        parts.tapping.look(parts.stream, parts.ports.grants, frames, stats.bytes)
        drops = stats.kernel_drops - before.kernel_drops
        self._shed(ns, Second(self._lag_s, stats.packets - before.packets, drops, self._worked_s))
        self._lag_s, self._worked_s = math.inf, 0.0
        if stats.clock_steps > before.clock_steps:
            self._say(Notice(ns, "clock_step", "the clock was set: every flow begins anew"))
        lost = self._intervals.lost + self._flows.lost + self._packets.lost
        parts.pipeline.sensor(
            packets=stats.packets - before.packets,
            drops=drops,
            lost=lost - self._lost + stats.packets_shed - before.packets_shed,
            stale=self._sensors.any_stale,
        )
        self._lost = lost
        if parts.archive is not None:
            parts.archive.tick(ns)
        parts.outputs.flush()
        if self._state == "starting":
            self._state = "running"
        self._publish(ns)
        if not self._is_ready:
            self._is_ready = True
            parts.notifier.ready(f"watches {', '.join(parts.ports.interfaces)}")

    def _counted(self) -> StreamStats:
        """The stream's counters, with what the tap counted in the kernel."""
        stats, shunted = self._parts.stream.stats(), self._parts.stream.shunt_stats()
        return replace(
            stats, packets=stats.packets + shunted.packets, bytes=stats.bytes + shunted.bytes
        )

    def _sensor_rows(self, ns: int) -> list[SensorRow]:
        parts = self._parts
        rows = [
            self._sensors.port_row(
                ns,
                name,
                state,
                why=parts.ports.why_gone(number),
                hidden=parts.offloads.hides(name),
            )
            for number, (name, state) in enumerate(
                zip(parts.ports.interfaces, parts.ports.look(parts.stream), strict=True)
            )
        ]
        rows += parts.sides.rows(parts.stream)
        rows += [*parts.census.rows(), *parts.lists.rows()]
        others = (parts.acts.sensor, *output_rows(parts.asides), energy_row(parts.energy))
        return [*rows, *others]

    def _shed(self, ns: int, second: Second) -> None:
        if self._shedding.after(second):
            share = self._shedding.share
            self._parts.stream.sample(share)
            words = "every flow" if share == 1 else f"one flow in {round(1 / share)}"
            message = f"{words} is looked at from now on: {self._shedding.why}"
            self._say(Notice(ns, "shedding", message, {"sampled": share}))

    def _publish(self, ns: int) -> None:
        parts, stats = self._parts, self._stats
        totals = Totals(
            packets=stats.packets,
            bytes=stats.bytes,
            flows=stats.flows,
            kernel_drops=stats.kernel_drops,
            rows_lost=self._lost,
            packets_shed=stats.packets_shed,
            flows_evicted=stats.evictions,
        )
        status = AgentStatus(
            time_ns=ns,
            state=self._state,
            mode=parts.acts.mode,
            source=parts.ports.source,
            sensors=self._sensors.rows,
            totals=totals,
            flows_active=stats.flows_active,
            sampled=self._shedding.share,
            archive=parts.archive.state() if parts.archive else None,
            energy=parts.energy.last,
            models=parts.models.rows(),
            notes=parts.notes,
        )
        parts.board.publish(status, self._score, parts.acts.rows(ns))

    def _end(self) -> Report:
        """Say what it all amounted to."""
        rest = self._parts.pipeline.finish()
        if rest is not None:
            self._tell(rest)
        for notice in self._parts.models.close(self._ns):
            self._say(notice)
        self._parts.acts.close()
        for act in self._parts.acts.heard():
            self._parts.outputs.say(act)
        stats, seconds = self._counted(), time.monotonic() - self._began_s
        lost = self._intervals.lost + self._flows.lost + self._packets.lost
        told = self._report.end(stats, rows_lost=lost, seconds=seconds)
        self._parts.outputs.say(told)
        return self._report
