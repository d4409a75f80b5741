# SPDX-License-Identifier: Apache-2.0
"""The kernel's routes: which interfaces lead to the Internet, and which networks lie elsewhere.

The one reader of routes in Fortress. Reading them needs no capability. Numbers are those of
linux/rtnetlink.h.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fortress.kernel.netlink import ROUTE, Netlink, attributes

GROUPS = 0x40 | 0x400  # RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE
_GETROUTE, _NEWROUTE = 26, 24
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH = 1, 4, 5, 6, 9
_UNICAST = 1
# So short a prefix is a default route or a part of one, as 0.0.0.0/1 or 2000::/3.
_DEFAULT_BITS = 3
_FAMILIES: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 16}  # octets of an address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a route leads: the number of an interface, and a gateway there ("" = on the link)."""

    interface: int
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route of any table; of several to one network the one of least `metric` counts."""

    network: Network
    hops: tuple[Hop, ...]
    metric: int = 0

    @property
    def is_default(self) -> bool:
        """Whether it leads to the Internet, alone or with others of its kind."""
        return self.network.prefixlen <= _DEFAULT_BITS


def routes(netlink: Netlink) -> tuple[Route, ...]:
    """Every unicast route of IPv4 and IPv6; OSError when the kernel cannot be asked."""
    return tuple(_routes(netlink))


def routes_now() -> tuple[Route, ...]:
    """The same, of this thread's network namespace; nothing where the kernel cannot be asked."""
    try:
        with Netlink(ROUTE) as netlink:
            return routes(netlink)
    except OSError:
        return ()


def outward(known: Iterable[Route]) -> tuple[int, ...]:
    """The numbers of the interfaces with a default route, the preferred one first, IPv4 before
    IPv6 at the same metric.
    """
    found = [route for route in known if route.is_default]
    found.sort(key=lambda route: (route.metric, route.network.version))
    return tuple(dict.fromkeys(hop.interface for route in found for hop in route.hops))


def gateways(known: Iterable[Route]) -> tuple[str, ...]:
    """The gateways of the default routes."""
    hops = (hop for route in known if route.is_default for hop in route.hops)
    return tuple(dict.fromkeys(hop.gateway for hop in hops if hop.gateway))


def networks_inside(known: Iterable[Route], outside: Iterable[int]) -> tuple[str, ...]:
    """Networks that are routed out of an interface which is not among `outside` and has no default
    route: prefixes, adjacent ones joined, link-local ones and what of them lies outside left out.
    """
    known = tuple(known)
    elsewhere = {*outside, *outward(known)}
    found = {
        route.network
        for route in known
        if not route.is_default
        and not route.network.is_link_local
        and not route.network.is_multicast
        and any(hop.interface not in elsewhere for hop in route.hops)
    }
    away = [
        route.network
        for route in known
        if not route.is_default and all(hop.interface in elsewhere for hop in route.hops)
    ]
    kept: list[str] = []
    for version in (4, 6):
        mine = [network for network in found if network.version == version]
        for one in away:
            mine = [rest for network in mine for rest in _without(network, one)]
        kept += map(str, ipaddress.collapse_addresses(mine))  # type: ignore[type-var]
    return tuple(kept)


def _without(network: Network, other: Network) -> Iterator[Network]:
    """What is left of a network without another one."""
    if network.version != other.version or not other.subnet_of(network):  # type: ignore[arg-type]
        yield network
    else:
        yield from network.address_exclude(other)  # type: ignore[arg-type]


def interface_names(numbers: Iterable[int]) -> tuple[str, ...]:
    """The names of interfaces; what has gone meanwhile is left out."""
    found = []
    for number in numbers:
        try:
            found.append(socket.if_indextoname(number))
        except OSError:
            continue
    return tuple(found)


def default_interfaces() -> tuple[str, ...]:
    """The names of the interfaces with a default route, the preferred one first."""
    return interface_names(outward(routes_now()))


def _routes(netlink: Netlink) -> Iterator[Route]:
    for family in _FAMILIES:
        request = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)
        for message in netlink.dump(_GETROUTE, request):
            if message.kind == _NEWROUTE and (route := parse_route(message.payload)) is not None:
                yield route


def parse_route(payload: memoryview) -> Route | None:
    """The route that a message tells; None for what is not unicast, leads nowhere or is broken."""
    if len(payload) < 12 or payload[7] != _UNICAST:
        return None
    family, bits = payload[0], payload[1]
    size = _FAMILIES.get(family)
    told = attributes(payload[12:])
    packed = bytes(told.get(_RTA_DST, b"")) or bytes(size or 0)
    if size is None or len(packed) != size or bits > 8 * size:
        return None
    hops = (*_one_hop(family, told), *_hops(family, told.get(_RTA_MULTIPATH)))
    network = ipaddress.ip_network((packed, bits), strict=False)
    return Route(network, hops, _number(told.get(_RTA_PRIORITY))) if hops else None


def _one_hop(family: int, told: dict[int, memoryview]) -> Iterator[Hop]:
    if interface := _number(told.get(_RTA_OIF)):
        yield Hop(interface, _address(family, told.get(_RTA_GATEWAY)))


def _hops(family: int, hops: memoryview | None) -> Iterator[Hop]:
    at = 0
    while hops is not None and at + 8 <= len(hops):
        length, _, _, interface = struct.unpack_from("=HBBi", hops, at)
        if length < 8 or at + length > len(hops):
            return
        told = attributes(hops[at + 8 : at + length])
        yield Hop(interface, _address(family, told.get(_RTA_GATEWAY)))
        at += (length + 3) & ~3


def _number(value: memoryview | None) -> int:
    if value is None or len(value) < 4:
        return 0
    return int(struct.unpack_from("=I", value)[0])


def _address(family: int, value: memoryview | None) -> str:
    if value is None or len(value) != _FAMILIES[family]:
        return ""
    return socket.inet_ntop(family, bytes(value))
