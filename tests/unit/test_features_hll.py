"""How many different things 128 registers tell apart."""

import numpy as np
import pytest

from fortress.features import hll
from fortress.features.keys import mix
from fortress.features.panes import HOUR, MINUTE, SECOND, Panes, Span


def _estimates(things: int, rng: np.random.Generator, rounds: int = 200) -> np.ndarray:
    registers = np.zeros((rounds, hll.REGISTERS), np.uint8)
    for row in registers:
        at, rank = hll.places(mix(rng.integers(0, 2**63, things, dtype=np.uint64)))
        np.maximum.at(row, at, rank)
    return hll.estimate(registers)


@pytest.mark.parametrize(
    ("things", "relative_error"),
    [(12, 0.05), (50, 0.06), (200, 0.09), (1000, 0.092), (100_000, 0.092)],
)
def test_the_error_is_what_the_docstring_says(
    things: int, relative_error: float, rng: np.random.Generator
) -> None:
    estimates = _estimates(things, rng)
    assert abs(estimates.mean() / things - 1) < 0.03
    assert estimates.std() / things < 1.4 * relative_error


def test_nothing_seen_is_0() -> None:
    assert hll.estimate(np.zeros((2, hll.REGISTERS), np.uint8)).tolist() == [0.0, 0.0]


def test_seeing_a_thing_again_changes_nothing() -> None:
    panes, slot = Panes(2, 1, Span(4, SECOND), distinct=True), np.array([1])
    panes.add(slot, np.ones((1, 1), np.float32), 0)
    for _ in range(3):
        panes.insert(np.array([1, 1]), np.array([77, 99], np.uint64) << np.uint64(30), 0)
    once = panes.distinct(slot, 0)
    panes.insert(slot, np.array([77], np.uint64) << np.uint64(30), 0)
    assert panes.distinct(slot, 0) == once


def test_full_registers_of_the_highest_rank_give_a_finite_number() -> None:
    full = np.full((1, hll.REGISTERS), 53, np.uint8)
    assert np.isfinite(hll.estimate(full)).all()


def test_what_falls_out_of_the_window_is_no_longer_counted() -> None:
    panes, slot = Panes(1, 2, MINUTE, HOUR, distinct=True), np.array([0])
    for minute, things in ((0, 30), (1, 5)):
        ns = minute * 60 * SECOND
        panes.add(slot, np.array([[things, 1]], np.float32), ns)
        panes.insert(np.zeros(things, np.intp), mix(np.arange(things, dtype=np.uint64)), ns)
    assert panes.totals(slot, 60 * SECOND).tolist() == [[[5.0, 1.0]], [[35.0, 2.0]]]
    minute, hour = panes.distinct(slot, 60 * SECOND)[:, 0]
    assert 4 < minute < 6
    assert 26 < hour < 34
    assert panes.totals(slot, 10_000 * SECOND).tolist() == [[[0.0, 0.0]], [[0.0, 0.0]]]


def test_panes_of_one_window_add_up_and_registers_join() -> None:
    panes, slot = Panes(1, 1, MINUTE, distinct=True), np.array([0])
    for second in (0, 20, 40):
        panes.add(slot, np.ones((1, 1), np.float32), second * SECOND)
        things = np.arange(second, second + 30, dtype=np.uint64)  # each shares 10 with the next
        panes.insert(np.zeros(30, np.intp), mix(things), second * SECOND)
    assert panes.totals(slot, 40 * SECOND).tolist() == [[[3.0]]]
    assert 60 < panes.distinct(slot, 40 * SECOND)[0, 0] < 80


def test_a_slot_that_goes_to_a_new_key_is_empty() -> None:
    panes, slot = Panes(1, 1, Span(4, SECOND), distinct=True), np.array([0])
    panes.add(slot, np.ones((1, 1), np.float32), 0)
    panes.forget(slot)
    assert panes.totals(slot, 0).tolist() == [[[0.0]]]
    assert panes.distinct(slot, 0).tolist() == [[0.0]]
