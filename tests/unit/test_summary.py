"""What people read: the chart, the bars, the summary; nothing overflows and nothing is invented."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from fortress.cli.chart import BLOCKS, bar, chart, sparkline
from fortress.cli.summary import MOST_FINDINGS, summary
from fortress.events import Stats
from fortress.services.agent.report import Report, Timeline
from fortress.sinks.checks import examples
from fortress.verdict import Action, Finding, Score, Share, Shares, Status, Verdict

SECOND = 1_000_000_000
FINDING = next(value for value in examples(1) if isinstance(value, Finding))


def printed(report: Report, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(summary(report, "x.pcap", {"store": "sqlite:///x"}))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def timeline(*values: float | None) -> Timeline:
    found = Timeline()
    for second, value in enumerate(values):
        if value is not None:
            status = Status.RED if value >= 0.7 else Status.GREEN
            found.add(Score(second * SECOND, value, status, 1.0))
    return found


def test_a_column_is_as_high_as_the_worst_score_in_it() -> None:
    top, *_, bottom, _axis = (line.plain[4:] for line in chart(timeline(0, 1, 0.5, 0), 4, rows=2))
    assert top == " █  "
    assert bottom == "▁██▁"


def test_seconds_without_a_packet_are_dots_not_scores() -> None:
    assert sparkline(timeline(0.5, None, 0.5), 3).plain == "▄·▄"


@pytest.mark.parametrize("width", [1, 5, 72])
def test_the_chart_has_the_width_that_was_asked_for(width: int) -> None:
    lines = chart(timeline(*([0.3] * 500)), width)
    assert all(len(line.plain) == 4 + width for line in lines[:-1])


@pytest.mark.parametrize(("share", "text"), [(0, ""), (0.5, "██"), (1, "████"), (7, "████")])
def test_a_bar_is_as_long_as_its_share(share: float, text: str) -> None:
    assert bar(share, 4) == text


def test_a_small_share_still_shows() -> None:
    assert bar(0.05, 10) == BLOCKS[0] * 0 + "▌"


def test_without_a_packet_it_says_so_instead_of_showing_green() -> None:
    text = printed(Report())
    assert "No data" in text
    assert "GREEN" not in text


def test_a_calm_run_says_that_nothing_was_found() -> None:
    report = Report()
    report.add_score(Score(0, 0.0, Status.GREEN, 1.0))
    text = printed(report)
    assert "GREEN" in text
    assert "none" in text
    assert "nothing" in text


def test_an_attack_is_told_with_reason_evidence_and_block() -> None:
    report = Report()
    report.add_score(Score(0, 0.9, Status.RED, 1.0, Shares(by_host=(Share("10.0.0.5", 0.9),))))
    finding = replace(FINDING, host="10.0.0.5", target="10.0.0.1", evidence={"ports": 1234})
    report.add_finding(finding, alert=True)
    report.add_verdict(Verdict(0, Action.BLOCK, "10.0.0.5", "address", 3600 * SECOND, "a scan"))
    text = printed(report)
    for words in ("10.0.0.5 → 10.0.0.1", "ports 1,234", "BLOCK", "until 01:00:00", "a scan"):
        assert words in text


def test_more_than_fits_is_counted() -> None:
    report = Report()
    report.add_score(Score(0, 0.9, Status.RED, 1.0))
    for number in range(MOST_FINDINGS + 3):
        report.add_finding(replace(FINDING, host=f"h{number}"), alert=True)
    assert "and 3 more findings" in printed(report)


def test_one_is_not_counted_in_the_plural() -> None:
    report = Report()
    report.add_score(Score(0, 0.9, Status.RED, 1.0))
    for number in range(MOST_FINDINGS + 1):
        report.add_finding(replace(FINDING, host=f"h{number}"), alert=True)
    stats = next(value for value in examples(1) if isinstance(value, Stats))
    report.stats = replace(stats, packets=1, flows=1, damages=1, clock_steps=2)
    text = printed(report)
    for words in ("and 1 more finding\n", "1 packet, ", ", 1 flow ", "1 damaged or missing file\n"):
        assert words in "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    assert "2 steps of the clock" in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    report = Report()
    report.add_score(Score(0, 0.9, Status.RED, 1.0, Shares(by_host=(Share("2001:db8::1", 0.9),))))
    report.add_finding(replace(FINDING, reason="word " * 60), alert=True)
    assert all(len(line) <= width for line in printed(report, width).splitlines())


def test_what_an_attacker_can_write_is_not_taken_for_markup() -> None:
    report = Report()
    report.add_score(Score(0, 0.9, Status.RED, 1.0, Shares(by_host=(Share("[red]x[/]", 0.9),))))
    report.add_finding(replace(FINDING, reason="[bold]y[/bold] [/]"), alert=True)
    text = printed(report)
    assert "[red]x[/]" in text
    assert "[bold]y[/bold] [/]" in text
