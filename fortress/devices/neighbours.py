# SPDX-License-Identifier: Apache-2.0
"""The kernel's neighbour table by rtnetlink: asked whole once, then told of changes.

Neither needs a capability. Numbers are those of linux/rtnetlink.h and linux/neighbour.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from fortress.devices.words import mac_of
from fortress.kernel.netlink import ROUTE, Message, Netlink, attributes

_NEWNEIGH, _DELNEIGH, _GETNEIGH, _GETLINK = 28, 29, 30, 18
_IFINFOMSG, _IFLA_ADDRESS = 16, 1
_GROUP = 1 << 2  # RTNLGRP_NEIGH
_NDA_DST, _NDA_LLADDR, _NDA_CACHEINFO = 1, 2, 3
_REACHABLE, _STALE, _DELAY, _PROBE, _PERMANENT = 0x02, 0x04, 0x08, 0x10, 0x80
_ALIVE = _REACHABLE | _STALE | _DELAY | _PROBE | _PERMANENT
_NDMSG = struct.Struct("=BxxxiHBB")
_MOST_INTERFACES = 4096


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry: `alive` unless it failed or was taken out; `confirmed_ago_s` seconds ago the
    device answered, None where it was only heard of.
    """

    mac: str
    address: str
    ifindex: int
    alive: bool
    confirmed_ago_s: float | None = None


class Neighbours:
    """Two netlink sockets, one that asks and one that is told; used as a context."""

    def __init__(self) -> None:
        self._news, self._ask = Netlink(ROUTE, _GROUP), Netlink(ROUTE)
        self._names: dict[int, str] = {}

    def fileno(self) -> int:
        """The descriptor, to be waited for."""
        return self._news.fileno()

    def all(self) -> Iterator[Neighbour]:
        """Every entry of the table now; OSError when the kernel cannot be asked."""
        return _neighbours(self._ask.dump(_GETNEIGH, _NDMSG.pack(0, 0, 0, 0, 0)))

    def own_macs(self) -> Iterator[str]:
        """MACs of this machine's interfaces; OSError when the kernel cannot be asked."""
        for message in self._ask.dump(_GETLINK, bytes(_IFINFOMSG)):
            with suppress(ValueError):
                told = attributes(message.payload[_IFINFOMSG:])
                yield mac_of(bytes(told.get(_IFLA_ADDRESS, b"")))

    def news(self) -> tuple[list[Neighbour], bool]:
        """What has changed since, and whether something was lost (then ask for all)."""
        messages, lost = self._news.news()
        return list(_neighbours(messages)), lost

    def interface(self, ifindex: int) -> str:
        """The name of an interface, looked up once for each number; nothing when it has gone."""
        if ifindex not in self._names:
            if len(self._names) >= _MOST_INTERFACES:
                self._names.clear()
            with suppress(OSError):
                self._names[ifindex] = socket.if_indextoname(ifindex)
        return self._names.get(ifindex, "")

    def forget_names(self) -> None:
        """Looks names of interfaces up anew: they may have changed."""
        self._names.clear()

    def close(self) -> None:
        """Close both."""
        self._news.close()
        self._ask.close()

    def __enter__(self) -> Neighbours:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()


def parse_neighbour(kind: int, payload: memoryview) -> Neighbour | None:
    """The entry that a message tells; None for bridges', multicast, our own and broken ones."""
    if kind not in (_NEWNEIGH, _DELNEIGH) or len(payload) < _NDMSG.size:
        return None
    family, ifindex, state, _, _ = _NDMSG.unpack_from(payload)
    told = attributes(payload[_NDMSG.size :])
    size = {socket.AF_INET: 4, socket.AF_INET6: 16}.get(family)
    packed = bytes(told.get(_NDA_DST, b""))
    if size is None or len(packed) != size:
        return None
    try:
        mac = mac_of(bytes(told.get(_NDA_LLADDR, b"")))
    except ValueError:
        return None
    if (packed[0] >= 0xE0 and family == socket.AF_INET) or packed[0] == 0xFF:
        return None
    alive = kind == _NEWNEIGH and bool(state & _ALIVE)
    ago_s = None
    cache = told.get(_NDA_CACHEINFO, b"")
    if len(cache) >= 4 and not state & _PERMANENT:
        ago_s = struct.unpack_from("=I", cache)[0] / os.sysconf("SC_CLK_TCK")
    return Neighbour(mac, socket.inet_ntop(family, packed), ifindex, alive, ago_s)


def _neighbours(messages: Iterable[Message]) -> Iterator[Neighbour]:
    for message in messages:
        if (found := parse_neighbour(message.kind, message.payload)) is not None:
            yield found
