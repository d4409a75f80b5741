"""The kernel's neighbour table: messages made by hand, by hypothesis, and the real one."""

import socket
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.devices.neighbours import Neighbour, Neighbours, parse_neighbour
from fortress.devices.table import DeviceTable
from fortress.devices.watch import DeviceWatch
from tests.need import need
from tests.net.guarded import until
from tests.net.namespace import new_namespace

NEW, DEL = 28, 29
REACHABLE, STALE, FAILED, NOARP, PERMANENT = 0x02, 0x04, 0x20, 0x40, 0x80
MAC, OTHER = "02:00:5e:00:77:66", "02:00:5e:00:77:67"


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def entry(address: str, mac: str = MAC, state: int = REACHABLE, ago: int | None = 250) -> bytes:
    """A neighbour message's payload; `ago` is hundredths of a second."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    text = struct.pack("=BxxxiHBB", family, 3, state, 0, 1)
    text += attribute(1, socket.inet_pton(family, address))
    text += attribute(2, bytes.fromhex(mac.replace(":", "")))
    return text + (b"" if ago is None else attribute(3, struct.pack("=IIII", ago, 0, 0, 1)))


def test_an_entry_is_read_with_the_time_of_its_confirmation() -> None:
    read = parse_neighbour(NEW, memoryview(entry("2001:db8::66")))
    assert read == Neighbour(MAC, "2001:db8::66", 3, alive=True, confirmed_ago_s=2.5)


@pytest.mark.parametrize(
    ("kind", "state", "alive"),
    [(NEW, STALE, True), (NEW, FAILED, False), (NEW, NOARP, False), (DEL, REACHABLE, False)],
)
def test_what_failed_or_was_taken_out_is_not_alive(kind: int, state: int, alive: bool) -> None:
    read = parse_neighbour(kind, memoryview(entry("192.168.77.66", state=state)))
    assert read is not None
    assert read.alive is alive


@pytest.mark.parametrize(
    "payload",
    [
        entry("224.0.0.251", "01:00:5e:00:00:fb", NOARP),
        entry("ff02::1", "33:33:00:00:00:01", NOARP),
        entry("239.1.2.3"),
        entry("192.168.77.66", "00:00:00:00:00:00"),
        entry("192.168.77.66", "ff:ff:ff:ff:ff:ff"),
        b"",
        entry("192.168.77.66")[:20],
    ],
)
def test_groups_and_broken_messages_are_no_neighbours(payload: bytes) -> None:
    assert parse_neighbour(NEW, memoryview(payload)) is None
    assert parse_neighbour(16, memoryview(entry("192.168.77.66"))) is None


@given(st.binary(max_size=200), st.integers(0, 255))
def test_no_bytes_break_the_reader(payload: bytes, cut: int) -> None:
    for data in (payload, entry("192.168.77.66")[:cut], entry("::1")[:cut] + payload):
        read = parse_neighbour(NEW, memoryview(data))
        assert read is None or len(read.mac) == 17


def test_a_real_table_is_asked_whole_and_then_tells_what_changes() -> None:
    need("netns")
    with new_namespace() as space:
        space.veth("left", "right")
        space.ip("neigh add 192.168.77.66 lladdr 02:00:5e:00:77:66 dev left nud reachable")
        with space.entered(), Neighbours() as neighbours:
            first = [one for one in neighbours.all() if one.address.startswith("192.")]
            assert [(one.mac, one.address, one.alive) for one in first] == [
                (MAC, "192.168.77.66", True)
            ]
            assert neighbours.interface(first[0].ifindex) == "left"
            assert neighbours.interface(9999) == ""
            assert neighbours.news() == ([], False)
            space.ip("neigh add 192.168.77.67 lladdr 02:00:5e:00:77:67 dev left nud reachable")
            space.ip("neigh del 192.168.77.66 dev left")
            told = {(one.mac, one.alive) for one in neighbours.news()[0]}
            assert told == {(OTHER, True)}, "of what was taken out the kernel tells no MAC"
            left = {one.mac for one in neighbours.all() if one.address.startswith("192.")}
            assert left == {OTHER}


def test_a_watch_sees_neighbours_and_leases_as_they_come(tmp_path: Path) -> None:
    need("netns")
    leases = tmp_path / "dnsmasq.leases"
    with new_namespace() as space:
        space.veth("left", "right")
        space.ip("neigh add 192.168.77.66 lladdr 02:00:5e:00:77:66 dev left nud reachable")
        space.ip("neigh add 192.168.78.66 lladdr 02:00:5e:00:78:66 dev right nud reachable")
        table = DeviceTable()
        with space.entered(), DeviceWatch(table, [leases], ["left"]) as watch:
            watch.look()
            assert [(one.mac, one.interface) for one in table.devices()] == [(MAC, "left")]
            leases.write_text(f"0 {OTHER} 192.168.77.67 tv\x1b[2J *\nnonsense\n")
            space.ip("neigh add 192.168.77.68 lladdr 02:00:5e:00:77:68 dev left nud stale")
            until(lambda: watch.look() or len(table) == 3)
            names = {one.mac: one.host_name for one in table.devices()}
            assert names == {MAC: "", OTHER: "tv [2J", "02:00:5e:00:77:68": ""}
            assert watch.is_inside("left")
            assert not watch.is_inside("right")
            assert watch.troubles == (
                f"{leases}: 1 lines left out, line 2: 1 words, not at least 4",
            )


def test_a_flood_of_neighbours_overruns_the_socket_and_the_table_is_asked_anew() -> None:
    need("netns")
    with new_namespace() as space:
        space.veth("left", "right")
        batch = "".join(
            f"neigh replace 10.{n >> 16}.{n >> 8 & 255}.{n & 255} lladdr"
            f" 06:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x} dev left nud permanent\n"
            for n in range(1, 6000)
        )
        table = DeviceTable(most=512)
        with space.entered(), DeviceWatch(table, []) as watch:
            watch.look()
            subprocess.run(
                space.command("ip", "-batch", "-"), input=batch, text=True, check=False,
                capture_output=True,
            )  # fmt: skip
            watch.look()
            watch.look()
            assert len(table) == 512
            assert table.evicted > 0


def test_who_is_where_the_default_route_leads_is_no_device_of_ours() -> None:
    need("netns")
    with new_namespace() as space:
        space.veth("left", "right")
        space.ip("addr add 198.51.100.1/24 dev right")
        space.ip("route add default via 198.51.100.66 dev right")
        space.ip("neigh add 198.51.100.66 lladdr 02:00:5e:00:51:66 dev right nud permanent")
        space.ip("neigh add 192.168.77.66 lladdr 02:00:5e:00:77:66 dev left nud permanent")
        table = DeviceTable()
        with space.entered(), DeviceWatch(table, []) as watch:
            watch.look()
        assert [one.mac for one in table.devices()] == [MAC]
