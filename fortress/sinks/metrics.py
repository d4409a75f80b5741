# SPDX-License-Identifier: Apache-2.0
"""Events counted as Prometheus metrics."""

from __future__ import annotations

from fortress import metrics
from fortress.errors import OutputError
from fortress.events import Event, Stats
from fortress.verdict import Finding, Score, Verdict


class MetricsSink:
    """Counts what passes; `fortress.metrics` says what there is to count.

    `stats` events hold totals of the run, so that several of a run count once; who has newer totals
    tells them to `rising`.
    """

    name = "metrics"

    def __init__(self) -> None:
        self.rising = metrics.Rising()
        self._closed = False

    def apply(self, event: Event) -> None:
        """Count the event."""
        if self._closed:
            raise OutputError("metrics: are closed")
        value = event.value
        if isinstance(value, Finding):
            if event.kind == "alert":
                metrics.QSECBIT_ALERTS.labels(value.detector).inc()
        elif isinstance(value, Verdict):
            metrics.QSECBIT_VERDICTS.labels(value.action.name).inc()
        elif isinstance(value, Score):
            metrics.QSECBIT_SCORE.set(value.value)
            metrics.QSECBIT_CONFIDENCE.set(value.confidence)
        elif isinstance(value, Stats):
            self.rising.to(metrics.CAPTURE_PACKETS, value.packets)
            self.rising.to(metrics.CAPTURE_BYTES, value.bytes)
            self.rising.to(metrics.CAPTURE_DROPS, value.drops)
            self.rising.to(metrics.CAPTURE_ROWS_LOST, value.rows_lost)
            self.rising.to(metrics.FLOWS_SEEN, value.flows)
            self.rising.to(metrics.FLOWS_EVICTED, value.evictions)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Count no more."""
        self._closed = True
