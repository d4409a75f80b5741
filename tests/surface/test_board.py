"""The board between loop and surface: bounded, whole snapshots, requests answered by the loop."""

import json
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest

from fortress.errors import OutputError
from fortress.events import event
from fortress.http.sse import WAITING as PLACES
from fortress.services.agent.board import MOST_FINDINGS, Board
from fortress.services.agent.history import MINUTES, SECONDS, History
from fortress.services.agent.requests import WAITING, Requests
from fortress.services.agent.view import Outcome
from fortress.sinks.checks import PROMISES, Case, check
from fortress.verdict import Status
from tests.surface.world import NOW_NS, Asked, finding, score, snapshot


def test_the_board_keeps_every_promise_of_a_sink() -> None:
    boards: list[Board] = []
    heard: deque[bytes] = deque()

    def opened() -> Board:
        boards.append(Board("1"))
        heard.clear()
        publish = boards[-1].events.publish

        def listen(kind: str, line: bytes) -> None:
            heard.append(line)
            publish(kind, line)

        boards[-1].events.publish = listen  # type: ignore[method-assign]
        return boards[-1]

    def arrived() -> dict[str, list[int]]:
        kinds = {"alert": "Finding", "verdict": "Verdict", "score": "Score", "notice": "Notice"}
        found: dict[str, list[int]] = {name: [] for name in kinds.values()}
        for line in map(json.loads, heard):
            if line["event_type"] in kinds:
                micros = int(line["timestamp"][20:26]) + 1_000_000 * int(line["timestamp"][17:19])
                found[kinds[line["event_type"]]].append(micros * 1000)
        return found

    assert len(PROMISES) >= 5
    check(Case(opened, arrived))


def test_history_is_bounded_whatever_comes() -> None:
    history = History()
    for second in range(2 * SECONDS + 5):
        history.add(score(second), packets=1)
    assert len(history.since(0, 1)) == SECONDS
    minutes = history.since(0, 60)
    assert sum(row.packets for row in minutes) == 2 * SECONDS + 5
    for minute in range(2 * MINUTES):
        history.add(score(60 * minute))
    assert len(history.since(0, 60)) == MINUTES


def test_the_worst_status_of_a_second_stands() -> None:
    history = History()
    for tick, status in enumerate((Status.GREEN, Status.RED, Status.AMBER)):
        history.add(score(tick / 10, 0.2, status))
    assert [row.status for row in history.since(0)] == [Status.RED]


def test_history_can_be_read_while_it_is_written() -> None:
    history, stop = History(), threading.Event()

    def write() -> None:
        second = 0
        while not stop.is_set():
            history.add(score(second))
            second += 1

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        for _ in range(200):
            rows = history.since(0)
            assert [row.time_ns for row in rows] == sorted(row.time_ns for row in rows)
        stop.set()
        writing.result()


def test_only_so_many_findings_and_events_are_kept() -> None:
    board = Board("1")
    reader = board.events.listen()
    next(reader)
    for number in range(3 * MOST_FINDINGS):
        board.apply(event(finding(number)))
    kept = board.findings(10**6)
    assert len(kept) == MOST_FINDINGS
    assert kept[0].time_ns == NOW_NS + 3 * MOST_FINDINGS - 1
    assert next(reader).count(b"\n\n") == PLACES
    assert board.events.lost == 3 * MOST_FINDINGS - PLACES


def test_publishing_leaves_blocks_and_score_as_they_were() -> None:
    board = Board("1")
    board.publish(snapshot(), score(value=0.5))
    board.publish(snapshot(1), None)
    last = board.score()
    assert last is not None
    assert last.value == 0.5
    assert board.blocks() == ()


def test_a_request_is_answered_by_the_loop() -> None:
    requests, asked = Requests(), Asked()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(requests.confirm, "192.0.2.1"), pool.submit(requests.reload)]
        until, answered = time.monotonic() + 10, 0
        while answered < 2 and time.monotonic() < until:
            answered += requests.answer(asked)
        assert [one.result().done for one in waiting] == [True, True]
    assert sorted(asked.said) == ["confirm 192.0.2.1", "reload"]


def test_what_the_loop_cannot_do_is_raised_where_it_was_asked() -> None:
    requests = Requests()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(requests.confirm, "192.0.2.99")
        while not requests.answer(Asked()):
            time.sleep(0.001)
        with pytest.raises(OutputError, match="no block is proposed"):
            waiting.result()


def test_a_request_that_nobody_took_is_not_done_later() -> None:
    requests, asked = Requests(patience_s=0.01), Asked()
    with pytest.raises(OutputError, match="nothing was changed"):
        requests.reload()
    assert requests.answer(asked) == 0
    assert asked.said == []


def test_only_so_many_requests_wait() -> None:
    requests = Requests(patience_s=5)
    with ThreadPoolExecutor(WAITING) as pool:
        waiting = [pool.submit(requests.reload) for _ in range(WAITING)]
        until = time.monotonic() + 4
        while requests._waiting.qsize() < WAITING and time.monotonic() < until:
            time.sleep(0.001)
        with pytest.raises(OutputError, match="wait already"):
            requests.reload()
        assert requests.answer(Asked()) == WAITING
        assert all(one.result() == Outcome(True, "read again") for one in waiting)
