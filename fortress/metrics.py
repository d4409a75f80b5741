# SPDX-License-Identifier: Apache-2.0
"""Every metric of Fortress, in the registry that /metrics serves."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

REGISTRY = CollectorRegistry()

CAPTURE_PACKETS = Counter(
    "fortress_capture_packets", "packets seen, counted when a run ends", registry=REGISTRY
)
CAPTURE_BYTES = Counter(
    "fortress_capture_bytes", "bytes on the wire, counted when a run ends", registry=REGISTRY
)
CAPTURE_DROPS = Counter(
    "fortress_capture_drops", "packets lost before they were seen", registry=REGISTRY
)
FLOWS_SEEN = Counter(
    "fortress_flows_seen", "flows seen, counted when a run ends", registry=REGISTRY
)
FLOWS_EVICTED = Counter(
    "fortress_flows_evicted", "flows ended early because the table was full", registry=REGISTRY
)
QSECBIT_SCORE = Gauge(
    "fortress_qsecbit_score", "the score: 0 calm, 1 under attack", registry=REGISTRY
)
QSECBIT_CONFIDENCE = Gauge(
    "fortress_qsecbit_confidence", "how far the sensors can be trusted", registry=REGISTRY
)
QSECBIT_ALERTS = Counter(
    "fortress_qsecbit_alerts", "findings that count as alarms", ["detector"], registry=REGISTRY
)
QSECBIT_VERDICTS = Counter(
    "fortress_qsecbit_verdicts", "changed verdicts", ["action"], registry=REGISTRY
)
