# SPDX-License-Identifier: Apache-2.0
"""The kernel's neighbour table by rtnetlink: asked whole once, then told of changes.

Neither needs a capability. Numbers are those of linux/rtnetlink.h and linux/neighbour.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from fortress.devices.words import mac_of

_NEWNEIGH, _DELNEIGH, _GETNEIGH, _GETLINK = 28, 29, 30, 18
_IFINFOMSG, _IFLA_ADDRESS = 16, 1
_GROUP = 1 << 2  # RTNLGRP_NEIGH
_ERROR, _DONE = 2, 3
_REQUEST_DUMP = 0x301
_NDA_DST, _NDA_LLADDR, _NDA_CACHEINFO = 1, 2, 3
_REACHABLE, _STALE, _DELAY, _PROBE, _PERMANENT = 0x02, 0x04, 0x08, 0x10, 0x80
_ALIVE = _REACHABLE | _STALE | _DELAY | _PROBE | _PERMANENT
_HEADER, _NDMSG = struct.Struct("=IHHII"), struct.Struct("=BxxxiHBB")
_RECEIVE_BYTES = 1 << 16
_WAIT_S = 5.0
_MOST_READS = 10_000
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
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._news = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._ask = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._news.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._news.bind((0, _GROUP))
        self._news.setblocking(False)
        self._ask.settimeout(_WAIT_S)
        self._names: dict[int, str] = {}
        self._lost = False
        self.missed = 0

    def fileno(self) -> int:
        """The descriptor, to be waited for."""
        return self._news.fileno()

    def all(self) -> Iterator[Neighbour]:
        """Every entry of the table now; OSError when the kernel cannot be asked."""
        for kind, payload in self._dump(_GETNEIGH, _NDMSG.pack(0, 0, 0, 0, 0)):
            if (found := parse_neighbour(kind, payload)) is not None:
                yield found

    def own_macs(self) -> Iterator[str]:
        """MACs of this machine's interfaces; OSError when the kernel cannot be asked."""
        for _, payload in self._dump(_GETLINK, bytes(_IFINFOMSG)):
            with suppress(ValueError):
                yield mac_of(dict(_attributes(payload[_IFINFOMSG:])).get(_IFLA_ADDRESS, b""))

    def news(self) -> tuple[list[Neighbour], bool]:
        """What has changed since, and whether something was lost (then ask for all).

        After an overflow the kernel says nothing until all has been read: only then is it known
        that what is asked now is later than what was lost.
        """
        found: list[Neighbour] = []
        for _ in range(_MOST_READS):
            try:
                data = self._news.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                lost, self._lost = self._lost, False
                return found, lost
            except OSError:  # ENOBUFS: more was told than there was room for
                self.missed += 1
                self._lost = True
                continue
            for kind, payload in _messages(data):
                if (one := parse_neighbour(kind, payload)) is not None:
                    found.append(one)
        return found, False

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

    def _dump(self, asked: int, body: bytes) -> Iterator[tuple[int, memoryview]]:
        head = _HEADER.pack(_HEADER.size + len(body), asked, _REQUEST_DUMP, 1, 0)
        self._ask.send(head + body)
        for _ in range(_MOST_READS):
            for kind, payload in _messages(self._ask.recv(_RECEIVE_BYTES)):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    (number,) = struct.unpack_from("=i", payload)
                    raise OSError(-number, os.strerror(-number))
                yield kind, payload

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
    told = dict(_attributes(payload[_NDMSG.size :]))
    size = {socket.AF_INET: 4, socket.AF_INET6: 16}.get(family)
    packed = told.get(_NDA_DST, b"")
    if size is None or len(packed) != size:
        return None
    try:
        mac = mac_of(told.get(_NDA_LLADDR, b""))
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


def _messages(data: bytes) -> Iterator[tuple[int, memoryview]]:
    view, at = memoryview(data), 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield kind, view[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _attributes(payload: memoryview) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, at)
        if length < 4 or at + length > len(payload):
            return
        yield kind & 0x3FFF, bytes(payload[at + 4 : at + length])
        at += (length + 3) & ~3
