"""Rows that no sane network makes: the pipeline survives them without a warning."""

import numpy as np
import pytest

from fortress.qsecbit import Pipeline
from tests.detectors.world import SECOND, START_NS, columns

ROWS = 400


def _random(names: tuple[str, ...], rng: np.random.Generator, rows: int, few: bool) -> dict:
    """Random bits in every column; with `few`, from so few values that much coincides."""
    made = {}
    for name, empty in columns([], names).items():
        kind = empty.dtype
        if kind == np.dtype("V16"):
            octets = rng.integers(0, 256, (rows, 16), np.uint8)
            if few:
                octets[:, :10], octets[:, 10:12], octets[:, 12:15] = 0, 255, 10
                octets[:, 15] %= 7
            made[name] = octets.reshape(-1).view("V16")
        elif few and name not in ("flow_id", "last_ns", "first_ns", "time_ns"):
            made[name] = rng.integers(0, 20, rows).astype(kind)
        else:
            made[name] = rng.integers(0, 256, rows * kind.itemsize, np.uint8).view(kind)
            if name.endswith("_mac"):
                made[name] &= np.uint64(0xFFFF_FFFF_FFFF)
    return made


@pytest.mark.parametrize("few", [False, True])
def test_random_rows_make_no_trouble(rng: np.random.Generator, few: bool) -> None:
    pipeline = Pipeline()
    with np.errstate(all="raise", under="ignore"):
        for tick in range(60):
            rows = int(rng.integers(0, ROWS))
            result = pipeline.tick(
                START_NS + tick * int(rng.integers(1, 5)) * SECOND,
                _random(pipeline.reads_interval_columns, rng, rows, few),
                _random(pipeline.reads_flow_columns, rng, rows, few),
                _random(pipeline.reads_packet_columns, rng, rows // 4, few),
            )
            assert 0 <= result.score.value <= 1
            assert 0 <= result.score.confidence <= 1
            for found in result.opened:
                assert 0 <= found.risk <= 1
                assert found.reason
                assert found.host
        pipeline.finish()


def test_a_tick_of_a_hundred_thousand_rows_is_judged(rng: np.random.Generator) -> None:
    pipeline = Pipeline()
    rows = _random(pipeline.reads_interval_columns, rng, 100_000, few=False)
    assert pipeline.tick(START_NS, rows, {}, {}).score.confidence <= 1
    assert all(len(table) <= table.capacity for table in pipeline._windows.tables.values())
