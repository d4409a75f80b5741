# SPDX-License-Identifier: Apache-2.0
"""What a run amounted to, for people: score over time, hosts, findings, blocks, the sensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fortress.cli.chart import COLOURS, bar, chart, clock, day_and_clock
from fortress.cli.options import counted
from fortress.services.agent.report import Report, Seen
from fortress.verdict import Action, Score, Status, Verdict

MOST_HOSTS = 8
MOST_FINDINGS = 10
MOST_VERDICTS = 10
MOST_EVIDENCE = 4
CHART_WIDTH, CHART_MARGIN = 72, 8  # the axis and the indent stand beside the chart
BAR_WIDTH, BAR_MARGIN = 30, 10  # indent, gaps and the figure stand beside a bar
LEAST_WIDTH = 8
NARROW = 80  # below, the reason of a verdict has a line of its own

_AMBER_RISK, _RED_RISK = 0.45, 0.70  # the score's own thresholds, to colour a finding's risk


def summary(
    report: Report, title: str, written: Mapping[str, str], width: int = 80
) -> RenderableType:
    """The whole summary for a terminal of `width` columns; `written` says where what was written
    lies.
    """
    found = [
        *_section("Hosts, by their part in the score", _hosts(report, width)),
        *_section("Findings", _findings(report)),
        *_section(
            "Would have been blocked (nothing was: this is a replay)", _blocks(report, width)
        ),
    ]
    sections = [
        _heading(report, title),
        _score(report, width),
        *(found if report.last is not None else ()),
        *_section("Sensor", _sensor(report)),
        *_section("Written", _written(written)),
    ]
    return Group(*sections)


def _section(title: str, content: RenderableType | None) -> Iterator[RenderableType]:
    if content is not None:
        yield Text(f"\n{title}", "bold")
        yield Padding(content, (0, 0, 0, 2))


def _heading(report: Report, title: str) -> Text:
    heading = Text.assemble(("Fortress", "bold"), ("  replay of ", "dim"), title)
    stats = report.stats
    if stats is not None and stats.packets:
        first_ns = stats.time_ns - round(stats.capture_seconds * 1e9)
        span = f"{day_and_clock(first_ns)} → {clock(stats.time_ns)} UTC"
        heading.append(f"\n{span}, {_duration(stats.capture_seconds)}", "dim")
    return heading


def _score(report: Report, width: int) -> RenderableType:
    worst, last = report.worst, report.last
    if worst is None or last is None:
        return Text("\nNo data: not one packet could be read.", "bold")
    line = Text.assemble("\n", _badge(worst), f" {worst.value:.2f}", (" worst, at ", "dim"))
    line.append(f"{clock(worst.time_ns)}    ")
    line.append_text(_badge(last))
    line.append(f" {last.value:.2f}")
    line.append(" at the end", "dim")
    line.append("    confidence ", "dim").append(f"{last.confidence:.2f}")
    picture = chart(report.timeline, max(min(CHART_WIDTH, width - CHART_MARGIN), LEAST_WIDTH))
    seconds = report.timeline.step_ns // 1_000_000_000
    times = ", ".join(
        f"{status.value} {_duration(ticks)}" for status, ticks in report.ticks.items() if ticks
    )
    legend = Text(f"    {times}", "dim")
    if seconds > 1:
        legend.append(f", {seconds} s or more a column", "dim")
    return Group(line, Text(), Padding(Group(*picture, legend), (0, 0, 0, 2)))


def _badge(score: Score) -> Text:
    return Text(f" {score.status.value} ", f"bold black on {COLOURS[score.status]}")


def _hosts(report: Report, width: int) -> RenderableType:
    hosts = report.hosts()
    if not hosts:
        return Text("none took part in it", "dim")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    names = max(len(host) for host, _ in hosts[:MOST_HOSTS])
    room = max(min(BAR_WIDTH, width - names - BAR_MARGIN), LEAST_WIDTH)
    table.add_column(no_wrap=True, width=room)
    table.add_column(justify="right")
    for host, share in hosts[:MOST_HOSTS]:
        table.add_row(Text(host), Text(bar(share, room), colour_of(share)), f"{share:.2f}")
    return _and_more(table, len(hosts) - MOST_HOSTS, "host/hosts")


def _findings(report: Report) -> RenderableType:
    ranked = report.ranked_findings()
    if not ranked:
        return Text("none", "dim")
    shown = [_finding(seen) for seen in ranked[:MOST_FINDINGS]]
    more = len(ranked) - MOST_FINDINGS + report.more_findings
    return _and_more(Group(*shown), more, "finding/findings")


def _finding(seen: Seen) -> RenderableType:
    finding = seen.finding
    head = Text.assemble((f"{finding.risk:.2f} ", f"bold {colour_of(finding.risk)}"))
    head.append(finding.signature, "bold")
    head.append(f"  {finding.host} → {finding.target}" if finding.target else f"  {finding.host}")
    when = clock(seen.first_ns)
    if seen.times > 1:
        when += f"–{clock(seen.last_ns)} ×{seen.times}"
    head.append(f"  {when}", "cyan")
    judged = (finding.layer.value, finding.technique, finding.source.value)
    small = " · ".join(filter(None, (*judged, _evidence(finding.evidence))))
    inset = (0, 0, 0, 5)
    return Group(head, Padding(Text(finding.reason), inset), Padding(Text(small, "dim"), inset))


def _evidence(evidence: Mapping[str, float | int | str]) -> str:
    parts = [f"{name} {_short(value)}" for name, value in list(evidence.items())[:MOST_EVIDENCE]]
    return " · ".join(parts)


def _blocks(report: Report, width: int) -> RenderableType:
    verdicts = report.would_block()
    if not verdicts:
        return Text("nothing", "dim")
    shown: RenderableType
    if width < NARROW:
        shown = Group(*(_narrow(verdict) for verdict in verdicts[:MOST_VERDICTS]))
    else:
        shown = Table.grid(padding=(0, 2))
        for _ in range(4):
            shown.add_column(vertical="top")
        for verdict in verdicts[:MOST_VERDICTS]:
            shown.add_row(*_verdict(verdict))
    return _and_more(shown, len(verdicts) - MOST_VERDICTS + report.more_verdicts, "target/targets")


def _narrow(verdict: Verdict) -> RenderableType:
    *head, why = _verdict(verdict)
    return Group(*head, Padding(why, (0, 0, 0, 2)))


def _verdict(verdict: Verdict) -> Sequence[RenderableType]:
    colour = "red" if verdict.action >= Action.BLOCK else "yellow"
    until = Text(f"until {clock(verdict.until_ns)}", no_wrap=True)
    target = Text(verdict.target, no_wrap=True)
    return Text(verdict.action.name, f"bold {colour}"), target, until, Text(verdict.why, "dim")


def _sensor(report: Report) -> RenderableType | None:
    stats = report.stats
    if stats is None:
        return None
    seen = f"{counted(stats.packets, 'packet/packets')}, {_bytes(stats.bytes)},"
    seen += f" {counted(stats.flows, 'flow/flows')}"
    speed = f"{stats.seconds:.2f} s, {stats.packets_per_second:,.0f} packets/s"
    line = Text.assemble(seen, (f"  in {speed}", "dim"))
    for count, what in (
        (stats.drops, "packet dropped before we saw it/packets dropped before we saw them"),
        (stats.evictions, "flow evicted from a full table/flows evicted from a full table"),
        (stats.rows_lost, "row beyond the bound of a tick/rows beyond the bound of a tick"),
        (stats.damages, "damaged or missing file/damaged or missing files"),
        (stats.malformed, "packet with contradictory headers/packets with contradictory headers"),
        (stats.absurd_lengths, "packet with an absurd length/packets with an absurd length"),
        (stats.clock_steps, "step of the clock/steps of the clock"),
    ):
        if count:
            line.append(f"\n{counted(count, what)}", "yellow")
    if stats.interrupted:
        line.append("\nstopped early: this is what was seen until then", "yellow")
    calm = [
        f"{count:,} {what}"
        for count, what in (
            (stats.drops, "dropped"),
            (stats.undecodable, "not understood"),
            (stats.truncated, "cut by the capture's snap length"),
            (stats.out_of_order, "out of order"),
        )
    ]
    line.append(f"\n{' · '.join(calm)}", "dim")
    return line


def _written(written: Mapping[str, str]) -> RenderableType | None:
    if not written:
        return None
    table = Table.grid(padding=(0, 2))
    for what, where in written.items():
        table.add_row(Text(what, "dim"), Text(where, overflow="fold"))
    return table


def _and_more(content: RenderableType, more: int, what: str) -> RenderableType:
    return (
        Group(content, Text(f"and {counted(more, what).replace(' ', ' more ', 1)}", "dim"))
        if more > 0
        else content
    )


def colour_of(risk: float) -> str:
    """The colour of a risk on the score's own scale."""
    if risk >= _RED_RISK:
        return COLOURS[Status.RED]
    return COLOURS[Status.AMBER] if risk >= _AMBER_RISK else COLOURS[Status.GREEN]


def _short(value: float | int | str) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
