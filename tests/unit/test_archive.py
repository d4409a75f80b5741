"""The core's columns become Arrow without losing what they mean."""

import ipaddress

import numpy as np
import pytest
from fortress_core import END_REASONS

from fortress.archive.arrow import (
    address_text,
    array,
    dictionary,
    flow_columns,
    mac_text,
    schema,
)
from fortress.archive.export import choose
from fortress.errors import UsageError

COLUMNS = flow_columns()


def addresses(*texts: str) -> np.ndarray:
    octets = b"".join(
        packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed
        for packed in (ipaddress.ip_address(text).packed for text in texts)
    )
    return np.frombuffer(octets, "V16")


def test_addresses_become_text_that_is_stored_once() -> None:
    texts = ["10.0.0.1", "fe80::1", "10.0.0.1", "255.255.255.255", "::", "2001:db8::1:0:0:1"]
    told = array(COLUMNS["orig_addr"], addresses(*texts))
    assert told.to_pylist() == texts
    assert len(told.dictionary) == 5


def test_many_random_addresses_keep_their_rows(rng: np.random.Generator) -> None:
    octets = rng.integers(0, 256, (5000, 16), np.uint8)
    octets[rng.integers(0, 5000, 2000)] = octets[0]
    told = array(COLUMNS["orig_addr"], octets.view("V16").ravel()).to_pylist()
    assert told == [address_text(row.tobytes()) for row in octets]


@pytest.mark.parametrize("text", ["::ffff:0:0", "::1.2.3.4", "64:ff9b::1", "1:0:0:2::3"])
def test_ipv6_is_written_as_python_writes_it(text: str) -> None:
    packed = ipaddress.IPv6Address(text).packed
    if not packed.startswith(bytes(10) + b"\xff\xff"):
        assert address_text(packed) == str(ipaddress.IPv6Address(text))
    else:
        assert address_text(packed) == "0.0.0.0"


def test_a_mac_of_zero_is_no_mac() -> None:
    told = array(COLUMNS["orig_mac"], np.array([0, 0x020000000001, 0], np.uint64))
    assert told.to_pylist() == [None, "02:00:00:00:00:01", None]
    assert mac_text(0xFFFFFFFFFFFF) == "ff:ff:ff:ff:ff:ff"


def test_a_number_that_is_none_is_null_and_zero_is_zero() -> None:
    told = array(COLUMNS["iat_mean_ns"], np.array([0, np.nan, 1.5, np.inf], np.float32))
    assert told.to_pylist() == [0, None, 1.5, None]


def test_large_numbers_are_kept() -> None:
    values = np.array([2**64 - 1, 0], np.uint64)
    assert array(COLUMNS["orig_bytes"], values).to_pylist() == [2**64 - 1, 0]


def test_text_ends_where_its_zeros_begin() -> None:
    values = np.array([b"ShADadFf", b"", b"x" * 16], "S16")
    assert array(COLUMNS["history"], values).to_pylist() == ["ShADadFf", "", "x" * 16]


def test_states_and_reasons_are_names() -> None:
    states = array(COLUMNS["conn_state"], np.array([5, 1, 5], np.uint8))
    assert states.to_pylist() == ["SF", "S0", "SF"]
    reasons = array(COLUMNS["end_reason"], np.arange(9, dtype=np.uint8))
    assert reasons.to_pylist() == [None, *END_REASONS[1:]]


def test_every_column_of_the_core_has_an_arrow_type_with_unit_and_meaning() -> None:
    told = schema(list(COLUMNS.values()))
    assert told.names == list(COLUMNS)
    for field in told:
        assert field.metadata[b"meaning"]
        empty = np.empty(0, COLUMNS[field.name].dtype)
        assert array(COLUMNS[field.name], empty).type == field.type


def test_the_columns_are_in_the_order_asked_for_each_once() -> None:
    chosen = choose(["proto", "flow_id", "proto"])
    assert [column.name for column in chosen] == ["proto", "flow_id"]


def test_a_column_that_is_not_there_is_named_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="'orig_byte'; did you mean orig_bytes"):
        choose(["orig_byte"])


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("duration", "duration_ns"), ("src_addr", "orig_addr"), ("bytes", "orig_bytes or")],
)
def test_a_column_of_another_program_is_answered_with_the_nearest_of_ours(
    name: str, nearest: str
) -> None:
    with pytest.raises(UsageError) as caught:
        choose([name])
    assert nearest in str(caught.value)


@pytest.mark.parametrize("table", ["packets", "flows", "intervals"])
def test_the_dictionary_has_a_meaning_for_every_column(table: str) -> None:
    assert all(column.meaning and column.name for column in dictionary(table))
