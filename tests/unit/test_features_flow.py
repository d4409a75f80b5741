"""The flow matrix: defined for every flow, the same in every batch, blind to where it was taken."""

import numpy as np
import pytest
from fortress_core import FLOWS, columns

from fortress.features import flow

NAMES = tuple(feature.name for feature in flow.FEATURES)


def random_flows(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Columns of the core's types with any bytes in them, NaN and infinity too."""
    table = {}
    for column in columns(FLOWS):
        if column.name not in flow.COLUMNS:
            continue
        dtype = np.dtype(column.dtype)
        values = rng.integers(0, 256, rows * dtype.itemsize, dtype=np.uint8).view(dtype)
        table[column.name] = values
    return table


def one_flow(**values: float) -> dict[str, np.ndarray]:
    """A flow of zeros (NaN where the core has no value) but for `values`."""
    table = {}
    for column in columns(FLOWS):
        if column.name in flow.COLUMNS:
            empty = np.nan if np.dtype(column.dtype).kind == "f" else 0
            table[column.name] = np.array([values.get(column.name, empty)], column.dtype)
    return table


def test_every_column_that_is_read_is_a_column_of_the_core() -> None:
    known = {column.name for column in columns(FLOWS)}
    assert set(flow.COLUMNS) <= known
    assert len(set(flow.COLUMNS)) == len(flow.COLUMNS)


def test_names_are_unique_and_every_feature_says_what_it_is() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert all(feature.meaning and feature.columns for feature in flow.FEATURES)


def test_nothing_that_tells_where_a_capture_was_taken_is_read() -> None:
    words = (
        "addr",
        "mac",
        "orig_port",
        "vlan",
        "iface",
        "ttl",
        "window",
        "mss",
        "wscale",
        "options",
    )
    words += ("first_ns", "last_ns", "end_reason", "tos", "tunnel", "ip_version", "flow_id")
    leaks = [name for name in flow.COLUMNS for word in words if word in name]
    assert leaks == []


def test_any_bytes_in_the_columns_give_finite_numbers(rng: np.random.Generator) -> None:
    matrix = flow.flow_matrix(random_flows(5000, rng))
    assert matrix.shape == (5000, len(NAMES))
    assert matrix.dtype == np.float32
    assert np.isfinite(matrix).all()


def test_a_row_does_not_depend_on_the_rows_around_it(rng: np.random.Generator) -> None:
    flows = random_flows(4500, rng)
    whole = flow.flow_matrix(flows)
    for rows in (slice(0, 1), slice(2047, 2050), slice(3, 4403)):
        part = flow.flow_matrix({name: column[rows] for name, column in flows.items()})
        assert np.array_equal(part, whole[rows])


def test_no_flows_give_no_rows(rng: np.random.Generator) -> None:
    empty = random_flows(0, rng)
    assert flow.flow_matrix(empty).shape == (0, len(NAMES))
    assert flow.judgeable(empty).shape == (0,)


def test_what_does_not_exist_is_absent() -> None:
    row = dict(zip(NAMES, flow.flow_matrix(one_flow(proto=17, orig_pkts=1))[0], strict=True))
    assert row["udp"] == 1
    assert row["tcp"] == 0
    assert row["pkts_ratio"] == 0
    for name in ("payload_ratio", "resp_data_share", "iat_spread", "resp_entropy"):
        assert row[name] == flow.ABSENT


def test_features_are_what_their_definitions_say() -> None:
    flows = one_flow(
        proto=6, orig_pkts=8, resp_pkts=4, orig_data_pkts=2, resp_data_pkts=3,
        orig_payload_bytes=100, resp_payload_bytes=5000, resp_payload_max=2896, iat_mean_ns=2e9,
        iat_std_ns=1e9, iat_max_ns=6e9, orig_psh=2, orig_retransmits=1, orig_entropy=4.5,
    )  # fmt: skip
    row = dict(zip(NAMES, flow.flow_matrix(flows)[0].tolist(), strict=True))
    expected = {
        "tcp": 1.0, "pkts_ratio": 0.5, "payload_ratio": 50.0, "orig_data_share": 0.25,
        "resp_data_share": 0.75, "resp_payload_max": 1500.0, "iat_spread": 0.5, "iat_peak": 3.0,
        "orig_psh_share": 0.25, "orig_retransmit_share": 0.5, "orig_entropy": 4.5,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("changed", "judged"),
    [
        ({}, True),
        ({"resp_data_pkts": 0}, False),
        ({"orig_data_pkts": 0}, False),
        ({"orig_pkts": 1, "resp_pkts": 2}, False),
        ({"midstream": 1}, False),
    ],
)
def test_only_whole_conversations_are_judged(changed: dict[str, float], judged: bool) -> None:
    talk = {"orig_pkts": 2, "resp_pkts": 2, "orig_data_pkts": 1, "resp_data_pkts": 1}
    assert flow.judgeable(one_flow(**(talk | changed))).tolist() == [judged]


def test_a_missing_column_is_named(rng: np.random.Generator) -> None:
    flows = random_flows(3, rng)
    del flows["orig_psh"]
    with pytest.raises(KeyError, match="orig_psh"):
        flow.flow_matrix(flows)


def test_the_fingerprint_changes_with_names_and_order() -> None:
    ours = flow.fingerprint(NAMES)
    renamed = ("tcp_flow", *NAMES[1:])
    swapped = (NAMES[1], NAMES[0], *NAMES[2:])
    assert len({ours, flow.fingerprint(renamed), flow.fingerprint(swapped)}) == 3
    assert flow.fingerprint(NAMES[:-1]) != ours
