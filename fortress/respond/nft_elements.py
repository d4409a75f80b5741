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

from fortress.respond.backend import Change, Place
from fortress.respond.block import Target
from fortress.respond.netlink import NESTED, attribute
from fortress.respond.nft_rules import CONTAINERS, FAMILIES, TABLE, container, milliseconds
from fortress.verdict import Action

_BEGIN, _END, _SUBSYSTEM = 16, 17, 10
_NEW, _DELETE = _SUBSYSTEM << 8 | 12, _SUBSYSTEM << 8 | 14
_PROTOCOLS = {"inet": 1, "netdev": 5}
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _ELEMENT = 1, 2, 3, 1
_KEY, _DATA, _TIMEOUT, _VALUE, _VERDICT, _CODE, _CHAIN = 1, 2, 4, 1, 2, 1, 2
_DROP, _JUMP = 0, -3
_MOST_IN_MESSAGE = 400  # the length of an attribute has 16 bits
_KEY_BYTES = {0: 6, 4: 4, 6: 16}


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
    known: dict[str, list[bytes]] = {}
    gone: dict[str, list[bytes]] = {}
    come: dict[str, list[bytes]] = {}
    for change in changes:
        target = change.target
        name = container(target)
        if change.before is not None:
            slot = _slot(name, change.before)
            known.setdefault(slot, []).append(_element(target, change.before))
            gone.setdefault(slot, []).append(_element(target, None))
        if change.after is not None:
            element = _element(target, change.after, milliseconds(change.left_s))
            come.setdefault(_slot(name, change.after), []).append(element)
    for kind, lists in ((_NEW, known), (_DELETE, gone), (_NEW, come)):
        for slot, elements in lists.items():
            for at in range(0, len(elements), _MOST_IN_MESSAGE):
                yield kind, _message(family, slot, elements[at : at + _MOST_IN_MESSAGE])


def _message(family: str, slot: str, elements: Sequence[bytes]) -> bytes:
    head = struct.pack(">BBH", _PROTOCOLS[family], 0, 0) + _TABLE_NAME + _SET_NAMES[slot]
    return head + attribute(_LIST_ELEMENTS | NESTED, b"".join(elements))


def _slot(name: str, action: Action) -> str:
    return f"limit_{name}" if action is Action.LIMIT else name


def _element(target: Target, action: Action | None, left_ms: int = 0) -> bytes:
    """An element with its verdict (unless action is None) and its time (unless 0)."""
    before, after = _frame(target.version, action, left_ms > 0)
    key = target.first.to_bytes(_KEY_BYTES[target.version])
    return before + key + after + (left_ms.to_bytes(8) if left_ms else b"")


@cache
def _frame(version: int, action: Action | None, timed: bool) -> tuple[bytes, bytes]:
    """What stands before and after an element's key; the bytes of the time follow."""
    size = _KEY_BYTES[version]
    key = attribute(_KEY | NESTED, attribute(_VALUE, bytes(size)))
    time = attribute(_TIMEOUT, bytes(8)) if timed else b""
    whole = attribute(_ELEMENT | NESTED, key + (_VERDICTS[action] if action else b"") + time)
    begins = 3 * 4  # the headers of the element, its key and the key's value
    return whole[:begins], whole[begins + size : len(whole) - 8 if timed else None]
