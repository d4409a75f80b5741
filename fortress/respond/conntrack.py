# SPDX-License-Identifier: Apache-2.0
"""Makes the kernel forget connections of a blocked address, so that flowtables let go of them too.

Numbers are those of linux/netfilter/nfnetlink_conntrack.h. For IPv4 the kernel chooses what fits
(CTA_FILTER, Linux 5.8), so that a large table costs little here.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from fortress.kernel.netlink import NESTED, NETFILTER, Netlink, attribute, attributes
from fortress.respond.block import Target

MOST_CONNECTIONS = 4096  # of one address that are forgotten at once
MOST_SCANNED = 50_000  # of an answer; what is beyond ends by its timeout
_GET_FLOWTABLE = 10 << 8 | 23
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_ORIGINAL, _REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_TUPLE_IP = 1
_SOURCE, _DESTINATION = 1, 2  # flags of a filter; the attributes of IPv4, plus 2 those of IPv6
_NOTHING = memoryview(b"")
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_OCTETS = {4: 4, 6: 16}
# A remote peer is the original source or destination; of what is translated inwards, a local host
# shows as the source of replies only.
_PLACES = ((_ORIGINAL, _SOURCE), (_ORIGINAL, _DESTINATION), (_REPLY, _SOURCE))


def is_bypassed() -> bool:
    """Whether a flowtable forwards connections past prerouting; looking costs microseconds, while
    a walk through conntrack's table costs milliseconds.
    """
    with Netlink(NETFILTER) as netlink:
        return any(True for _ in netlink.dump(_GET_FLOWTABLE, struct.pack(">BBH", 0, 0, 0)))


def forget(target: Target) -> int:
    """How many connections of an address were forgotten; OSError when the kernel refuses."""
    forgotten: set[bytes] = set()
    with Netlink(NETFILTER) as netlink:
        for connection in connections(netlink, target):
            if len(forgotten) >= MOST_CONNECTIONS:
                break
            if connection not in forgotten:
                forgotten.add(connection)
    with Netlink(NETFILTER) as netlink:
        for connection in forgotten:
            try:
                netlink.ask(_DELETE, _header(target) + connection)
            except FileNotFoundError:  # it has ended by itself
                continue
    return len(forgotten)


def connections(netlink: Netlink, target: Target) -> Iterator[bytes]:
    """What names each connection of an address: its first tuple, number and zone, as attributes."""
    octets = target.first.to_bytes(_OCTETS[target.version])
    for asked in _questions(target, octets):
        for scanned, message in enumerate(netlink.dump(_GET, _header(target) + asked)):
            told = attributes(message.payload[4:])
            if scanned < MOST_SCANNED and _is_of(told, octets):
                named = attribute(_ORIGINAL | NESTED, bytes(told[_ORIGINAL]))
                named += attribute(_ID, bytes(told[_ID]))
                yield named + (attribute(_ZONE, bytes(told[_ZONE])) if _ZONE in told else b"")


def _questions(target: Target, octets: bytes) -> Iterator[bytes]:
    """What is asked for: a tuple with the address at one of its sides, and the filter that says to
    look at nothing else. For IPv6 everything: kernels (6.18 here) give what does not fit instead.
    """
    if target.version == 6:
        yield b""
        return
    for direction, side in _PLACES:
        address = attribute(_TUPLE_IP | NESTED, attribute(side, octets))
        flags = attribute(direction, struct.pack("=I", side))
        yield attribute(direction | NESTED, address) + attribute(_FILTER | NESTED, flags)


def _is_of(told: dict[int, memoryview], octets: bytes) -> bool:
    """Whether a connection has the address at one of the places that count."""
    if _ORIGINAL not in told or _REPLY not in told or _ID not in told:
        return False
    side = 0 if len(octets) == 4 else 2
    for direction, place in _PLACES:
        address = attributes(attributes(told[direction]).get(_TUPLE_IP, _NOTHING))
        if bytes(address.get(place + side, _NOTHING)) == octets:
            return True
    return False


def _header(target: Target) -> bytes:
    return struct.pack(">BBH", _FAMILIES[target.version], 0, 0)
