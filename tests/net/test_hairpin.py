"""A device that reaches another one by the gateway's outer address: one flow of the two devices."""

import json
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.need import need
from tests.net.gateway import (
    CLIENT,
    CLIENT6,
    INNER,
    INNER6,
    LAN,
    OUTER,
    OUTER6,
    SERVER,
    Gateway,
    Seen,
    both_sides,
    calling,
    listening,
    new_gateway,
    talk_tcp,
    talk_udp,
)
from tests.net.namespace import Namespace, new_namespace

TCP, UDP = 6, 17
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
OURS = ("10.1.0.0/24", "fd00:1::/64", f"{OUTER}/32", f"{OUTER6}/128")
HOST, HOST6 = "10.1.0.9", "fd00:1::9"
RULES = f"""
table inet nat {{
    chain pre {{
        type nat hook prerouting priority -100
        ip daddr {OUTER} tcp dport 8080 dnat ip to {HOST}:80
        ip daddr {OUTER} udp dport 5300 dnat ip to {HOST}:53
        ip6 daddr {OUTER6} tcp dport 8080 dnat ip6 to [{HOST6}]:80
    }}
    chain post {{
        type nat hook postrouting priority 100
        oifname "wan" masquerade
        iifname "lan" oifname "lan" ct status dnat masquerade
    }}
}}
"""


@pytest.fixture
def both() -> Iterator[tuple[Gateway, Namespace]]:
    """A gateway whose LAN, a bridge, has a client and a host with ports that are forwarded."""
    need("netns", "nft")
    with new_gateway() as gateway, new_namespace() as host:
        middle = gateway.middle
        middle.ip("link set lan name p-client")
        middle.ip("addr flush dev p-client")
        middle.ip("link add lan type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
        there = f"netns {middle.name} type veth peer name eth0 netns {host.name}"
        subprocess.run(["ip", "link", "add", "p-host", *there.split()], check=True)
        for port in ("p-client", "p-host"):
            middle.ip(f"link set {port} master lan up")
        middle.ip("link set lan up")
        for family in ("ip", "ip6"):  # where br_netfilter is loaded, bridged frames are left alone
            middle.run("sysctl", "-eqw", f"net.bridge.bridge-nf-call-{family}tables=0")
        host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0")
        host.ip("link set eth0 up")
        for space, name, addresses in (
            (middle, "lan", (f"{INNER}/24", f"{INNER6}/64 nodad")),
            (host, "eth0", (f"{HOST}/24", f"{HOST6}/64 nodad")),
        ):
            for address in addresses:
                space.ip(f"addr add dev {name} {address}")
        host.ip(f"route add default via {INNER}")
        gateway.rules(RULES)
        yield gateway, host


def mac_of(space: Namespace) -> int:
    """The address of a device's interface."""
    shown = json.loads(space.run("ip", "-j", "link", "show", "eth0"))
    return int(shown[0]["address"].replace(":", ""), 16)


def column(seen: Seen, proto: int, name: str) -> list[int]:
    """A column of the protocol's flows."""
    assert seen.outcome is not None
    rows = seen.outcome.flows
    return [int(value) for value in rows[name][rows["proto"] == proto]]


@pytest.mark.parametrize(
    ("own", "outer", "to"), [(CLIENT, OUTER, HOST), (CLIENT6, OUTER6, HOST6)], ids=["IPv4", "IPv6"]
)
def test_a_connection_that_is_led_back_is_one_flow_of_the_two_devices(
    both: tuple[Gateway, Namespace], own: str, outer: str, to: str
) -> None:
    gateway, host = both
    with (
        listening(host, STREAM, to, 80) as web,
        both_sides(gateway, inside=OURS) as seen,
    ):
        port = talk_tcp(calling(gateway.client, STREAM, own), (outer, 8080), web, 5)
    [(orig, orig_port, resp, resp_port, there, back)] = seen.flows(TCP)
    assert (orig, orig_port, resp, resp_port) == (own, port, to, 80)
    assert seen.nat is not None
    assert seen.nat.seen_twice >= there + back >= 16
    assert column(seen, TCP, "iface") == [LAN]
    assert column(seen, TCP, "orig_mac") == [mac_of(gateway.client)]
    assert column(seen, TCP, "resp_mac") == [mac_of(host)]


def test_datagrams_that_are_led_back_are_counted_once(both: tuple[Gateway, Namespace]) -> None:
    gateway, host = both
    with (
        listening(host, DATAGRAM, HOST, 53) as names,
        both_sides(gateway, inside=OURS) as seen,
    ):
        port = talk_udp(calling(gateway.client, DATAGRAM, CLIENT), (OUTER, 5300), names, 6)
    assert seen.flows(UDP) == [(CLIENT, port, HOST, 53, 6, 6)]
    assert column(seen, UDP, "resp_mac") == [mac_of(host)]


def test_the_same_port_from_outside_and_other_connections_are_as_before(
    both: tuple[Gateway, Namespace],
) -> None:
    gateway, host = both
    with (
        listening(host, STREAM, HOST, 80) as web,
        listening(gateway.server, STREAM, SERVER, 443) as far,
        both_sides(gateway, inside=OURS) as seen,
    ):
        led_back = talk_tcp(calling(gateway.client, STREAM, CLIENT), (OUTER, 8080), web, 2)
        outer = talk_tcp(calling(gateway.server, STREAM, SERVER), (OUTER, 8080), web, 2)
        out = talk_tcp(calling(gateway.client, STREAM, CLIENT), (SERVER, 443), far, 2)
    assert [flow[:4] for flow in seen.flows(TCP)] == sorted(
        [
            (CLIENT, led_back, HOST, 80),
            (SERVER, outer, HOST, 80),
            (CLIENT, out, SERVER, 443),
        ]
    )


def test_without_knowing_what_is_inside_each_view_is_a_flow(
    both: tuple[Gateway, Namespace],
) -> None:
    gateway, host = both
    with listening(host, STREAM, HOST, 80) as web, both_sides(gateway) as seen:
        talk_tcp(calling(gateway.client, STREAM, CLIENT), (OUTER, 8080), web, 2)
    assert len(seen.flows(TCP)) == 2
