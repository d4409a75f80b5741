"""What the kernel's messages of routes say: where the Internet is, and what is on our side."""

import socket
import struct
from ipaddress import ip_network

import pytest

from fortress.kernel.netlink import attribute
from fortress.kernel.routes import (
    Hop,
    Route,
    gateways,
    networks_inside,
    outward,
    parse_route,
)

LAN, WAN, LTE = 2, 3, 4
UNICAST, UNREACHABLE = 1, 7


def told(
    network: str, interface: int = 0, *, gateway: str = "", metric: int = 0, kind: int = UNICAST
) -> Route | None:
    """What a message of the kernel's is understood to be."""
    net = ip_network(network)
    family = socket.AF_INET if net.version == 4 else socket.AF_INET6
    payload = struct.pack("=BBBBBBBBI", family, net.prefixlen, 0, 0, 254, 0, 0, kind, 0)
    if net.prefixlen:
        payload += attribute(1, net.network_address.packed)
    if interface:
        payload += attribute(4, struct.pack("=I", interface))
    if gateway:
        payload += attribute(5, socket.inet_pton(family, gateway))
    payload += attribute(6, struct.pack("=I", metric))
    return parse_route(memoryview(payload))


def route(network: str, *interfaces: int, metric: int = 0, gateway: str = "") -> Route:
    """A route of a test."""
    return Route(ip_network(network), tuple(Hop(one, gateway) for one in interfaces), metric)


def test_a_message_is_understood() -> None:
    assert told("0.0.0.0/0", WAN, gateway="198.51.100.1", metric=100) == route(
        "0.0.0.0/0", WAN, gateway="198.51.100.1", metric=100
    )
    assert told("2001:db8:77::/64", LAN) == route("2001:db8:77::/64", LAN)


def test_what_leads_nowhere_is_no_route() -> None:
    assert told("::/0", 1, kind=UNREACHABLE) is None
    assert told("10.0.0.0/8") is None
    for length in range(12):
        assert parse_route(memoryview(bytes(length))) is None
    payload = struct.pack("=BBBBBBBBI", 99, 0, 0, 0, 0, 0, 0, UNICAST, 0)
    assert parse_route(memoryview(payload)) is None


def test_a_route_over_several_hops_leads_out_of_each() -> None:
    hops = b"".join(
        struct.pack("=HBBi", 16, 0, 0, number) + attribute(5, socket.inet_aton(f"198.51.100.{n}"))
        for n, number in enumerate((WAN, LTE))
    )
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, UNICAST, 0)
    found = parse_route(memoryview(head + attribute(9, hops)))
    assert found is not None
    assert found.hops == (Hop(WAN, "198.51.100.0"), Hop(LTE, "198.51.100.1"))
    for length in range(len(hops)):
        parse_route(memoryview(head + attribute(9, hops[:length])))


@pytest.mark.parametrize(
    ("known", "leads"),
    [
        ([], ()),
        ([route("192.168.77.0/24", LAN)], ()),
        ([route("0.0.0.0/0", LTE, metric=600), route("0.0.0.0/0", WAN, metric=100)], (WAN, LTE)),
        ([route("::/0", LTE, metric=1024), route("0.0.0.0/0", WAN)], (WAN, LTE)),
        ([route("0.0.0.0/1", WAN), route("128.0.0.0/1", WAN)], (WAN,)),
        ([route("2000::/3", WAN), route("10.0.0.0/8", LAN)], (WAN,)),
        ([route("0.0.0.0/0", WAN, LTE)], (WAN, LTE)),
    ],
)
def test_interfaces_with_a_default_route_are_told_the_preferred_one_first(
    known: list[Route], leads: tuple[int, ...]
) -> None:
    assert outward(known) == leads


def test_networks_inside_are_those_that_no_uplink_leads_to() -> None:
    known = [
        route("0.0.0.0/0", WAN, gateway="198.51.100.1"),
        route("198.51.100.0/24", WAN),
        route("192.168.76.0/24", LAN),
        route("192.168.77.0/24", LAN),
        route("10.9.0.0/16", LAN, gateway="192.168.77.2"),
        route("203.0.113.0/24", LTE),
        route("fe80::/64", LAN),
        route("2001:db8:77::/64", LAN),
        route("ff00::/8", LAN),
    ]
    inside = ("10.9.0.0/16", "192.168.76.0/23", "2001:db8:77::/64")
    assert networks_inside(known, [LTE]) == inside
    assert networks_inside(known, []) == ("10.9.0.0/16", "192.168.76.0/23", "203.0.113.0/24",
                                          "2001:db8:77::/64")  # fmt: skip
    assert gateways(known) == ("198.51.100.1",)
