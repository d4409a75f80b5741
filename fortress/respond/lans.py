# SPDX-License-Identifier: Apache-2.0
"""Which networks are our LANs: routed out of interfaces that do not lead to the Internet."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator

from fortress.respond.host_facts import Link
from fortress.respond.netlink import Netlink, attributes

_GETROUTE, _NEWROUTE = 26, 24
_RTA_DST, _RTA_OIF, _RTA_MULTIPATH = 1, 4, 9
_UNICAST = 1
# So short a prefix is a default route or a part of one, as 0.0.0.0/1 or 2000::/3.
_DEFAULT_BITS = 3
_FAMILIES = {socket.AF_INET: 4, socket.AF_INET6: 16}

_Route = tuple[int, bytes, int, tuple[int, ...]]


def lan_networks(
    netlink: Netlink, links: Iterable[Link], wan_ports: Iterable[str]
) -> tuple[str, ...]:
    """Networks of our LANs as prefixes, link-local ones left out; OSError when the kernel refuses.

    An interface with a default route, or named as WAN port, leads to the Internet.
    """
    by_name = {link.name: link.index for link in links}
    outside = {by_name[name] for name in wan_ports if name in by_name}
    outside |= {link.index for link in links if link.loopback}
    routes = list(_routes(netlink))
    for _, _, bits, interfaces in routes:
        if bits <= _DEFAULT_BITS:
            outside |= set(interfaces)
    found = []
    for family, packed, bits, interfaces in routes:
        if bits > _DEFAULT_BITS and any(one not in outside for one in interfaces):
            network = ipaddress.ip_network((packed, bits), strict=False)
            if not network.is_link_local and not network.is_multicast:
                found.append((family, network))
    kept: list[str] = []
    for version in (4, 6):
        mine = (network for _, network in found if network.version == version)
        kept += map(str, ipaddress.collapse_addresses(mine))  # type: ignore[type-var]
    return tuple(kept)


def _routes(netlink: Netlink) -> Iterator[_Route]:
    """Family, destination, its bits and the interfaces of each unicast route."""
    for family, size in _FAMILIES.items():
        request = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)
        for message in netlink.dump(_GETROUTE, request):
            if message.kind != _NEWROUTE or len(message.payload) < 12:
                continue
            if message.payload[7] != _UNICAST:
                continue
            told = attributes(message.payload[12:])
            packed = bytes(told.get(_RTA_DST, b"")) or bytes(size)
            if len(packed) != size:
                continue
            interfaces = [*_whole(told.get(_RTA_OIF)), *_hops(told.get(_RTA_MULTIPATH))]
            yield family, packed, message.payload[1], tuple(interfaces)


def _whole(value: memoryview | None) -> Iterator[int]:
    if value is not None and len(value) >= 4:
        yield struct.unpack_from("=I", value)[0]


def _hops(hops: memoryview | None) -> Iterator[int]:
    at = 0
    while hops is not None and at + 8 <= len(hops):
        length, _, _, index = struct.unpack_from("=HBBi", hops, at)
        if length < 8:
            return
        yield index
        at += (length + 3) & ~3
