"""The table of devices is bounded, and tells the store what is worth keeping."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.devices.dhcp import DhcpTold
from fortress.devices.leases import Lease
from fortress.devices.neighbours import Neighbour
from fortress.devices.table import (
    MOST_ADDRESSES,
    SEEN_STEP_NS,
    STAYED_NS,
    Device,
    DeviceTable,
    Told,
)

PHONE, TABLET = "02:00:5e:00:77:66", "02:00:5e:00:77:67"
S = 1_000_000_000
NOON = 1_800_000_000 * S


def made_up(number: int) -> str:
    """A MAC of a flood."""
    return f"06:{number >> 32 & 255:02x}:" + ":".join(
        f"{number >> shift & 255:02x}" for shift in (24, 16, 8, 0)
    )


def macs(table: DeviceTable) -> list[str]:
    """The MACs of a table, those seen last first."""
    return [one.mac for one in table.devices()]


@pytest.fixture
def table() -> DeviceTable:
    """A table for eight devices."""
    return DeviceTable(most=8)


def test_a_device_is_what_everything_tells_of_it(table: DeviceTable) -> None:
    table.see(PHONE, NOON, "192.168.77.66", "br-lan")
    table.leases([Lease(PHONE, "192.168.77.66", "phone", 1_763_900_000)])
    table.dhcp(DhcpTold(PHONE, 3, "", "android-dhcp-14", "1,3,6"), NOON + S)
    table.see(PHONE, NOON + 2 * S, "2001:db8:77::66")
    assert table.devices() == (
        Device(
            PHONE,
            NOON,
            NOON + 2 * S,
            ("2001:db8:77::66", "192.168.77.66"),
            "",
            "phone",
            "",
            True,
            1_763_900_000,
            "android-dhcp-14",
            "1,3,6",
            "br-lan",
        ),
    )


def test_a_lease_alone_does_not_say_that_a_device_is_here(table: DeviceTable) -> None:
    table.leases([Lease(PHONE, "192.168.77.66", "phone", 0)])
    device = table.devices()[0]
    assert (device.first_seen_ns, device.last_seen_ns, device.lease_until_s) == (None, None, 0)
    table.leases([])
    assert table.devices()[0].lease_until_s is None


def test_a_flood_of_macs_makes_room_for_itself_and_not_by_those_that_belong_here(
    table: DeviceTable,
) -> None:
    table.leases([Lease(PHONE, "192.168.77.66", "phone", 1_763_900_000)])
    table.see(TABLET, NOON)
    table.keep([TABLET])
    for number in range(10_000):
        table.see(made_up(number), NOON + number, "192.168.77.99", "br-lan")
    assert len(table) == 8
    assert {PHONE, TABLET} <= set(macs(table))
    assert macs(table)[0] == made_up(9999)
    assert table.evicted == 10_000 - 6
    assert table.refused == 0


def test_a_flood_of_leases_leaves_named_devices_alone(table: DeviceTable) -> None:
    table.see(PHONE, NOON)
    table.named([(PHONE, "phone")])
    for number in range(100):
        table.leases([Lease(made_up(number), "192.168.77.99", "", 1_763_900_000)])
    assert PHONE in macs(table)
    assert len(table) == 8


def test_a_table_full_of_kept_devices_refuses_and_counts(table: DeviceTable) -> None:
    kept = [made_up(number) for number in range(8)]
    table.keep(kept)
    for mac in kept:
        table.see(mac, NOON)
    table.see(PHONE, NOON)
    table.leases([Lease(PHONE, "192.168.77.66", "", 0)])
    table.dhcp(DhcpTold(PHONE, 1), NOON)
    assert sorted(macs(table)) == sorted(kept)
    assert (table.evicted, table.refused) == (0, 3)


def test_the_store_is_not_told_of_a_mac_that_only_came_by(table: DeviceTable) -> None:
    for number in range(1000):
        table.see(made_up(number), NOON + number, "192.168.77.99")
    assert table.take_changes() == Told()
    table.see(made_up(999), NOON + 999 + STAYED_NS)
    told = table.take_changes()
    assert [one.mac for one in told.changed] == [made_up(999)]
    assert told.gone == ()


def test_the_store_is_told_once_of_what_changed_and_at_most_each_minute_of_a_sighting(
    table: DeviceTable,
) -> None:
    table.leases([Lease(PHONE, "192.168.77.66", "phone", 1_763_900_000)])
    assert len(table.take_changes().changed) == 1
    assert table.take_changes() == Told()
    table.see(PHONE, NOON, "192.168.77.66")
    assert len(table.take_changes().changed) == 1
    table.see(PHONE, NOON + S, "192.168.77.66")
    assert table.take_changes() == Told()
    table.see(PHONE, NOON + SEEN_STEP_NS, "192.168.77.66")
    assert table.take_changes().changed[0].last_seen_ns == NOON + SEEN_STEP_NS


def test_what_was_stored_and_made_room_is_gone_from_the_store_too() -> None:
    table = DeviceTable(most=1)
    table.leases([Lease(PHONE, "192.168.77.66", "phone", 0)])
    table.take_changes()
    table.leases([])
    table.see(TABLET, NOON)
    assert table.take_changes() == Told((), (PHONE,))


def test_what_the_store_could_not_take_is_told_again(table: DeviceTable) -> None:
    table.leases([Lease(PHONE, "192.168.77.66", "phone", 0)])
    told = table.take_changes()
    table.take_back(told)
    assert table.take_changes() == told


def test_what_was_loaded_is_known_and_not_told_again(table: DeviceTable) -> None:
    stored = Device(
        PHONE, NOON, NOON + S, ("2001:db8::1", "192.168.77.66"), "tab", "phone", "", True, 0, "c",
        "1,3", "br-lan",
    )  # fmt: skip
    table.load([stored])
    assert table.devices() == (stored,)
    assert table.take_changes() == Told()


def test_addresses_are_the_newest_ones_and_not_too_many(table: DeviceTable) -> None:
    for number in range(MOST_ADDRESSES + 5):
        table.see(PHONE, NOON + number, f"2001:db8::{number:x}")
    addresses = table.devices()[0].addresses
    assert len(addresses) == MOST_ADDRESSES
    assert addresses[0] == f"2001:db8::{MOST_ADDRESSES + 4:x}"


def test_a_neighbour_is_seen_when_it_was_last_confirmed(table: DeviceTable) -> None:
    entry = Neighbour(PHONE, "192.168.77.66", 3, alive=True, confirmed_ago_s=20.0)
    table.see_neighbour(entry, "br-lan", NOON)
    assert table.devices()[0].last_seen_ns == NOON, "the entry is new to us: it has just spoken"
    table.see_neighbour(entry, "br-lan", NOON + 60 * S)
    assert table.devices()[0].last_seen_ns == NOON + 40 * S
    gone = Neighbour(PHONE, "192.168.77.66", 3, alive=False, confirmed_ago_s=0.0)
    table.see_neighbour(gone, "br-lan", NOON + 90 * S)
    assert table.devices()[0].last_seen_ns == NOON + 40 * S


ACTS = st.lists(
    st.tuples(st.sampled_from("slnkt"), st.integers(0, 12), st.integers(0, 3)), max_size=60
)


@given(ACTS)
def test_no_order_of_events_breaks_the_bounds_or_loses_what_is_kept(
    acts: list[tuple[str, int, int]],
) -> None:
    table, kept, stored = DeviceTable(most=5), set[str](), dict[str, Device]()
    for at, (act, which, other) in enumerate(acts):
        mac = made_up(which)
        if act == "s":
            table.see(mac, NOON + at * 30 * S, f"10.0.0.{other}")
        elif act == "l":
            table.leases([Lease(made_up(which + n), f"10.0.0.{n}", "", 0) for n in range(other)])
        elif act == "n":
            table.named([(mac, "x" * other)])
        elif act == "k" and mac in macs(table):
            kept = {mac}
            table.keep(kept)
        else:
            told = table.take_changes()
            for gone in told.gone:
                del stored[gone]
            stored |= {one.mac: one for one in told.changed}
        assert len(table) <= 5
        assert kept <= set(macs(table))
    table.take_changes()
    assert len(stored) <= 5
