# SPDX-License-Identifier: Apache-2.0
"""Events counted as Prometheus metrics."""

from __future__ import annotations

from fortress import metrics
from fortress.errors import OutputError
from fortress.events import Event, Stats
from fortress.verdict import Finding, Score, Verdict


class MetricsSink:
    """Counts what passes; `fortress.metrics` says what there is to count."""

    name = "metrics"

    def __init__(self) -> None:
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
            metrics.CAPTURE_PACKETS.inc(value.packets)
            metrics.CAPTURE_BYTES.inc(value.bytes)
            metrics.CAPTURE_DROPS.inc(value.drops)
            metrics.FLOWS_SEEN.inc(value.flows)
            metrics.FLOWS_EVICTED.inc(value.evictions)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Count no more."""
        self._closed = True
