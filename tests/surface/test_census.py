"""The agent keeps in the store who is on the network: by the kernel, by leases, by packets."""

import dataclasses
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fortress.config import Settings
from fortress.config.settings import Devices, Respond
from fortress.config.settings import Store as StoreSettings
from fortress.services.agent.census import MOST_A_TICK, Census
from fortress.store import Store
from tests.devices.test_dhcp import MAC as MESSAGE_MAC
from tests.devices.test_dhcp import message, option
from tests.need import need
from tests.net.guarded import until
from tests.net.namespace import Namespace, new_namespace

MAC, OTHER, OWN = "02:00:5e:00:77:66", "02:00:5e:00:77:67", "02:00:5e:00:77:01"


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Namespace]:
    """A namespace with a LAN port of a known MAC, and a neighbour on it."""
    need("netns")
    with new_namespace() as space:
        space.veth("lan", "wire")
        space.ip(f"link set lan address {OWN}")
        space.ip(f"neigh add 192.168.77.66 lladdr {MAC} dev lan nud permanent")
        yield space


def settings(folder: Path, *, store: bool = True, url: str = "") -> Settings:
    """Settings whose files are all in a folder."""
    return Settings(
        state_dir=folder,
        store=StoreSettings(enabled=store, **({"url": url} if url else {})),
        devices=Devices(leases=(folder / "leases",), vendors=folder, most=64),
        respond=Respond(guard=""),
    )


def rows(*said: tuple[str, str, int]) -> dict[str, np.ndarray]:
    """Packet rows of ARP replies: who says that it has which address."""
    addresses = [bytes(10) + b"\xff\xff" + bytes(map(int, ip.split("."))) for _, ip, _ in said]
    return {
        "arp_op": np.array([2] * len(said), np.uint8),
        "arp_mac": np.array([int(mac.replace(":", ""), 16) for mac, _, _ in said], np.uint64),
        "src_addr": np.array(addresses, "V16"),
        "iface": np.array([iface for _, _, iface in said], np.uint16),
    }


def test_devices_are_in_the_store_with_all_that_is_known_of_them(
    lan: Namespace, tmp_path: Path
) -> None:
    (tmp_path / "leases").write_text(f"0 {MAC} 192.168.77.66 phone\x1b[2J *\n")
    with lan.entered(), Census(settings(tmp_path), ["lan"]) as census:
        census.see(
            rows((OTHER, "192.168.77.67", 0), (OWN, "192.168.77.1", 0), (OTHER, "0.0.0.0", 0))
        )
        until(lambda: len(census.table) == 2)
    with Store(f"sqlite:///{tmp_path}/fortress.sqlite") as store:
        stored = store.devices()
    assert [(one.mac, one.host_name, one.addresses) for one in stored] == [
        (MAC, "phone [2J", ("192.168.77.66",))
    ], "who only came by is not stored, and we are no device of ours"
    assert census.trouble == ""
    (row,) = census.rows()
    assert (row.name, row.state, row.reason, dict(row.facts)) == (
        "devices",
        "live",
        "",
        {"known": 2},
    )


def test_what_dhcp_clients_say_of_themselves_is_kept(lan: Namespace, tmp_path: Path) -> None:
    request = message(
        option(53, b"\3") + option(12, b"tablet\x1b") + option(55, b"\1\3\6") + b"\xff"
    )
    ethernet = bytes.fromhex("ffffffffffff" + OTHER.replace(":", "") + "0800")
    with lan.entered(), Census(settings(tmp_path), ["lan"]) as census:
        with lan.sender("wire") as wire:
            for frame in (
                ethernet + datagram(67, message(option(53, b"\1"))[:100]),
                ethernet + datagram(68, request),
                ethernet
                + datagram(67, request.replace(MESSAGE_MAC, bytes.fromhex("02005e007767"))),
            ):
                wire.send(frame)
        until(lambda: len(census.table) == 2)
        until(lambda: any(one.fingerprint for one in census.table.devices()))
        told = next(one for one in census.table.devices() if one.mac == OTHER)
    assert (told.host_name, told.fingerprint, told.interface) == ("tablet", "1,3,6", "lan")


def datagram(port: int, payload: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram to a port, without checksums."""
    udp = struct.pack("!HHHH", 68, port, 8 + len(payload), 0) + payload
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4
    )
    return head + udp


def test_names_and_what_was_seen_before_are_taken_up_again(lan: Namespace, tmp_path: Path) -> None:
    (tmp_path / "leases").write_text(f"0 {MAC} 192.168.77.66 phone *\n")
    url = f"sqlite:///{tmp_path}/fortress.sqlite"
    with lan.entered(), Census(settings(tmp_path), ["lan"]) as census:
        until(lambda: len(census.table) == 1)
    with Store(url) as store:
        store.name_device(MAC, "Käthe")
        first_ns = store.devices()[0].first_seen_ns
    with lan.entered(), Census(settings(tmp_path), ["lan"]) as census:
        until(lambda: any(one.name == "Käthe" for one in census.table.devices()))
    with Store(url) as store:
        assert [(one.name, one.first_seen_ns) for one in store.devices()] == [("Käthe", first_ns)]


def test_a_flood_of_made_up_macs_fills_neither_memory_nor_store(
    lan: Namespace, tmp_path: Path
) -> None:
    (tmp_path / "leases").write_text(f"0 {MAC} 192.168.77.66 phone *\n")
    with lan.entered(), Census(settings(tmp_path), ["lan"]) as census:
        until(lambda: len(census.table) == 1)
        for tick in range(200):
            flood = [(f"06:00:00:{tick:02x}:00:{n:02x}", "192.168.77.9", 0) for n in range(200)]
            census.see(rows(*flood))
            time.sleep(0.001)
        until(lambda: census.table.evicted > 0)
        assert len(census.table) <= 64
    with Store(f"sqlite:///{tmp_path}/fortress.sqlite") as store:
        assert [one.mac for one in store.devices()] == [MAC]
    assert MOST_A_TICK < 200


def test_a_store_that_is_away_is_told_later(lan: Namespace, tmp_path: Path) -> None:
    (tmp_path / "leases").write_text(f"0 {MAC} 192.168.77.66 phone *\n")
    wall = tmp_path / "wall"
    wall.write_text("no folder")
    chosen = settings(tmp_path, url=f"sqlite:///{wall}/fortress.sqlite")
    with lan.entered(), Census(chosen, ["lan"]) as census:
        until(lambda: "cannot make" in census.trouble)
        assert [(row.name, row.state) for row in census.rows()] == [("devices", "stale")]
        wall.unlink()
        until(lambda: not census.trouble, within_s=20)
    with Store(f"sqlite:///{wall}/fortress.sqlite") as store:
        assert [one.mac for one in store.devices()] == [MAC]


@pytest.mark.parametrize("off", ["devices", "store"])
def test_what_is_switched_off_writes_nothing(lan: Namespace, tmp_path: Path, off: str) -> None:
    (tmp_path / "leases").write_text(f"0 {MAC} 192.168.77.66 phone *\n")
    chosen = settings(tmp_path, store=off != "store")
    if off == "devices":
        chosen = dataclasses.replace(chosen, devices=Devices(enabled=False))
    with lan.entered(), Census(chosen, ["lan"]) as census:
        census.see(rows((OTHER, "192.168.77.67", 0)))
        if off == "store":
            until(lambda: len(census.table) == 2)
    assert not (tmp_path / "fortress.sqlite").exists()
