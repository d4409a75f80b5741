"""What a guard blocks is blocked, for as long as it was told, whatever happens to the guard."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fortress.kernel.netlink import NETFILTER, Netlink
from fortress.respond.block import parse_target
from fortress.respond.conntrack import connections, forget, is_bypassed
from fortress.verdict import Action
from tests.need import need
from tests.net.guarded import (
    CAMERA,
    CAMERA_MAC,
    GATEWAY_LAN,
    LAPTOP,
    LAPTOP6,
    OTHER,
    STRANGER,
    STRANGER6,
    STRANGER6_SITE,
    Gateway,
    blocked,
    gateway,
    pings,
    until,
)
from tests.net.namespace import Namespace
from tests.patience import patient


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway without a guard."""
    need("netns", "nft")
    with gateway(tmp_path) as made:
        until(lambda: pings(made.laptop, STRANGER) and pings(made.laptop, CAMERA))
        until(lambda: pings(made.laptop, STRANGER6))
        yield made


def test_a_blocked_stranger_reaches_nobody_and_is_reached_by_nobody(home: Gateway) -> None:
    home.start()
    assert pings(home.laptop, STRANGER)
    home.block(STRANGER, seconds=60)
    assert not pings(home.laptop, STRANGER)
    assert not pings(home.stranger, LAPTOP)
    assert pings(home.laptop, OTHER), "another address of the same machine"
    assert pings(home.laptop, CAMERA)
    with home.client() as client:
        assert client.remove([STRANGER])[0].done
    assert pings(home.laptop, STRANGER)


def test_blocks_expire_on_time_when_the_guard_was_killed(home: Gateway) -> None:
    guard = home.start()
    home.block(STRANGER, seconds=2.5)
    home.kill(guard)
    assert not pings(home.laptop, STRANGER)
    until(lambda: pings(home.laptop, STRANGER), within_s=8)


def test_a_new_time_replaces_the_old_one(home: Gateway) -> None:
    guard = home.start()
    home.block(STRANGER, OTHER, seconds=600)
    home.block(STRANGER, seconds=1.5)
    home.kill(guard)
    assert not pings(home.laptop, STRANGER)
    until(lambda: pings(home.laptop, STRANGER), within_s=6)
    assert not pings(home.laptop, OTHER)


def test_a_blocked_device_does_not_reach_other_stations_of_its_bridge(home: Gateway) -> None:
    home.start()
    home.block(CAMERA_MAC)
    assert not pings(home.camera, LAPTOP)
    assert not pings(home.laptop, CAMERA)
    assert not pings(home.camera, GATEWAY_LAN)
    assert pings(home.laptop, GATEWAY_LAN)
    home.laptop.ip("neigh flush all")
    arping = home.camera.command("ping", "-c1", "-W1", LAPTOP)
    subprocess.run(arping, capture_output=True, check=False)
    assert CAMERA_MAC not in home.laptop.run("ip", "neigh"), "its ARP is dropped as well"


def test_a_blocked_local_address_is_cut_off_on_its_own_link_too(home: Gateway) -> None:
    home.start()
    home.block(CAMERA)
    assert not pings(home.camera, LAPTOP)
    assert not pings(home.laptop, CAMERA)


def test_the_64_of_an_ipv6_stranger_is_blocked_in_both_directions(home: Gateway) -> None:
    home.start("--keep")
    home.config += "[protect]\nnever = []\n"
    with home.client() as client:
        refused = client.add([blocked(STRANGER6_SITE)])
        assert not refused[0].done, "the gateway's own address is in it"
        assert "an address of this machine" in refused[0].reason
    home.stranger.ip("addr add 2001:db8:bad::66/64 dev eth0 nodad")
    home.namespace.ip("route add 2001:db8:bad::/64 dev wan0")
    home.namespace.ip("-6 neigh add 2001:db8:bad::66 lladdr 02:00:5e:00:51:66 dev wan0")
    until(lambda: pings(home.laptop, "2001:db8:bad::66"))
    home.block("2001:db8:bad::/64")
    assert not pings(home.laptop, "2001:db8:bad::66")
    assert pings(home.laptop, STRANGER6)
    home.block(STRANGER6)
    assert not pings(home.laptop, STRANGER6)


def test_prefixes_inside_each_other_stand_as_long_as_each_was_told(home: Gateway) -> None:
    home.start()
    home.stranger.ip("addr add 203.0.113.66/32 dev lo")
    home.namespace.ip("route add 203.0.113.0/24 via 198.51.100.66")
    until(lambda: pings(home.laptop, "203.0.113.66"))
    home.block("203.0.113.0/26", seconds=1.0)
    home.block("203.0.113.64/27", seconds=3.5)
    home.block("203.0.112.0/22", seconds=1.5)
    assert not pings(home.laptop, "203.0.113.66")
    time.sleep(1.6)
    assert not pings(home.laptop, "203.0.113.66"), "the narrow one outlasts the wide one"
    until(lambda: pings(home.laptop, "203.0.113.66"), within_s=6)


def test_an_established_connection_of_a_blocked_host_is_cut_both_ways(home: Gateway) -> None:
    home.start()
    with ExitStack() as stack:
        here, there = _connected(home.laptop, home.stranger, STRANGER, stack)
        here.sendall(b"before")
        assert there.recv(64) == b"before"
        home.block(STRANGER)
        here.sendall(b"after")
        there.sendall(b"after")
        for one in (here, there):
            one.settimeout(1.5)
            with pytest.raises(TimeoutError):
                one.recv(64)


@pytest.mark.parametrize("address", [STRANGER, STRANGER6])
def test_connections_of_a_host_can_be_forgotten_by_the_kernel(home: Gateway, address: str) -> None:
    home.nft("add table inet tracks")
    home.nft("add chain inet tracks c { type filter hook forward priority 0 ; }")
    home.nft("add rule inet tracks c ct state invalid counter")

    def known(text: str) -> int:
        with home.namespace.entered(), Netlink(NETFILTER) as netlink:
            return len(set(connections(netlink, parse_target(text))))

    with ExitStack() as stack:
        _connected(home.laptop, home.stranger, address, stack)
        other = "192.168.77.20" if ":" not in address else LAPTOP6
        assert (known(address), known(other)) == (1, 1)
        with home.namespace.entered():
            assert not is_bypassed(), "no flowtable: the guard need not do it"
            assert forget(parse_target(OTHER)) == 0
            assert forget(parse_target(address)) == 1
        assert known(address) == 0


def test_a_limited_host_may_do_a_little_of_what_floods(home: Gateway) -> None:
    home.config += "[rates]\nicmp_per_s = 5\nburst_s = 2\n"
    home.start()
    home.block(STRANGER, action=Action.LIMIT)
    answered = pings(home.stranger, LAPTOP, count=100)
    assert 5 <= answered <= 40, answered
    with ExitStack() as stack:
        here, there = _connected(home.stranger, home.laptop, LAPTOP, stack)
        here.sendall(b"a connection that stands is not limited")
        assert there.recv(64)


def test_a_quarantined_device_reaches_the_gateway_and_nobody_else(home: Gateway) -> None:
    home.start()
    home.block(CAMERA_MAC, seconds=60, action=Action.QUARANTINE)
    assert pings(home.camera, GATEWAY_LAN)
    assert not pings(home.camera, LAPTOP)
    assert not pings(home.camera, STRANGER)
    assert not pings(home.laptop, CAMERA)


def test_hits_are_counted_for_each_entry(home: Gateway) -> None:
    home.start()
    home.block(STRANGER, OTHER)
    assert not pings(home.laptop, STRANGER, count=3)
    with home.client() as client:
        hits = {one.target: one.hits for one in client.blocks()}
    assert hits == {STRANGER: 3, OTHER: 0}


def _connected(
    asking: Namespace, answering: Namespace, address: str, stack: ExitStack
) -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection between two namespaces."""
    with answering.entered():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = stack.enter_context(socket.create_server((address, 7777), family=family))
    with asking.entered():
        here = stack.enter_context(socket.create_connection((address, 7777), timeout=patient(5)))
    there = stack.enter_context(listener.accept()[0])
    there.settimeout(patient(5))
    return here, there
