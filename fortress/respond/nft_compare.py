# SPDX-License-Identifier: Apache-2.0
"""Whether the kernel's tables hold what they should: asked when netlink lost what it had to tell.

Tables, chains, rules and sets are told apart by their handles, which nobody gets a second time;
elements are read and compared one by one, with their verdict and their end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from fortress.respond.backend import Desired, Entry, Feed
from fortress.respond.block import Target
from fortress.respond.nft_rules import CONTAINERS, FAMILIES, NETS, TABLE, container, cover
from fortress.respond.nft_state import Element, NftState, intervals
from fortress.verdict import Action

EDGE_S = 5.0  # what begins or ends within so much is not looked at: the kernel's clock is its own
_MOST = {4: (1 << 32) - 1, 6: (1 << 128) - 1}

# By first and last key: whether the verdict is to drop, and what is left of the time.
Known = dict[tuple[int, int], tuple[bool, float | None]]


def difference(state: NftState, desired: Desired) -> str:
    """The first set or map whose elements are not those that are desired, and how; "" if all are.

    OSError when the kernel does not answer, or has no such set.
    """
    for family, name, wanted in _wanted(desired):
        elements = state.elements(family, TABLE, name)
        if why := _unlike(wanted, _found(name, elements)):
            return f"{family} {name} {why}"
    return ""


def _wanted(desired: Desired) -> Iterator[tuple[str, str, Known]]:
    """Family, name and elements of each set and map, feeds last."""
    place = desired.place
    for family in FAMILIES if place.ports else FAMILIES[:1]:
        for version in (4, 6):
            own = [one for one in place.own if one.version == version]
            yield family, f"own{version}", {(one.first, one.first): (True, None) for one in own}
        local = family == "netdev"
        entries = [one for one in desired.entries if not local or place.is_local(one.target)]
        for name in CONTAINERS:
            for limit in ("", "limit_"):
                mine = [
                    one
                    for one in entries
                    if container(one.target) == name and (one.action is Action.LIMIT) == bool(limit)
                ]
                yield family, f"{limit}{name}", _of_entries(mine, is_net=name in NETS)
    for name, left_s in _of_feeds(desired.feeds).items():
        kept = cover(left_s.items()) if name in NETS else left_s
        yield "inet", f"feed_{name}", {(one.first, one.last): (True, left_s[one]) for one in kept}


def _of_entries(entries: Sequence[Entry], *, is_net: bool) -> Known:
    if not is_net:
        return {
            (one.target.first, one.target.first): (one.action is not Action.QUARANTINE, one.left_s)
            for one in entries
        }
    left_s = {one.target: one.left_s for one in entries}
    return {(one.first, one.last): (True, left_s[one]) for one in cover(left_s.items())}


def _of_feeds(feeds: Iterable[Feed]) -> dict[str, dict[Target, float | None]]:
    left_s: dict[str, dict[Target, float | None]] = {name: {} for name in ("addr4", "addr6", *NETS)}
    for feed in feeds:
        for one in feed.targets:
            known = left_s[f"{'addr' if one.kind == 'addr' else 'net'}{one.version}"]
            known[one] = max(known.get(one) or 0.0, feed.left_s)
    return left_s


def _found(name: str, elements: Iterator[Element]) -> Known:
    net = name.removeprefix("limit_").removeprefix("feed_")
    if net in NETS:
        most = _MOST[CONTAINERS[net]]
        spans = intervals(elements, most)
        return {(first, last): (True, one.left_s) for first, last, one in spans}
    return {(one.key, one.key): (one.drops, one.left_s) for one in elements}


def _unlike(wanted: Mapping[tuple[int, int], tuple[bool, float | None]], found: Known) -> str:
    missing = sum(_lasts(wanted[key]) for key in wanted.keys() - found.keys())
    strange = sum(_lasts(found[key]) for key in found.keys() - wanted.keys())
    other = sum(_differs(wanted[key], found[key]) for key in wanted.keys() & found.keys())
    told = ((missing, "lacks"), (strange, "has strange"), (other, "has altered"))
    return ", ".join(f"{verb} {count} elements" for count, verb in told if count)


def _lasts(one: tuple[bool, float | None]) -> bool:
    return one[1] is None or one[1] > EDGE_S


def _differs(wanted: tuple[bool, float | None], found: tuple[bool, float | None]) -> bool:
    if wanted[0] != found[0]:
        return True
    if wanted[1] is None or found[1] is None:
        return wanted[1] is not found[1]
    return abs(wanted[1] - found[1]) > EDGE_S
