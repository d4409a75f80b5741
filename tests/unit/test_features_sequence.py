"""Flows of an originator in order of time: steps, what they tell, and what they never tell."""

import numpy as np
import pytest

from fortress.features import sequence
from fortress.features.sequence import (
    BITS,
    COLUMNS,
    EPOCH_S,
    FEATURES,
    SPAN_S,
    Sequencer,
    fingerprint,
)

SECOND = 1_000_000_000
NAMES = [feature.name for feature in FEATURES]


def flows(count: int, **columns: object) -> dict[str, np.ndarray]:
    """So many flows of one originator, one a second, with some columns of another kind."""
    began = 1_700_000_000 * SECOND + np.arange(count) * SECOND
    table = {
        "first_ns": began,
        "last_ns": began + SECOND // 10,
        "orig_addr": np.frombuffer(address(1) * count, "V16"),
        "orig_mac": np.full(count, 7, np.uint64),
        "resp_addr": np.frombuffer(address(200) * count, "V16"),
        "resp_port": np.full(count, 443, np.uint16),
        "proto": np.full(count, 6, np.uint8),
        "conn_state": np.full(count, 5, np.uint8),
        "orig_payload_bytes": np.full(count, 300, np.uint64),
        "resp_payload_bytes": np.full(count, 9000, np.uint64),
        "orig_pkts": np.full(count, 8, np.uint64),
        "resp_pkts": np.full(count, 9, np.uint64),
    }
    return table | {name: np.asarray(column) for name, column in columns.items()}


def address(last: int) -> bytes:
    return b"\0" * 10 + b"\xff\xff" + bytes((192, 168, last >> 8, last & 255))


def addresses(numbers: list[int]) -> np.ndarray:
    return np.frombuffer(b"".join(map(address, numbers)), "V16")


def feature(steps: sequence.Steps, name: str) -> list[float]:
    return steps.matrix[:, NAMES.index(name)].round(4).tolist()


def many(count: int, seed: int = 5) -> dict[str, np.ndarray]:
    """Flows of a few originators in bursts, over twenty minutes."""
    chance = np.random.default_rng(seed)
    bursts = chance.integers(0, 1200, count) // 30 * 30 * SECOND + chance.integers(0, SECOND, count)
    began = 1_700_000_000 * SECOND + np.sort(bursts)
    return flows(
        count,
        first_ns=began,
        last_ns=began + chance.integers(0, 5 * SECOND, count),
        orig_addr=addresses(chance.integers(1, 12, count).tolist()),
        resp_addr=addresses(chance.integers(1, 900, count).tolist()),
        resp_port=chance.choice([22, 53, 80, 443, 4444, 50000], count).astype(np.uint16),
        conn_state=chance.choice([1, 5, 6], count).astype(np.uint8),
    )


@pytest.mark.parametrize("size", [1, 7, 250])
def test_steps_do_not_depend_on_how_flows_are_handed_out(size: int) -> None:
    table = many(2000)
    whole = Sequencer(64, 3).observe(table, 1)
    parts, sequencer = [], Sequencer(64, 3)
    for start in range(0, 2000, size):
        piece = {name: column[start : start + size] for name, column in table.items()}
        parts.append(sequencer.observe(piece, start + 1))
    starts = range(0, 2000, size)
    rows = [part.row + start for part, start in zip(parts, starts, strict=True)]
    assert np.array_equal(np.concatenate(rows), whole.row)
    assert np.array_equal(np.concatenate([part.matrix for part in parts]), whole.matrix)
    assert np.array_equal(np.concatenate([part.slot for part in parts]), whole.slot)


def test_a_scan_of_ten_thousand_ports_at_once_is_seventeen_steps() -> None:
    began = np.full(10_000, 1_700_000_000 * SECOND)
    scan = flows(
        10_000, first_ns=began, last_ns=began, resp_port=np.arange(10_000, dtype=np.uint16)
    )
    steps = Sequencer(4, 3).observe(scan, 1)
    assert steps.row.tolist() == [*range(6), *(2**power for power in range(3, 14))]
    rank = feature(steps, "rank")
    assert rank == sorted(rank)
    assert rank[0] == 0
    assert rank[-1] == pytest.approx(13 / 16, abs=1e-3)


def test_the_next_span_begins_to_count_anew() -> None:
    began = 1_700_000_000 * SECOND + np.repeat([0, SPAN_S * SECOND], 100)
    steps = Sequencer(4, 3).observe(flows(200, first_ns=began, last_ns=began), 1)
    assert (steps.row < 100).sum() == (steps.row >= 100).sum()


def test_a_flow_that_ends_late_does_not_turn_the_clock_back() -> None:
    began = 1_700_000_000 * SECOND + np.tile([60 * SECOND, 0], 500)  # new and old, in turn
    steps = Sequencer(4, 3).observe(flows(1000, first_ns=began, last_ns=began), 1)
    assert len(steps.row) < 20


def test_a_flood_of_forged_senders_costs_a_bounded_number_of_steps() -> None:
    count = 3 * sequence.STEPS_IN_SPAN
    began = np.full(count, 1_700_000_000 * SECOND)
    forged = flows(count, first_ns=began, last_ns=began, orig_addr=addresses(list(range(count))))
    sequencer = Sequencer(2 * count, 3)
    assert len(sequencer.observe(forged, 1).row) == sequence.STEPS_IN_SPAN
    assert sequencer.skipped == count - sequence.STEPS_IN_SPAN


def test_a_responder_and_a_port_are_new_once() -> None:
    table = flows(
        4, resp_addr=addresses([200, 200, 201, 200]), resp_port=np.uint16([80, 80, 80, 81])
    )
    steps = Sequencer(4, 3).observe(table, 1)
    assert feature(steps, "new_responder") == [1, 0, 1, 0]
    assert feature(steps, "new_port") == [1, 0, 0, 1]
    assert feature(steps, "again") == [0, 1, 0, 0]


def test_what_was_not_seen_for_two_epochs_is_new_again() -> None:
    began = 1_700_000_000 * SECOND + np.array([0, 1, EPOCH_S, 4 * EPOCH_S]) * SECOND
    steps = Sequencer(4, 3).observe(flows(4, first_ns=began, last_ns=began), 1)
    assert feature(steps, "new_responder") == [1, 0, 0, 1]


def test_the_gap_is_that_to_the_flow_before_of_the_same_originator() -> None:
    table = flows(3, orig_addr=addresses([1, 2, 1]))
    gap = feature(Sequencer(4, 3).observe(table, 1), "gap")
    assert gap[:2] == [0, 0]
    assert gap[2] == pytest.approx(np.log2(1 + 2e6) / 42, abs=1e-4)


def test_what_another_sends_in_a_devices_name_is_not_the_devices() -> None:
    table = flows(4, orig_mac=np.uint64([7, 9, 7, 9]))
    steps = Sequencer(4, 3).observe(table, 1)
    assert len(set(steps.slot.tolist())) == 2
    assert feature(steps, "again") == [0, 0, 1, 1]


def test_no_address_and_no_time_of_day_is_told() -> None:
    here = many(500)
    elsewhere = here | {
        "first_ns": here["first_ns"] + 86_400 * SECOND * 7,
        "last_ns": here["last_ns"] + 86_400 * SECOND * 7,
    }
    octets = here["orig_addr"].copy().view(np.uint8).reshape(-1, 16)
    octets[:, 12] = 10
    elsewhere["orig_addr"] = octets.reshape(-1).view("V16")
    one = Sequencer(64, 3).observe(here, 1)
    other = Sequencer(64, 3).observe(elsewhere, 1)
    assert np.array_equal(one.matrix, other.matrix)


def test_rows_stay_within_bounds_whatever_the_columns_hold() -> None:
    big = np.iinfo(np.uint64).max
    table = flows(
        3,
        orig_payload_bytes=np.array([0, 1, big], np.uint64),
        orig_pkts=np.array([0, 1, big], np.uint64),
        first_ns=np.array([-5, np.iinfo(np.int64).max // 2, 0]),
        last_ns=np.array([-9, np.iinfo(np.int64).max // 2, 0]),
        conn_state=np.array([0, 200, 255], np.uint8),
    )
    matrix = Sequencer(4, 3).observe(table, 1).matrix
    assert np.isfinite(matrix).all()
    assert matrix.min() >= -1
    assert matrix.max() <= 1


def test_memory_stays_when_originators_come_and_go() -> None:
    sequencer = Sequencer(16, 3)
    held = sequencer.memory_bytes
    for number in range(200):
        table = flows(8, orig_addr=addresses([number * 8 + k + 1 for k in range(8)]))
        steps = sequencer.observe(table, number + 1)
        assert set(steps.slot.tolist()) <= set(range(16))
    assert sequencer.memory_bytes == held
    assert sequencer.table.evictions > 1000
    assert sequencer.table.evictions + len(sequencer.table) == 1600
    assert BITS * 4 * 16 <= held < 100_000


def test_an_empty_tick_has_no_steps() -> None:
    assert len(Sequencer(4, 3).observe(flows(0), 1).row) == 0


def test_the_fingerprint_tells_names_and_order() -> None:
    assert fingerprint(NAMES) == fingerprint(NAMES)
    assert fingerprint(NAMES) != fingerprint(NAMES[::-1])
    assert fingerprint(NAMES) != fingerprint([*NAMES[:-1], "other"])


def test_there_are_at_most_twenty_inputs_and_every_column_is_of_the_core() -> None:
    from fortress_core import FLOWS, columns

    assert len(FEATURES) <= 20
    assert set(COLUMNS) <= {column.name for column in columns(FLOWS)}
