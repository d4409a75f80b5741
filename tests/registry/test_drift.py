"""Drift: the index by hand, whatever the blocks, in bounded memory."""

from dataclasses import replace

import numpy as np
import pytest

from fortress.inference import Histogram
from fortress.inference.drift import BLOCK_ROWS, LEAST_ROWS, WINDOW_ROWS, DriftMonitor
from tests.registry.graphs import CLASSES, entry, network

WIDTH = 3


def monitor(*histograms: Histogram, score: Histogram | None = None) -> DriftMonitor:
    recipe = entry(network(WIDTH, 3), "flow", WIDTH, CLASSES).recipe
    references = dict(zip(recipe.features, histograms, strict=False))
    return DriftMonitor(replace(recipe, input_references=references, score_reference=score))


def test_the_index_is_the_formulas() -> None:
    seen = monitor(Histogram((1.0, 2.0), (0.5, 0.25, 0.25)), score=Histogram((0.5,), (0.9, 0.1)))
    matrix = np.zeros((2000, WIDTH), np.float32)
    matrix[:500, 0], matrix[500:1500, 0], matrix[1500:, 0] = 0.5, 1.0, 2.0
    seen.observe(matrix, np.where(np.arange(2000) < 1000, 0.1, 0.5).astype(np.float32))
    drift = seen.look()
    assert drift is not None
    now, then = np.array([0.25, 0.5, 0.25]), np.array([0.5, 0.25, 0.25])
    assert drift.inputs == pytest.approx(float(((now - then) * np.log(now / then)).sum()))
    now, then = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    assert drift.scores == pytest.approx(float(((now - then) * np.log(now / then)).sum()))
    assert drift.largest[0][0] == "f0"


def test_rows_in_any_blocks_give_the_same_index(rng: np.random.Generator) -> None:
    matrix = rng.normal(0, 1, (5000, WIDTH)).astype(np.float32)
    risk = rng.uniform(0, 1, 5000).astype(np.float32)
    references = [Histogram.of(rng.normal(0, 1.5, 999)) for _ in range(WIDTH)]
    found = []
    for size in (1, 7, BLOCK_ROWS, 5000):
        seen = monitor(*references, score=Histogram.of(rng.uniform(0, 1, 999)) if 0 else None)
        rows = 5000 if size > 1 else 2000
        for start in range(0, rows, size):
            seen.observe(matrix[start : start + size], risk[start : start + size])
        if size == 1:
            other = monitor(*references)
            other.observe(matrix[:2000], risk[:2000])
            assert seen.look() == other.look()
        else:
            found.append(seen.look())
    assert found[0] == found[1] == found[2] is not None


def test_the_data_of_the_reference_has_no_drift(rng: np.random.Generator) -> None:
    values = np.stack(
        [rng.exponential(3, 8000), rng.integers(0, 2, 8000), np.zeros(8000)], axis=1
    ).astype(np.float32)
    values[:30, 2] = 5  # almost constant
    references = [Histogram.of(column) for column in values.T]
    seen = monitor(*references)
    seen.observe(values[rng.permutation(8000)][:4000], np.zeros(4000, np.float32))
    drift = seen.look()
    assert drift is not None
    assert drift.inputs < 0.05
    assert drift.scores == 0


def test_too_few_rows_or_no_reference_say_nothing() -> None:
    rows = np.zeros((LEAST_ROWS - 1, WIDTH), np.float32)
    seen = monitor(Histogram((1.0,), (0.5, 0.5)))
    seen.observe(rows, np.zeros(len(rows), np.float32))
    assert seen.look() is None
    seen.observe(rows, np.zeros(len(rows), np.float32))
    assert seen.look() is not None
    blind = monitor()
    blind.observe(np.zeros((5000, WIDTH), np.float32), np.zeros(5000, np.float32))
    assert blind.look() is None


def test_old_rows_fade_and_memory_stays(rng: np.random.Generator) -> None:
    seen = monitor(Histogram((0.0,), (0.5, 0.5)))
    high = np.ones((50_000, WIDTH), np.float32)
    seen.observe(high, np.zeros(50_000, np.float32))
    worst = seen.look()
    usual = rng.choice(np.array([-1, 1], np.float32), (200_000, WIDTH))
    seen.observe(usual, np.zeros(200_000, np.float32))
    now = seen.look()
    assert worst is not None
    assert now is not None
    assert (worst.inputs > 1, now.inputs < 0.05) == (True, True)
    assert now.rows <= WINDOW_ROWS
    assert seen._rows.nbytes <= BLOCK_ROWS * WIDTH * 4


@pytest.mark.parametrize("values", [[0.0] * 500 + [1.0], [5.0], [0, 1], np.arange(1000)])
def test_a_histogram_has_rising_edges_and_whole_shares(values: list[float]) -> None:
    made = Histogram.of(values)
    assert list(made.edges) == sorted(set(made.edges))
    assert len(made.shares) == len(made.edges) + 1
    assert sum(made.shares) == pytest.approx(1, abs=1e-5)
    assert set(made.table()) == {"edges", "shares"}


def test_a_histogram_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no finite"):
        Histogram.of([np.nan, np.inf])
