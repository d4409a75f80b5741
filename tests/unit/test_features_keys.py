"""Keys and the bounded table that gives them slots."""

import ipaddress

import numpy as np
import pytest

from fortress.features.keys import (
    ABSENT,
    Addresses,
    KeyTable,
    address_key,
    as_host,
    group,
    is_group,
    is_private,
    is_v4,
    joint_key,
    mix,
    order_of,
    words,
)
from fortress.features.windows import REPLAY_SECRET
from fortress.qsecbit.places import LOCAL_NETWORKS, Places


def _addresses(*texts: str) -> np.ndarray:
    packed = []
    for text in texts:
        parsed = ipaddress.ip_address(text)
        packed.append(
            bytes(10) + b"\xff\xff" + parsed.packed if parsed.version == 4 else parsed.packed
        )
    return np.frombuffer(b"".join(packed), "V16")


def _keys(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.1.1", "169.254.3.4", "100.64.0.1",
        "127.0.0.1", "fe80::1", "fd00::1", "fc12::9", "::1",
    ],
)  # fmt: skip
def test_addresses_of_a_site_are_private(text: str) -> None:
    assert is_private(words(_addresses(text))).all()


@pytest.mark.parametrize(
    "text",
    ["9.255.255.255", "11.0.0.1", "172.15.0.1", "172.32.0.1", "192.169.0.1", "100.128.0.1",
     "8.8.8.8", "2001:db8::1", "ff02::1", "fec0::1"],
)  # fmt: skip
def test_addresses_of_the_internet_are_not_private(text: str) -> None:
    assert not is_private(words(_addresses(text))).any()


def test_the_word_of_an_address_says_the_same_as_its_number(rng: np.random.Generator) -> None:
    # Places takes multicast for local as well: no router forwards what they send.
    drawn = [ipaddress.IPv4Address(int(n)) for n in rng.integers(1, 2**32, 3000)]
    texts = [str(address) for address in drawn if not address.is_multicast]
    texts += [str(net[0]) for net in LOCAL_NETWORKS] + [str(net[-1]) for net in LOCAL_NETWORKS]
    texts += [str(ipaddress.ip_address(int(net[-1]) + 1)) for net in LOCAL_NETWORKS[:-1]]
    told = is_private(words(_addresses(*texts))).tolist()
    assert told == [Places().is_local(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("224.0.0.1", True), ("239.255.255.250", True), ("255.255.255.255", True), ("0.0.0.0", True),
     ("192.168.1.255", True), ("192.168.1.254", False), ("223.9.9.9", False), ("ff02::fb", True),
     ("::", True), ("2001:db8::ff", False)],
)  # fmt: skip
def test_group_addresses_are_told_from_hosts(text: str, expected: bool) -> None:
    assert is_group(words(_addresses(text))).tolist() == [expected]


def test_a_global_ipv6_address_stands_for_its_64_and_others_for_themselves() -> None:
    texts = ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "fd00::1", "fd00::2", "10.0.0.1")
    hosts = as_host(words(_addresses(*texts)))
    keys = address_key(1, hosts)
    assert keys[0] == keys[1]
    assert len(set(keys.tolist())) == len(texts) - 1
    assert is_v4(words(_addresses(*texts))).tolist() == [False] * 5 + [True]


def test_keys_depend_on_the_secret_and_on_the_order_of_parts() -> None:
    a, b = (words(_addresses(text)) for text in ("10.0.0.1", "2001:db8::1"))
    assert address_key(1, a) != address_key(2, a)
    first, second = address_key(1, a), address_key(1, b)
    assert joint_key(first, second) != joint_key(second, first)


def test_a_million_neighbouring_addresses_have_a_million_keys() -> None:
    many = np.arange(1_000_000, dtype=np.uint64)
    for high, low in ((many * 0, many), (many, many * 0), (many, many[::-1])):
        assert len(np.unique(address_key(REPLAY_SECRET, Addresses(high, low)))) == len(many)


def test_groups_know_their_first_row_and_each_row_its_group() -> None:
    groups = group(_keys(9, 3, 9, 5, 3))
    assert groups.keys.tolist() == [3, 5, 9]
    assert groups.first.tolist() == [1, 3, 0]
    assert groups.of_row.tolist() == [2, 0, 2, 1, 0]
    assert len(group(_keys()).keys) == 0


def _admit(table: KeyTable, keys: np.ndarray, tick: int) -> list[int]:
    """The slots of keys, in their own order."""
    groups = group(keys)
    slots, _ = table.admit(groups, tick)
    return slots[groups.of_row].tolist()


def test_slots_are_given_in_the_order_of_first_appearance() -> None:
    table = KeyTable(8)
    assert _admit(table, _keys(70, 10, 40), 1) == [0, 1, 2]
    assert table.find(_keys(40, 11, 70)).tolist() == [2, ABSENT, 0]
    assert len(table) == 3


def test_the_one_asked_for_longest_ago_goes_first_then_the_lowest_slot() -> None:
    table = KeyTable(4)
    _admit(table, _keys(1, 2, 3, 4), 1)
    _admit(table, _keys(1), 2)
    assert _admit(table, _keys(9), 3) == [1]
    assert table.find(_keys(1, 2, 3, 4, 9)).tolist() == [0, ABSENT, 2, 3, 1]
    assert (table.evictions, table.refusals) == (1, 0)


def test_nothing_of_the_present_tick_is_evicted_and_newcomers_are_refused_and_counted() -> None:
    table = KeyTable(4)
    _admit(table, _keys(1, 2, 3), 5)
    assert _admit(table, _keys(2, 9, 8, 7), 5) == [1, 3, ABSENT, ABSENT]
    assert table.admit(group(_keys(7, 9)), 5)[1].tolist() == []
    assert table.refusals == 3


def test_which_slot_a_key_gets_does_not_depend_on_its_value(rng: np.random.Generator) -> None:
    """The same story told with other keys gives the same slots, evictions and refusals."""
    stories = []
    for secret in (1, 2):
        table, turns = KeyTable(64), np.random.default_rng(5)
        told = []
        for tick in range(200):
            names = np.unique(turns.integers(0, 300, turns.integers(1, 90)))
            turns.shuffle(names)
            told.append(_admit(table, mix(names.astype(np.uint64) ^ np.uint64(secret)), tick))
        stories.append((told, table.evictions, table.refusals))
    assert stories[0] == stories[1]
    assert stories[0][1] > 0
    assert stories[0][2] > 0


def test_the_table_agrees_with_a_dictionary_as_long_as_there_is_room(
    rng: np.random.Generator,
) -> None:
    table, known = KeyTable(5000), {}
    for tick in range(50):
        keys = np.unique(rng.integers(1, 5000, 200)).astype(np.uint64)
        rng.shuffle(keys)
        for key, slot in zip(keys.tolist(), _admit(table, keys, tick), strict=True):
            assert known.setdefault(key, slot) == slot
    assert len(set(known.values())) == len(known) == len(table)
    assert table.evictions == 0


def test_a_million_keys_leave_the_table_at_its_capacity(rng: np.random.Generator) -> None:
    table = KeyTable(1000)
    for tick in range(100):
        _admit(table, rng.permutation(10_000).astype(np.uint64) + np.uint64(10_000 * tick), tick)
    assert len(table) == 1000
    assert table.last_tick.nbytes == 8000


def test_a_cleared_table_begins_again_with_slot_0() -> None:
    table = KeyTable(4)
    _admit(table, _keys(1, 2), 1)
    table.clear()
    assert table.find(_keys(1)).tolist() == [ABSENT]
    assert _admit(table, _keys(5), 0) == [0]


def test_rows_are_ordered_by_value_and_then_as_they_came(rng: np.random.Generator) -> None:
    for count in (0, 1, 2, 1023, 1024, 5000):
        values = rng.integers(0, max(count // 3, 1), count)
        assert np.array_equal(order_of(values), np.argsort(values, kind="stable"))
