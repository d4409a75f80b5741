# SPDX-License-Identifier: Apache-2.0
"""What a run amounted to, in bounded memory however long it was: the summary is drawn from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fortress_core import StreamStats

from fortress.events import Stats
from fortress.verdict import Action, Finding, Score, Status, Verdict

MAX_ENTRIES = 1000  # hosts, findings and verdicts each; more are counted
MAX_SPANS = 256  # of the timeline; when they are full, two become one

_ORDER = (Status.GREEN, Status.AMBER, Status.RED)


@dataclass(frozen=True, slots=True)
class Span:
    """The worst of the score in a stretch of the timeline."""

    value: float
    status: Status


class Timeline:
    """The score over the capture's time, always in at most MAX_SPANS stretches of equal length."""

    def __init__(self, step_ns: int = 1_000_000_000) -> None:
        self.step_ns = step_ns
        self.first_ns = 0
        self.spans: list[Span | None] = []
        self._shift_ns = 0
        self._last_ns = 0

    def add(self, score: Score) -> None:
        """Take the score of a tick; where the capture's clock goes back, time goes on."""
        if not self.spans:
            self.first_ns = self._last_ns = score.time_ns
        time_ns = score.time_ns + self._shift_ns
        if time_ns < self._last_ns:
            self._shift_ns += self._last_ns + self.step_ns - time_ns
            time_ns = self._last_ns + self.step_ns
        self._last_ns = time_ns
        while (index := (time_ns - self.first_ns) // self.step_ns) >= MAX_SPANS:
            self._halve()
        self.spans.extend([None] * (index + 1 - len(self.spans)))
        known = self.spans[index]
        if known is None or score.value > known.value or score.status is not known.status:
            self.spans[index] = _worse(known, Span(score.value, score.status))

    def _halve(self) -> None:
        self.step_ns *= 2
        pairs = zip(self.spans[::2], [*self.spans[1::2], None], strict=False)
        self.spans = [_worse(one, other) for one, other in pairs]


@dataclass(slots=True)
class Seen:
    """A finding and how often it came; `finding` is the strongest."""

    finding: Finding
    times: int = 1
    first_ns: int = 0
    last_ns: int = 0


@dataclass(slots=True)
class Report:
    """Gathers what a run says; read it when the run is over (or while it goes on)."""

    timeline: Timeline = field(default_factory=Timeline)
    worst: Score | None = None
    last: Score | None = None
    ticks: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(_ORDER, 0))
    host_shares: dict[str, float] = field(default_factory=dict)
    findings: dict[tuple[int, str, str], Seen] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    more_findings: int = 0
    more_verdicts: int = 0
    alerts: int = 0
    notices: int = 0
    verdict_changes: int = 0
    damages: tuple[str, ...] = ()
    stats: Stats | None = None

    def end(
        self, counted: StreamStats, *, rows_lost: int, seconds: float, interrupted: bool = False
    ) -> Stats:
        """What it all amounted to, when everything else is told."""
        self.stats = Stats(
            time_ns=counted.last_ns,
            packets=counted.packets,
            bytes=counted.bytes,
            drops=counted.kernel_drops,
            flows=counted.flows,
            flows_peak=counted.flows_peak,
            evictions=counted.evictions,
            truncated=counted.truncated,
            undecodable=counted.undecodable,
            malformed=counted.malformed,
            absurd_lengths=counted.absurd_lengths,
            non_ip=counted.non_ip,
            out_of_order=counted.out_of_order,
            clock_steps=counted.clock_steps,
            damages=len(self.damages),
            rows_lost=rows_lost,
            packets_shed=counted.packets_shed,
            alerts=self.alerts,
            notices=self.notices,
            verdicts=self.verdict_changes,
            interrupted=interrupted,
            capture_seconds=max(counted.last_ns - counted.first_ns, 0) / 1e9,
            seconds=seconds,
            packets_per_second=counted.packets / seconds if seconds > 0 else 0.0,
        )
        return self.stats

    def add_score(self, score: Score, told: bool = True) -> None:
        """Take the score of a tick; what hosts share in it is read where it was worth an event."""
        self.timeline.add(score)
        if self.last is None or self.last.time_ns != score.time_ns:  # else the last tick once more
            self.ticks[score.status] += 1
        self.last = score
        if self.worst is None or score.value > self.worst.value:
            self.worst = score
        if told:
            self._add_hosts(score)

    def _add_hosts(self, score: Score) -> None:
        for share in score.by_host:
            if share.value > self.host_shares.get(share.name, 0.0):
                self.host_shares[share.name] = share.value
        if len(self.host_shares) > 2 * MAX_ENTRIES:
            ranked = sorted(self.host_shares.items(), key=lambda item: -item[1])
            self.host_shares = dict(ranked[:MAX_ENTRIES])

    def add_finding(self, finding: Finding, alert: bool) -> None:
        """Take a finding."""
        self.alerts += alert
        self.notices += not alert
        key = (finding.signature_id, finding.host, finding.target)
        seen = self.findings.get(key)
        if seen is not None:
            seen.times += 1
            seen.last_ns = finding.time_ns
            if finding.risk > seen.finding.risk:
                seen.finding = finding
        elif len(self.findings) < MAX_ENTRIES:
            self.findings[key] = Seen(finding, 1, finding.time_ns, finding.time_ns)
        else:
            self.more_findings += 1

    def add_verdict(self, verdict: Verdict) -> None:
        """Take a changed verdict; the strongest of each target is kept, and its last end."""
        self.verdict_changes += 1
        known = self.verdicts.get(verdict.target)
        if known is None and len(self.verdicts) >= MAX_ENTRIES:
            self.more_verdicts += 1
        elif known is None or verdict.action >= known.action:
            self.verdicts[verdict.target] = verdict

    def hosts(self) -> list[tuple[str, float]]:
        """Hosts with their largest share of the score, the largest first."""
        return sorted(self.host_shares.items(), key=lambda item: (-item[1], item[0]))

    def ranked_findings(self) -> list[Seen]:
        """Findings, the riskiest first."""
        return sorted(self.findings.values(), key=lambda seen: (-seen.finding.risk, seen.first_ns))

    def would_block(self) -> list[Verdict]:
        """What would have been limited, blocked or quarantined, the strongest first."""
        strong = [v for v in self.verdicts.values() if v.action >= Action.LIMIT]
        return sorted(strong, key=lambda verdict: (-verdict.action, verdict.target))


def _worse(one: Span | None, other: Span | None) -> Span | None:
    if one is None or other is None:
        return one or other
    status = max(one.status, other.status, key=_ORDER.index)
    return Span(max(one.value, other.value), status)
