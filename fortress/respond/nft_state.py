# SPDX-License-Identifier: Apache-2.0
"""What the kernel holds of nftables, read by netlink: tables, how much is in them, elements.

libnftables reads every element of a ruleset to list one table: a second for a large block list.
Numbers are those of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fortress.errors import GuardError
from fortress.kernel.netlink import NETFILTER, Netlink, attribute, attributes

_SUBSYSTEM = 10 << 8
_GETTABLE, _GETCHAIN, _GETRULE, _GETSET, _GETSETELEM = 1, 4, 7, 10, 13
_TABLE_NAME, _TABLE_USERDATA, _OBJECT_TABLE, _SET_NAME = 1, 6, 1, 2
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_KEY, _DATA, _FLAGS, _EXPIRATION, _EXPR, _EXPRESSIONS = 1, 2, 3, 5, 7, 11
_VALUE, _VERDICT, _EXPR_NAME, _EXPR_DATA, _COUNTER_PACKETS = 1, 2, 1, 2, 2
_INTERVAL_END = 1
# Of tables flags and handle; of chains handle, name, hook and policy; of rules chain and handle; of
# sets name and handle. No handle of a table is given twice.
_TELLING = {_GETTABLE: (2, 4), _GETCHAIN: (2, 3, 4, 5), _GETRULE: (2, 3), _GETSET: (2, 16)}
_PROTOCOLS = {"inet": 1, "netdev": 5}


@dataclass(frozen=True, slots=True)
class Element:
    """An element: key, whether it ends an interval, what is left of its time, its packets; `drops`
    says whether the verdict of a map's element is to drop.
    """

    key: int
    ends: bool
    left_s: float | None
    packets: int
    drops: bool


class NftState:
    """Asks the kernel; OSError when it does not answer."""

    def __init__(self) -> None:
        self._netlink = Netlink(NETFILTER)

    def tables(self, name: str) -> dict[str, bytes]:
        """The user data of each table of this name, by family."""
        found = {}
        for family, number in _PROTOCOLS.items():
            for payload in self._dump(_GETTABLE, number):
                told = attributes(payload[4:])
                if payload[0] == number and _text(told, _TABLE_NAME) == name:
                    found[family] = bytes(told.get(_TABLE_USERDATA, b""))
        return found

    def marks(self, name: str) -> tuple[tuple[int, int, bytes], ...]:
        """What tables of this name are made of: the family, the kind, and what tells each table,
        chain, rule and set from any other that there will be, and from itself when it is altered.
        """
        found = []
        for number in _PROTOCOLS.values():
            for kind, telling in _TELLING.items():
                for payload in self._dump(kind, number):
                    told = attributes(payload[4:])
                    if payload[0] == number and _text(told, _OBJECT_TABLE) == name:
                        mark = b"/".join(bytes(told.get(one, _NOTHING)) for one in telling)
                        found.append((number, kind, mark))
        return tuple(found)

    def elements(self, family: str, table: str, name: str) -> Iterator[Element]:
        """The elements of a set or map, in no order."""
        asked = attribute(_LIST_TABLE, table.encode() + b"\0")
        asked += attribute(_LIST_SET, name.encode() + b"\0")
        for payload in self._dump(_GETSETELEM, _PROTOCOLS[family], asked):
            told = attributes(payload[4:])
            for member in _members(told.get(_LIST_ELEMENTS, memoryview(b""))):
                yield _element(member)

    def transact(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """Make one transaction of messages, from its begin to its end; OSError when refused."""
        self._netlink.batch(messages)

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def _dump(self, kind: int, family: int, asked: bytes = b"") -> Iterator[memoryview]:
        header = struct.pack("=BBH", family, 0, 0)
        for message in self._netlink.dump(_SUBSYSTEM | kind, header + asked):
            yield message.payload


def refuse_foreign_tables(state: NftState, name: str, marker: str) -> None:
    """GuardError when a table of this name has a comment other than the marker."""
    for family, userdata in state.tables(name).items():
        if marker.encode() not in userdata:
            raise GuardError(
                f"nft table {family} {name} exists and is not the guard's",
                f"rename it, or `nft delete table {family} {name}`; nothing was changed",
            )


def intervals(elements: Iterator[Element], most: int) -> Iterator[tuple[int, int, Element]]:
    """First and last key of each interval of a set whose largest key is `most`."""
    known = sorted(elements, key=lambda one: (one.key, not one.ends))
    start: Element | None = None
    for one in known:
        if start is not None:
            yield start.key, one.key - 1, start
        start = None if one.ends else one
    if start is not None:
        yield start.key, most, start


def _element(member: memoryview) -> Element:
    told = attributes(member)
    key = attributes(told[_KEY]).get(_VALUE, memoryview(b""))
    flags = struct.unpack(">I", told[_FLAGS])[0] if _FLAGS in told else 0
    left_s = None
    if _EXPIRATION in told:
        left_s = struct.unpack(">Q", told[_EXPIRATION])[0] / 1000
    drops = True
    if _DATA in told and _VERDICT in (data := attributes(told[_DATA])):
        drops = not int.from_bytes(attributes(data[_VERDICT]).get(1, _NOTHING))  # NF_DROP is 0
    ends = bool(flags & _INTERVAL_END)
    return Element(int.from_bytes(key), ends, left_s, _packets(told), drops)


def _packets(told: dict[int, memoryview]) -> int:
    """What the element's counter says: alone (before Linux 5.12 or with one), or in a list."""
    expressions = [told[_EXPR]] if _EXPR in told else _members(told.get(_EXPRESSIONS, _NOTHING))
    for expression in expressions:
        words = attributes(expression)
        if _text(words, _EXPR_NAME) == "counter" and _EXPR_DATA in words:
            counted = attributes(words[_EXPR_DATA]).get(_COUNTER_PACKETS, _NOTHING)
            return int.from_bytes(counted)
    return 0


_NOTHING = memoryview(b"")


def _members(listed: memoryview) -> list[memoryview]:
    """The values of attributes that all have the same type."""
    found = []
    at = 0
    while at + 4 <= len(listed):
        length, _ = struct.unpack_from("=HH", listed, at)
        if length < 4 or at + length > len(listed):
            break
        found.append(listed[at + 4 : at + length])
        at += (length + 3) & ~3
    return found


def _text(told: dict[int, memoryview], kind: int) -> str:
    return bytes(told.get(kind, _NOTHING)).rstrip(b"\0").decode(errors="replace")
