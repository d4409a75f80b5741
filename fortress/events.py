# SPDX-License-Identifier: Apache-2.0
"""What Fortress says: newline JSON in the manner of EVE, one line for each thing that happened.

Values of `fortress.verdict` go in, lines come out; `docs/events.schema.json` says what a line may
hold. Keys have one order, numbers four decimals, and times are the capture's own, so that the same
capture gives the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from numbers import Integral

from fortress.verdict import Act, Finding, Notice, Score, Share, Verdict

ALERT_RISK = 0.4  # a finding of less risk is a notice and never counts as an alarm
EVE_SEVERITY = ((0.70, 1), (0.45, 2))  # ours at least → EVE's; below all of them 3 (docs/events.md)
DECIMALS = 4

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Number = int | float
Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class Stats:
    """What a run amounted to: the last line.

    `seconds` and `packets_per_second` are the wall clock's; nothing else in any event is.
    """

    time_ns: int
    packets: int
    bytes: int
    drops: int
    flows: int
    flows_peak: int
    evictions: int
    truncated: int
    undecodable: int
    malformed: int
    absurd_lengths: int
    non_ip: int
    out_of_order: int
    clock_steps: int
    damages: int
    rows_lost: int
    packets_shed: int
    alerts: int
    notices: int
    verdicts: int
    interrupted: bool
    capture_seconds: float
    seconds: float
    packets_per_second: float


@dataclass(frozen=True, slots=True)
class FlowLines:
    """Flow events of one batch, formatted in C: whole lines, the last one ended as well."""

    time_ns: int
    text: bytes


Value = Finding | Verdict | Act | Score | Notice | Stats | FlowLines


@dataclass(frozen=True, slots=True)
class Event:
    """A value and the line (several for flows) that tells it; lines end with a newline."""

    kind: str
    value: Value
    line: bytes


def event(value: Value, mode: str = "monitor") -> Event:
    """The event that tells `value`; `mode` says whether verdicts are carried out or only told."""
    if isinstance(value, FlowLines):
        return Event("flow", value, value.text)
    fields = record(value, mode)
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Event(str(fields["event_type"]), value, text.encode("utf-8", "replace") + b"\n")


def record(
    value: Finding | Verdict | Act | Score | Notice | Stats, mode: str = "monitor"
) -> Fields:
    """The fields of the line that tells `value`, in their order."""
    if isinstance(value, Finding):
        return _finding(value)
    if isinstance(value, Verdict):
        return _head(value.time_ns, "verdict") | {"verdict": _verdict(value, mode)}
    if isinstance(value, Act):
        return _head(value.time_ns, "block") | {"block": _act(value, mode)}
    if isinstance(value, Score):
        return _head(value.time_ns, "score") | {"score": _score(value)}
    if isinstance(value, Notice):
        told = {"kind": value.kind, "message": value.message} | _present(value.facts)
        return _head(value.time_ns, "notice") | {"notice": told}
    fields = asdict(value)
    return _head(fields.pop("time_ns"), "stats") | {"stats": _present(fields)}


def timestamp(time_ns: int) -> str:
    """The time in EVE's form, microseconds and UTC: `2026-11-23T12:00:00.000000+0000`."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06d}+0000"


def is_alert(finding: Finding) -> bool:
    """Whether the finding counts as an alarm."""
    return finding.risk >= ALERT_RISK


def eve_severity(severity: float) -> int:
    """EVE's severity, 1 the worst and 3 the least, of ours in [0, 1]."""
    return next((eve for at_least, eve in EVE_SEVERITY if severity >= at_least), 3)


def _head(time_ns: int, kind: str) -> Fields:
    return {"timestamp": timestamp(time_ns), "event_type": kind}


def _finding(finding: Finding) -> Fields:
    kind = "alert" if is_alert(finding) else "notice"
    head = {
        "timestamp": timestamp(finding.time_ns),
        "flow_id": finding.flow_id,
        "in_iface": finding.in_iface,
        "event_type": kind,
        "src_ip": finding.src_ip,
        "src_port": finding.src_port,
        "dest_ip": finding.dest_ip,
        "dest_port": finding.dest_port,
        "src_mac": finding.src_mac,
        "proto": finding.proto,
        "community_id": finding.community_id,
    }
    told = {
        "kind": None if kind == "alert" else "finding",
        "signature": finding.signature,
        "signature_id": finding.signature_id,
        "category": finding.category,
        "severity": eve_severity(finding.severity),
        "detector": finding.detector,
        "layer": finding.layer.value,
        "source": finding.source.value,
        "technique": finding.technique,
        "host": finding.host,
        "target": finding.target,
        "risk": finding.risk,
        "confidence": finding.confidence,
        "reason": finding.reason,
    }
    return _present(head) | {kind: _present(told) | {"evidence": _present(finding.evidence)}}


def _verdict(verdict: Verdict, mode: str) -> Fields:
    return {
        "action": verdict.action.name,
        "target": verdict.target,
        "target_kind": verdict.target_kind,
        "until": timestamp(verdict.until_ns),
        "why": verdict.why,
        "signatures": list(verdict.signatures),
        "mode": mode,
    }


def _act(act: Act, mode: str) -> Fields:
    told = {
        "outcome": act.outcome,
        "action": act.action.name,
        "target": act.target,
        "target_kind": act.target_kind,
        "until": timestamp(act.until_ns),
        "why": act.why,
        "reason": act.reason,
        "offence": act.offence,
    }
    return {name: one for name, one in told.items() if one != "" or name == "why"} | {
        "signatures": list(act.signatures),
        "mode": mode,
    }


def _score(score: Score) -> Fields:
    return {
        "value": _number(score.value),
        "status": score.status.value,
        "confidence": _number(score.confidence),
        "shares": {
            "by_host": _shares(score.by_host),
            "by_layer": _shares(score.by_layer),
            "by_source": _shares(score.by_source),
            "by_finding": _shares(score.by_finding),
        },
    }


def _shares(shares: Iterable[Share]) -> dict[str, Number | None]:
    return {share.name: _number(share.value) for share in shares}


def _present(fields: Mapping[str, object]) -> Fields:
    """The fields that have a value: no empty text, no None, no number that is none."""
    found: Fields = {}
    for name, value in fields.items():
        told = value if isinstance(value, str | bool | None) else _number(value)
        if told is not None and told != "":
            found[name] = told
    return found


def _number(value: object) -> Number | None:
    """The number rounded and plain, whatever library it came from; None for NaN and infinity."""
    if isinstance(value, Integral):
        return int(value)
    plain = float(value)  # type: ignore[arg-type]
    return round(plain, DECIMALS) + 0.0 if math.isfinite(plain) else None
