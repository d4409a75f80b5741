"""The loop's parts: rows gathered into ticks, scores worth telling, pace, the bounded report."""

from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from fortress.services.agent.pace import LONGEST_WAIT_S, Pace, ScoreGate
from fortress.services.agent.report import MAX_ENTRIES, MAX_SPANS, Report, Span, Timeline
from fortress.services.agent.ticks import Gathered
from fortress.sinks.checks import examples
from fortress.verdict import Action, Finding, Score, Share, Shares, Status, Verdict

SECOND = 1_000_000_000
FINDING = next(value for value in examples(1) if isinstance(value, Finding))


class Rows:
    def __init__(self, *values: int) -> None:
        self.rows = len(values)
        self.column = np.array(values, np.uint32)

    def __getitem__(self, name: str) -> np.ndarray:
        assert name == "x"
        return self.column

    def views(self) -> dict[str, np.ndarray]:
        return {"x": self.column}


def test_a_tick_of_one_batch_is_handed_on_without_a_copy() -> None:
    gathered, rows = Gathered(["x"]), Rows(1, 2)
    gathered.add(rows, last=True)
    assert np.shares_memory(gathered.take()["x"], rows.column)


def test_a_tick_of_several_batches_survives_their_reuse() -> None:
    gathered = Gathered(["x"])
    for batch, last in ((Rows(1, 2), False), (Rows(), False), (Rows(3), True)):
        gathered.add(batch, last)
        batch.column[:] = 0
    assert gathered.take()["x"].tolist() == [1, 2, 0]  # the last batch is still valid: a view
    gathered.add(Rows(9), last=True)
    assert gathered.take()["x"].tolist() == [9]


def test_a_tick_without_rows_has_columns_of_the_right_type() -> None:
    gathered = Gathered(["x"])
    gathered.add(Rows(), last=True)
    assert gathered.take()["x"].dtype == np.uint32


@pytest.mark.parametrize("sizes", [(7,), (1,) * 7, (3, 4), (5, 2)])
def test_rows_beyond_the_bound_are_counted_and_the_first_stay(sizes: tuple[int, ...]) -> None:
    gathered = Gathered(["x"], max_rows=5)
    values = iter(range(7))
    for number, size in enumerate(sizes):
        batch = Rows(*(next(values) for _ in range(size)))
        gathered.add(batch, last=number == len(sizes) - 1)
    assert gathered.take()["x"].tolist() == [0, 1, 2, 3, 4]
    assert gathered.lost == 2


def score(seconds: float, value: float, status: Status = Status.GREEN) -> Score:
    return Score(round(seconds * SECOND), value, status, 1.0)


def test_scores_are_told_when_they_move_change_status_or_grow_old() -> None:
    gate = ScoreGate()
    assert gate.passes(score(0, 0.1))
    assert not gate.passes(score(1, 0.1099))
    assert gate.passes(score(2, 0.11))
    assert gate.passes(score(3, 0.11, Status.AMBER))
    assert not gate.passes(score(62.9, 0.115, Status.AMBER))
    assert gate.passes(score(63, 0.115, Status.AMBER))
    assert gate.passes(score(10, 0.115, Status.AMBER)), "the clock went back"


class Clock:
    """A stop event that lets its own clock run on when it is waited for."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(round(seconds, 6))
        self.now_s += seconds
        return False


def pace(clock: Clock) -> Pace:
    return Pace(clock, lambda: clock.now_s)  # type: ignore[arg-type]


def test_real_pace_waits_as_long_as_the_capture_did() -> None:
    clock = Clock()
    paced = pace(clock)
    for seconds in (5, 6, 9):
        paced.wait_until(seconds * SECOND)
    assert clock.waits == [1, 3]


def test_real_pace_catches_up_when_it_was_late() -> None:
    clock = Clock()
    paced = pace(clock)
    paced.wait_until(0)
    clock.now_s += 1.5
    paced.wait_until(1 * SECOND)
    paced.wait_until(2 * SECOND)
    assert clock.waits == [0.5]


def test_a_clock_jump_does_not_hang_a_replay() -> None:
    clock = Clock()
    paced = pace(clock)
    for seconds in (0, 10**8, 10**8 + 1, 0, 1):
        paced.wait_until(seconds * SECOND)
    assert clock.waits == [LONGEST_WAIT_S, 1, 1]


def test_a_stopped_replay_does_not_wait() -> None:
    stop = Event()
    stop.set()
    paced = Pace(stop)
    paced.wait_until(0)
    paced.wait_until(50 * SECOND)


def test_the_timeline_stays_bounded_and_keeps_the_worst() -> None:
    timeline = Timeline()
    for second in range(10_000):
        risk = 0.9 if second == 7777 else 0.1
        timeline.add(score(second, risk, Status.RED if risk > 0.5 else Status.GREEN))
    assert len(timeline.spans) <= MAX_SPANS
    worst = 7777 * SECOND // timeline.step_ns
    assert timeline.spans[worst] == Span(0.9, Status.RED)
    assert (
        sum(span == Span(0.1, Status.GREEN) for span in timeline.spans) == len(timeline.spans) - 1
    )


def test_silence_is_no_score() -> None:
    timeline = Timeline()
    timeline.add(score(0, 0.5))
    timeline.add(score(3, 0.5))
    assert [span is None for span in timeline.spans] == [False, True, True, False]


def test_the_timeline_goes_on_when_the_clock_goes_back_or_leaps() -> None:
    timeline = Timeline()
    for second in (10, 11, 0, 1, 10**9):
        timeline.add(score(second, 0.5))
    assert len(timeline.spans) <= MAX_SPANS
    short = Timeline()
    for second in (10, 11, 0, 1):
        short.add(score(second, second / 100))
    assert [span.value for span in short.spans if span] == [0.1, 0.11, 0.0, 0.01]


def test_the_report_is_bounded_and_counts_what_it_leaves_out() -> None:
    report = Report()
    for number in range(MAX_ENTRIES + 5):
        report.add_finding(replace(FINDING, host=f"h{number}"), alert=True)
        report.add_verdict(Verdict(0, Action.BLOCK, f"h{number}", "address", 1, ""))
        report.add_score(
            Score(number, 0.5, Status.AMBER, 1.0, Shares(by_host=tuple(
                Share(f"h{number}-{part}", part / 10) for part in range(4)
            )))
        )  # fmt: skip
    assert len(report.findings) == len(report.verdicts) == MAX_ENTRIES
    assert (report.more_findings, report.more_verdicts) == (5, 5)
    assert len(report.host_shares) <= 2 * MAX_ENTRIES + 4


def test_the_strongest_of_a_repeated_finding_is_shown_with_how_often_it_came() -> None:
    report = Report()
    for confidence in (0.5, 0.9, 0.7):
        report.add_finding(replace(FINDING, confidence=confidence), alert=True)
    (seen,) = report.ranked_findings()
    assert (seen.times, seen.finding.confidence) == (3, 0.9)


def test_a_later_weaker_verdict_does_not_hide_what_would_have_been_blocked() -> None:
    report = Report()
    report.add_verdict(Verdict(0, Action.BLOCK, "h", "address", 10, "scan"))
    report.add_verdict(Verdict(5, Action.PASS, "h", "address", 10, ""))
    report.add_verdict(Verdict(5, Action.WATCH, "calm", "address", 10, ""))
    assert [verdict.action for verdict in report.would_block()] == [Action.BLOCK]
