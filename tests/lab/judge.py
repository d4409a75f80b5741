"""Judging: what `fortress replay` said about a capture against what its labels say happened.

A label is detected when an alert of its detector falls into its time and speaks of its source or,
where that is forged, of its target; where the label says so, a notice will do. Detectors listed in
``also``, and the model of flows, may speak too, without credit. An alert that fits no label is an
extra alert; notices never are.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.lab.labels import Label

GENERAL = ("flow_model",)  # tells attacks from other flows, not one attack from another
GRACE_NS = 60 * 10**9  # an alert may follow the last packet: flows must end, windows must close


class JudgeError(Exception):
    """The replay failed or printed what cannot be judged; the message says where."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What of a finding the judgement needs; ``at`` is capture time in epoch ns."""

    kind: str
    at: int
    detector: str
    src: str | None
    dst: str | None
    src_mac: str | None
    host: str | None
    risk: float
    reason: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A label and the first alert that fits it, seconds after the label's start; None if missed."""

    label: Label
    alert: Alert | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Labels found and missed, alerts that fit none, and the highest score on the way."""

    hits: tuple[Hit, ...]
    extra: tuple[Alert, ...]
    peak_score: float | None
    peak_status: str | None

    @property
    def is_good(self) -> bool:
        """Whether every label was detected and nothing else was alerted."""
        return all(hit.alert is not None for hit in self.hits) and not self.extra


def replay(command: list[str], capture: Path) -> tuple[list[dict[str, Any]], int]:
    """The events of a replay of the capture, and its exit status (3: the capture is damaged)."""
    words = [*command, "replay", str(capture), "--json"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    except FileNotFoundError:
        raise JudgeError(f"{words[0]}: no such command; run ./dev setup") from None
    if done.returncode not in (0, 3):
        raise JudgeError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return read_events(done.stdout.splitlines()), done.returncode


def read_events(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The events of newline JSON; the last must be ``stats``, else the replay broke off."""
    events = []
    for number, line in enumerate(lines, 1):
        try:
            event = json.loads(line)
            events.append({**event, "event_type": event["event_type"]})
        except (ValueError, TypeError, KeyError) as error:
            raise JudgeError(f"event line {number}: {error!r}: {line[:120]}") from error
    if not events or events[-1]["event_type"] != "stats":
        raise JudgeError("the replay did not end with a stats event: it broke off")
    return events


def judge(labels: tuple[Label, ...], events: list[dict[str, Any]]) -> Judgement:
    """What the events say about each label, and which alerts fit none."""
    findings = [_alert(event) for event in events if _is_finding(event)]
    alerts = [one for one in findings if one.kind == "alert"]
    scores = [event["score"] for event in events if event["event_type"] == "score"]
    peak = max(scores, key=lambda score: float(score["value"] or 0), default=None)
    return Judgement(
        hits=tuple(_hit(label, findings) for label in labels),
        extra=tuple(one for one in alerts if not any(fits(label, one) for label in labels)),
        peak_score=None if peak is None else peak["value"],
        peak_status=None if peak is None else peak["status"],
    )


def fits(label: Label, alert: Alert) -> bool:
    """Whether the alert speaks of what the label describes."""
    if alert.detector not in (label.detector, *label.also, *GENERAL):
        return False
    if not label.start - 10**9 <= alert.at <= label.end + GRACE_NS:
        return False
    spoken = (alert.src, alert.dst, alert.host)
    if label.src is None:
        return any(_covers(label.dst, address) for address in spoken)
    same_station = label.src_mac is not None and label.src_mac in (alert.src_mac, alert.host)
    return same_station or any(_covers(label.src, address) for address in spoken)


def _hit(label: Label, findings: list[Alert]) -> Hit:
    owed = ("alert", "notice") if label.notice else ("alert",)
    spoken = [one for one in findings if one.kind in owed and one.detector == label.detector]
    right = [one for one in spoken if fits(label, one)]
    if not right:
        return Hit(label, None, None)
    first = min(right, key=lambda alert: alert.at)
    return Hit(label, first, round(max(0, first.at - label.start) / 1e9, 3))


def _covers(where: str | None, address: str | None) -> bool:
    """Whether ``where`` (address, network, None for any) covers an alert's address."""
    if where is None or address is None:
        return where is None
    network = ipaddress.ip_network(where)
    try:
        spoken = ipaddress.ip_network(address, strict=False)
    except ValueError:  # a host can be named by its hardware address
        return False
    return spoken.version == network.version and (
        spoken.network_address in network or network.network_address in spoken
    )


def _is_finding(event: dict[str, Any]) -> bool:
    """Whether the event is an alert or a notice of a finding too weak to be one."""
    kind: str = event["event_type"]
    weak: bool = kind == "notice" and event["notice"].get("kind") == "finding"
    return weak or kind == "alert"


def _alert(event: dict[str, Any]) -> Alert:
    try:
        body = event[event["event_type"]]
        return Alert(
            kind=event["event_type"],
            at=epoch_ns(event["timestamp"]),
            detector=body["detector"],
            src=event.get("src_ip"),
            dst=event.get("dest_ip"),
            src_mac=event.get("src_mac"),
            host=body.get("host"),
            risk=float(body["risk"]),
            reason=body.get("reason", ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise JudgeError(f"an alert that cannot be read ({error!r}): {event}") from error


def epoch_ns(timestamp: str) -> int:
    """Epoch nanoseconds of an EVE timestamp, exact to its microseconds."""
    moment = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.%f%z")
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * 10**9 + moment.microsecond * 1000
