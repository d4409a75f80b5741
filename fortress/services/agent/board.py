# SPDX-License-Identifier: Apache-2.0
"""The AgentView that any loop can use: it publishes snapshots here, the surface reads them.

    board, requests, notifier = Board(version), Requests(), Notifier(os.environ)
    outputs = Outputs([eve, store, board], …)          # findings, verdicts, notices reach /events
    with surface(board, board.events, requests, settings):
        notifier.ready()
        for tick in …:
            board.publish(AgentStatus(…), score)
            requests.answer(control)                   # what was asked since the last tick
            notifier.beat(ticks)

Publishing costs 11 µs a tick: nothing is counted before a scrape.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from threading import Lock

from prometheus_client import generate_latest

from fortress import metrics
from fortress.errors import OutputError
from fortress.events import Event
from fortress.http.sse import Broadcast
from fortress.qsecbit.energy import Energy
from fortress.services.agent.history import History
from fortress.services.agent.view import (
    DROPS,
    AgentStatus,
    BlockRow,
    Health,
    HistoryRow,
    Totals,
)
from fortress.sinks.metrics import MetricsSink
from fortress.verdict import Finding, Score

MOST_FINDINGS = 1000  # the last ones; the store has the others
STALLED_S = 10.0  # without a word of the loop, ten times its tick: it hangs


class Board:
    """Keeps the last snapshots, the history and the last findings; also a sink of events."""

    name = "board"

    def __init__(self, version: str, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.events = Broadcast()
        self._version = version
        self._monotonic_s = monotonic_s
        self._began_s = monotonic_s()
        self._told_s: float | None = None
        self._resting = ""
        self._status: AgentStatus | None = None
        self._score: Score | None = None
        self._blocks: tuple[BlockRow, ...] = ()
        self._findings: deque[Finding] = deque(maxlen=MOST_FINDINGS)
        self._history = History()
        self._metrics = MetricsSink()
        self._lock = Lock()
        self._closed = False

    # ---- the loop's side ----

    def publish(
        self, status: AgentStatus, score: Score | None, blocks: tuple[BlockRow, ...] | None = None
    ) -> None:
        """Replace the snapshot, once a tick; `blocks` None leaves those told last."""
        before = self._status.totals if self._status else Totals()
        self._status = status
        self._told_s = self._monotonic_s()
        if blocks is not None:
            self._blocks = blocks
        if score is not None:
            self._score = score
            now = status.totals
            lost = _drops(now) - _drops(before)
            self._history.add(
                score, now.packets - before.packets, now.bytes - before.bytes, max(lost, 0)
            )

    def rest(self, status: AgentStatus, reason: str) -> None:
        """Say that the loop has ended on purpose, and why: its silence is then no fault."""
        self._status, self._resting = status, reason

    def apply(self, event: Event) -> None:
        """Take an event: `/events` hears it, findings are kept, metrics are counted."""
        if self._closed:
            raise OutputError("board: is closed")
        self._metrics.apply(event)
        if isinstance(event.value, Finding):
            with self._lock:
                self._findings.append(event.value)
        if event.kind != "flow":  # there may be thousands a second: the EVE file and archive's
            self.events.publish(event.kind, event.line)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Take no more events; what was told last can still be read."""
        self._closed = True

    # ---- the surface's side ----

    def health(self) -> Health:
        """Whether the loop moves."""
        now_s = self._monotonic_s()
        age_s = None if self._told_s is None else now_s - self._told_s
        state = self._status.state if self._status else "starting"
        reason = self._resting
        silent_s = now_s - self._began_s if age_s is None else age_s
        stalled = not reason and silent_s > STALLED_S
        if stalled:
            reason = f"the loop has said nothing for {silent_s:.0f} s"
        uptime_s = now_s - self._began_s
        return Health(not stalled, state, os.getpid(), self._version, uptime_s, age_s, reason)

    def status(self) -> AgentStatus | None:
        """The last snapshot."""
        return self._status

    def score(self) -> Score | None:
        """The last score."""
        return self._score

    def history(self, since_ns: int, step_s: int) -> tuple[HistoryRow, ...]:
        """Rows not older than `since_ns`."""
        return self._history.since(since_ns, step_s)

    def findings(self, limit: int) -> tuple[Finding, ...]:
        """The last findings, newest first."""
        with self._lock:
            newest = tuple(self._findings)[::-1]
        return newest[:limit]

    def blocks(self) -> tuple[BlockRow, ...]:
        """Blocks that stand or wait to be confirmed."""
        return self._blocks

    def metrics(self) -> bytes:
        """Prometheus' text, counters brought up to the last snapshot."""
        with self._lock:
            if self._status is not None:
                self._count(self._status)
            if self._score is not None:
                metrics.QSECBIT_SCORE.set(self._score.value)
                metrics.QSECBIT_CONFIDENCE.set(self._score.confidence)
            for state in ("standing", "proposed"):
                blocks = sum(block.state == state for block in self._blocks)
                metrics.RESPOND_BLOCKS.labels(state).set(blocks)
        return generate_latest(metrics.REGISTRY)

    def _count(self, status: AgentStatus) -> None:
        rising, totals = self._metrics.rising, status.totals
        rising.to(metrics.CAPTURE_PACKETS, totals.packets)
        rising.to(metrics.CAPTURE_BYTES, totals.bytes)
        rising.to(metrics.CAPTURE_DROPS, totals.kernel_drops)
        rising.to(metrics.CAPTURE_ROWS_LOST, totals.rows_lost)
        rising.to(metrics.CAPTURE_SHED, totals.packets_shed)
        rising.to(metrics.FLOWS_SEEN, totals.flows)
        rising.to(metrics.FLOWS_EVICTED, totals.flows_evicted)
        rising.to(metrics.HTTP_EVENTS_LOST, self.events.lost)
        metrics.FLOWS_ACTIVE.set(status.flows_active)
        metrics.CAPTURE_SAMPLED.set(status.sampled)
        metrics.SENSOR_LIVE.clear()  # an interface that has gone leaves no row behind
        for sensor in status.sensors:
            metrics.SENSOR_LIVE.labels(sensor.name).set(sensor.state == "live")
        if status.archive is not None:
            rising.to(metrics.ARCHIVE_FLOWS, status.archive.rows_written)
            rising.to(metrics.ARCHIVE_LOST, status.archive.rows_lost)
            metrics.ARCHIVE_BYTES.set(status.archive.bytes)
        _count_energy(rising, status.energy)


def _count_energy(rising: metrics.Rising, energy: Energy | None) -> None:
    """Gauges of what is known now; what is not known has no row, rather than an old one."""
    metrics.ENERGY_WATTS.clear()
    metrics.ENERGY_PER_PACKETS.clear()
    if energy is None:
        return
    for domain, watts in energy.domains.items():
        metrics.ENERGY_WATTS.labels(domain, energy.source).set(watts)
    rising.to(metrics.ENERGY_JOULES.labels(energy.source), energy.joules)
    if energy.joules_per_million_packets is not None:
        metrics.ENERGY_PER_PACKETS.labels(energy.source).set(energy.joules_per_million_packets)


def _drops(totals: Totals) -> int:
    return sum(getattr(totals, name) for name in DROPS)
