# SPDX-License-Identifier: Apache-2.0
"""The loop: a capture's ticks through the pipeline, what it finds to the sinks.

Capture time alone drives it, and the pipeline is called once for each closed tick, so that the same
capture gives the same events whatever the batch size.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Literal

from fortress_core import Batch, CaptureError, Damage, Stream, StreamOptions, open_capture

from fortress import config
from fortress.archive.faults import openable, refused, told
from fortress.errors import InputError
from fortress.events import FlowLines, is_alert
from fortress.qsecbit import Pipeline, PipelineSettings, TickResult
from fortress.services.agent.models import Models
from fortress.services.agent.pace import Pace, ScoreGate
from fortress.services.agent.report import Report
from fortress.services.agent.ticks import MAX_ROWS, Gathered
from fortress.sinks import Outputs
from fortress.verdict import Notice

BATCH_PACKETS = 4096
LINE_COLUMNS = (  # what flow events are made of
    *("flow_id", "first_ns", "last_ns", "orig_addr", "resp_addr", "orig_mac", "orig_port"),
    *("resp_port", "vlan_id", "proto", "end_reason", "conn_state", "history", "community_id"),
    *("orig_pkts", "resp_pkts", "orig_bytes", "resp_bytes"),
)


@dataclass(frozen=True, slots=True)
class Replay:
    """Which captures, and how: as fast as it goes or as it happened."""

    paths: tuple[str, ...]
    speed: Literal["max", "real"] = "max"
    batch_packets: int = BATCH_PACKETS
    flow_lines: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a run is: shown while it goes on."""

    time_ns: int
    packets: int
    captured_bytes: int
    flows: int
    report: Report


Watch = Callable[[Moment], None]


def run(
    replay: Replay,
    settings: config.Settings,
    outputs: Outputs,
    stop: Event,
    watch: Watch | None = None,
) -> Report:
    """Replay until the end, or until `stop` is set, and return what it amounted to.

    InputError when nothing at all could be read; damage further on is a notice and `stats.damages`.
    """
    started_s = time.monotonic()
    models = Models(settings)
    pipeline = models.pipeline(PipelineSettings(settings.qsecbit, settings.detectors))
    found, missed = openable(replay.paths)
    replay = dataclasses.replace(replay, paths=tuple(found))
    with _stream(replay, settings, pipeline) as stream:
        loop = _Loop(replay, pipeline, models, stream, outputs, missed)
        pace = Pace(stop) if replay.speed == "real" else None
        for batch in _batches(stream):
            if loop.take(batch):
                if pace is not None:
                    outputs.flush()
                    pace.wait_until(batch.tick_ns)
                if watch is not None:
                    watch(loop.moment(batch.tick_ns))
            if stop.is_set():
                break
        loop.finish()
        return loop.end(time.monotonic() - started_s, stop.is_set())


class _Loop:
    def __init__(
        self,
        replay: Replay,
        pipeline: Pipeline,
        models: Models,
        stream: Stream,
        outputs: Outputs,
        missed: tuple[Damage, ...],
    ) -> None:
        self._pipeline = pipeline
        self._models = models
        self._stream = stream
        self._outputs = outputs
        self._flow_lines = replay.flow_lines
        self._missed = missed
        self._report = Report()
        self._gate = ScoreGate()
        self._intervals = Gathered(pipeline.reads_interval_columns)
        self._flows = Gathered(pipeline.reads_flow_columns)
        self._packets = Gathered(pipeline.reads_packet_columns)
        self._known_lost = 0
        self._begun = False

    def take(self, batch: Batch) -> bool:
        """Gather a batch; True when it closed a tick and the pipeline has judged it."""
        closed = (batch.tick_closed or batch.end) and self._has_begun()
        if self._flow_lines and batch.flows.rows:
            self._outputs.say(FlowLines(batch.tick_ns, batch.flow_lines()))
        self._intervals.add(batch.intervals, closed)
        self._flows.add(batch.flows, closed)
        self._packets.add(batch.packets, closed)
        if closed:
            self._judge(batch.tick_ns)
        return closed

    def finish(self) -> None:
        """Judge what the pipeline still holds when the input is over."""
        result = self._pipeline.finish()
        if result is not None:
            self._tell(result)

    def moment(self, time_ns: int) -> Moment:
        """How far the run is."""
        stats = self._stream.stats()
        return Moment(time_ns, stats.packets, stats.captured_bytes, stats.flows, self._report)

    def end(self, seconds: float, interrupted: bool) -> Report:
        """Say what was damaged and what it all amounted to."""
        stats = self._stream.stats()
        damages = (*self._missed, *self._stream.damages())
        self._report.damages = tuple(map(told, damages))
        for damage, message in zip(damages, self._report.damages, strict=True):
            facts: dict[str, float | int | str] = {"path": damage.path, "offset": damage.offset}
            self._say_notice(Notice(stats.last_ns, "damage", message, facts))
        whole = self._report.end(
            stats, rows_lost=self._lost(), seconds=seconds, interrupted=interrupted
        )
        self._outputs.say(whole)
        return self._report

    def _judge(self, tick_ns: int) -> None:
        intervals, flows, packets = self._intervals.take(), self._flows.take(), self._packets.take()
        self._tell_losses()
        self._tell(self._pipeline.tick(tick_ns, intervals, flows, packets))
        for notice in self._models.look(tick_ns):
            self._say_notice(notice)

    def _tell(self, result: TickResult) -> None:
        for notice in result.notices:
            self._say_notice(notice)
        for finding in result.opened:
            self._report.add_finding(finding, is_alert(finding))
            self._outputs.say(finding)
        for verdict in result.verdicts:
            self._report.add_verdict(verdict)
            self._outputs.say(verdict)
        worth = self._gate.passes(result.score)
        self._report.add_score(result.score, worth)
        if worth:
            self._outputs.say(result.score)

    def _say_notice(self, notice: Notice) -> None:
        self._report.notices += 1
        self._outputs.say(notice)

    def _has_begun(self) -> bool:
        """Whether a packet was seen: without one there is no score, rather than a calm one."""
        self._begun = self._begun or self._stream.stats().packets > 0
        return self._begun

    def _tell_losses(self) -> None:
        lost, known = self._lost(), self._known_lost
        if lost or known:  # also once with nothing new, so that the confidence recovers
            self._pipeline.sensor(packets=MAX_ROWS, lost=lost - known)
            self._known_lost = lost

    def _lost(self) -> int:
        return self._intervals.lost + self._flows.lost + self._packets.lost


@contextmanager
def _stream(replay: Replay, settings: config.Settings, pipeline: Pipeline) -> Iterator[Stream]:
    try:
        with open_capture(
            list(replay.paths),
            options=_options(settings, pipeline),
            batch_packets=replay.batch_packets,
            flow_columns=[
                *pipeline.reads_flow_columns,
                *(LINE_COLUMNS if replay.flow_lines else ()),
            ],
            interval_columns=list(pipeline.reads_interval_columns),
            packet_columns=list(pipeline.reads_packet_columns),
        ) as stream:
            yield stream
    except CaptureError as error:
        raise refused(error) from error


def _batches(stream: Stream) -> Iterator[Batch]:
    batches = iter(stream)
    while True:
        try:
            batch = next(batches, None)
        except ValueError as error:  # the core's own words for what it cannot do
            raise InputError(str(error)) from error
        if batch is None:
            return
        yield batch


def _options(settings: config.Settings, pipeline: Pipeline) -> StreamOptions:
    return StreamOptions(
        packet_rows="control" if pipeline.reads_packet_columns else "none",
        flow_budget_bytes=settings.flows.budget_mib << 20,
        idle_timeout_ns=round(settings.flows.idle_timeout_s * 1e9),
        active_timeout_ns=round(settings.flows.active_timeout_s * 1e9),
    )
