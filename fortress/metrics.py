# SPDX-License-Identifier: Apache-2.0
"""Every metric of Fortress, in the registry that /metrics serves."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

REGISTRY = CollectorRegistry()

CAPTURE_PACKETS = Counter("fortress_capture_packets", "packets seen", registry=REGISTRY)
CAPTURE_BYTES = Counter("fortress_capture_bytes", "bytes on the wire", registry=REGISTRY)
CAPTURE_DROPS = Counter(
    "fortress_capture_drops", "packets lost before they were seen", registry=REGISTRY
)
CAPTURE_ROWS_LOST = Counter(
    "fortress_capture_rows_lost", "rows of a tick that were not judged", registry=REGISTRY
)
CAPTURE_SHED = Counter(
    "fortress_capture_packets_shed", "packets left out on purpose above capacity", registry=REGISTRY
)
CAPTURE_SAMPLED = Gauge(
    "fortress_capture_sampled_ratio", "share of flows that is looked at", registry=REGISTRY
)
FLOWS_SEEN = Counter("fortress_flows_seen", "flows seen", registry=REGISTRY)
FLOWS_EVICTED = Counter(
    "fortress_flows_evicted", "flows ended early because the table was full", registry=REGISTRY
)
FLOWS_ACTIVE = Gauge("fortress_flows_active", "flows in the table", registry=REGISTRY)
SENSOR_LIVE = Gauge(
    "fortress_sensor_live", "1 live, 0 stale or missing", ["sensor"], registry=REGISTRY
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
RESPOND_BLOCKS = Gauge(
    "fortress_respond_blocks", "blocks that stand or are proposed", ["state"], registry=REGISTRY
)
ARCHIVE_FLOWS = Counter("fortress_archive_flows", "flows written to the archive", registry=REGISTRY)
ARCHIVE_LOST = Counter(
    "fortress_archive_flows_lost", "flows that did not reach the archive", registry=REGISTRY
)
ARCHIVE_BYTES = Gauge("fortress_archive_bytes", "size of the archive", registry=REGISTRY)
MODEL_DRIFT = Gauge(
    "fortress_model_drift_index",
    "population stability index of a model's inputs (the largest) and scores",
    ["model", "of"],
    registry=REGISTRY,
)
MODEL_RELOADS = Counter(
    "fortress_model_reloads", "versions taken up while running", ["model"], registry=REGISTRY
)
MODEL_REFUSALS = Counter(
    "fortress_model_refusals", "versions that were refused", ["model"], registry=REGISTRY
)
MODEL_SHADOWED = Counter(
    "fortress_model_shadow_findings",
    "findings of a model in shadow mode, which had no effect",
    ["model"],
    registry=REGISTRY,
)
ENERGY_WATTS = Gauge(
    "fortress_energy_watts",
    "power over the last second; source is rapl or estimate",
    ["domain", "source"],
    registry=REGISTRY,
)
ENERGY_JOULES = Counter(
    "fortress_energy_joules",
    "energy since the start; source is rapl or estimate",
    ["source"],
    registry=REGISTRY,
)
ENERGY_PER_PACKETS = Gauge(
    "fortress_energy_joules_per_million_packets",
    "energy of the machine for a million packets seen, over the last minute",
    ["source"],
    registry=REGISTRY,
)
HTTP_EVENTS_LOST = Counter(
    "fortress_http_events_lost", "events that slow readers of /events missed", registry=REGISTRY
)
HTTP_WRONG_TOKENS = Counter(
    "fortress_http_wrong_tokens", "requests with a wrong token", registry=REGISTRY
)


class Rising:
    """Brings counters up to totals that are counted elsewhere; telling one twice adds nothing."""

    def __init__(self) -> None:
        self._told: dict[Counter, float] = {}  # labels() gives the same object each time

    def to(self, counter: Counter, total: float) -> None:
        """Make the counter's part of ours `total`; a smaller one is a count that began anew."""
        told = self._told.get(counter, 0.0)
        counter.inc(total - told if total >= told else total)
        self._told[counter] = total
