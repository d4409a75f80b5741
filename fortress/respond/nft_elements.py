# SPDX-License-Identifier: Apache-2.0
"""Elements of hash sets and maps written by netlink, in one transaction.

Text for libnftables says the same (nft_rules.changed) and serves where prefixes change; for single
addresses this takes a fifth of its time, as nothing is parsed and nothing is read before.
Numbers are those of linux/netfilter/nf_tables.h and nfnetlink.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TypeAlias

from fortress.kernel.netlink import NESTED, attribute
from fortress.respond.backend import Change, Place
from fortress.respond.block import Kind
from fortress.respond.nft_rules import CONTAINERS, FAMILIES, TABLE, milliseconds
from fortress.verdict import Action

_BEGIN, _END, _SUBSYSTEM = 16, 17, 10
_NEW, _DELETE = _SUBSYSTEM << 8 | 12, _SUBSYSTEM << 8 | 14
_PROTOCOLS = {"inet": 1, "netdev": 5}
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _ELEMENT = 1, 2, 3, 1
_KEY, _DATA, _TIMEOUT, _VALUE, _VERDICT, _CODE, _CHAIN = 1, 2, 4, 1, 2, 1, 2
_DROP, _JUMP = 0, -3
_MOST_IN_MESSAGE = 400  # the length of an attribute has 16 bits
_KEY_BYTES = {0: 6, 4: 4, 6: 16}
_KEY_AT = 3 * 4  # behind the headers of the element, its key and the key's value
_Like: TypeAlias = tuple[Kind, int, Action]  # targets whose elements differ in key and time only


def _verdict(code: int, chain: str = "") -> bytes:
    words = attribute(_CODE, struct.pack(">i", code))
    if chain:
        words += attribute(_CHAIN, chain.encode() + b"\0")
    inner = attribute(_VERDICT | NESTED, words)
    return attribute(_DATA | NESTED, inner)


_VERDICTS = {
    Action.LIMIT: b"",
    Action.BLOCK: _verdict(_DROP),
    Action.QUARANTINE: _verdict(_JUMP, "quarantined"),
}
_TABLE_NAME = attribute(_LIST_TABLE, TABLE.encode() + b"\0")
_SET_NAMES = {
    limit + name: attribute(_LIST_SET, (limit + name).encode() + b"\0")
    for name in CONTAINERS
    for limit in ("", "limit_")
}


def messages(changes: Sequence[Change], place: Place) -> list[tuple[int, bytes]]:
    """Netlink messages, type and payload of each, that apply changes; nothing when there are none.

    An element that was there is added, deleted and added with its time (see nft_rules.changed).
    """
    body: list[tuple[int, bytes]] = []
    for family in FAMILIES if place.ports else FAMILIES[:1]:
        mine = [one for one in changes if family == "inet" or place.is_local(one.target)]
        body += _of_family(family, mine)
    if not body:
        return []
    edge = struct.pack(">BBH", 0, 0, _SUBSYSTEM)
    return [(_BEGIN, edge), *body, (_END, edge)]


def _of_family(family: str, changes: Sequence[Change]) -> Iterator[tuple[int, bytes]]:
    """Known elements are added (they may be gone by now) and deleted, then all come anew."""
    known: dict[_Like, list[int]] = {}
    come: dict[_Like, tuple[list[int], list[int]]] = {}
    like: _Like
    left_s, left_ms = None, 0
    for change in changes:
        target = change.target
        if change.before is not None:
            like = (target.kind, target.version, change.before)
            known.setdefault(like, []).append(target.first)
        if change.after is not None:
            like = (target.kind, target.version, change.after)
            if like not in come:
                come[like] = ([], [])
            keys, times = come[like]
            if change.left_s is not left_s:
                left_s, left_ms = change.left_s, milliseconds(change.left_s)
            keys.append(target.first)
            times.append(left_ms)
    for like, old in known.items():
        yield from _messages(_NEW, family, like, old)
    for like, old in known.items():
        yield from _messages(_DELETE, family, like, old)
    for like, (keys, times) in come.items():
        yield from _messages(_NEW, family, like, keys, times)


def _messages(
    kind: int, family: str, like: _Like, keys: Sequence[int], times: Sequence[int] = ()
) -> Iterator[tuple[int, bytes]]:
    """Messages of as many elements as fit; those without an end have an element of another form."""
    named, version, of = like
    slot, action = _slot(named, version, of), of if kind == _NEW else None
    head = struct.pack(">BBH", _PROTOCOLS[family], 0, 0) + _TABLE_NAME + _SET_NAMES[slot]
    if times and not all(times):
        pairs = list(zip(keys, times, strict=True))
        yield from _messages(kind, family, like, [key for key, ms in pairs if not ms])
        keys, times = [key for key, ms in pairs if ms], [ms for _, ms in pairs if ms]
    for at in range(0, len(keys), _MOST_IN_MESSAGE):
        many = slice(at, at + _MOST_IN_MESSAGE)
        elements = _elements(version, action, keys[many], times[many])
        yield kind, head + attribute(_LIST_ELEMENTS | NESTED, elements)


def _slot(kind: Kind, version: int, action: Action) -> str:
    """The hash set or map that holds such targets; the only prefix that one holds is a site."""
    name = {"mac": "mac", "addr": f"addr{version}", "prefix": "site6"}[kind]
    return f"limit_{name}" if action is Action.LIMIT else name


def _elements(
    version: int, action: Action | None, keys: Sequence[int], times: Sequence[int]
) -> bytearray:
    """Elements in a row, with their verdict (unless action is None) and times (unless there are
    none): one form again and again, in which each byte of all keys and times is put at once.
    """
    form, time_at = _form(version, action, bool(times))
    stride, size = len(form), _KEY_BYTES[version]
    row = bytearray(form * len(keys))
    octets = b"".join([key.to_bytes(size) for key in keys])
    for at in range(size):
        row[_KEY_AT + at :: stride] = octets[at::size]
    if times:
        octets = struct.pack(f">{len(times)}Q", *times)
        for at in range(8):
            row[time_at + at :: stride] = octets[at::8]
    return row


@cache
def _form(version: int, action: Action | None, timed: bool) -> tuple[bytes, int]:
    """An element whose key and time are zero, and where the time begins."""
    key = attribute(_KEY | NESTED, attribute(_VALUE, bytes(_KEY_BYTES[version])))
    time = attribute(_TIMEOUT, bytes(8)) if timed else b""
    whole = attribute(_ELEMENT | NESTED, key + (_VERDICTS[action] if action else b"") + time)
    return whole, len(whole) - 8
