# SPDX-License-Identifier: Apache-2.0
"""The nftables backend: owns two tables called `fortress`, and touches nothing else."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from fortress.errors import GuardError
from fortress.respond import nft_elements, nft_rules
from fortress.respond.backend import Change, Desired, Entry, Feed, Place
from fortress.respond.block import Target, target_between
from fortress.respond.libnftables import Nft, NftError
from fortress.respond.nft_compare import difference
from fortress.respond.nft_rules import CONTAINERS, MARKER, NETS, TABLE, Layout, container
from fortress.respond.nft_state import Element, NftState, intervals, refuse_foreign_tables
from fortress.verdict import Action

AT_ONCE = 8192  # elements of a transaction where nothing stood: what comes first stands first
_FULL = "the set is full: remove blocks, or raise limits.most_blocks"
_REMEDIES = {
    errno.ENFILE: _FULL,
    errno.ENOSPC: _FULL,
    errno.EPERM: "run the guard with CAP_NET_ADMIN (as root)",
    errno.ENOENT: "our tables are gone: the guard restores them, ask again",
}
_HOST_BITS = {"site6": (1 << 64) - 1}


class NftBackend:
    """Blocks as elements of nftables' sets; the kernel expires them, whoever is dead."""

    name = "nftables"

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._nft = Nft()
        self._place = Place()
        self._state = NftState()
        self._made: tuple[object, ...] = ()
        self.troubles: list[str] = []
        try:
            refuse_foreign_tables(self._state, TABLE, MARKER)
        except GuardError:
            self._let_go()
            raise

    def rebuild(self, desired: Desired) -> None:
        """Make both tables anew in one transaction: packets meet the old or the new ones. Where
        there are none, single entries come after that, by netlink and in their order: a third of
        the time.
        """
        refuse_foreign_tables(self._state, TABLE, MARKER)
        single: list[Entry] = []
        if not self._state.tables(TABLE):
            single = [one for one in desired.entries if container(one.target) not in NETS]
            prefixes = tuple(one for one in desired.entries if container(one.target) in NETS)
            desired = replace(desired, entries=prefixes)
        self._make_tables(desired)
        self._place = desired.place
        self._made = self._state.marks(TABLE)
        changes = [Change(one.target, None, one.action, one.left_s) for one in single]
        for at in range(0, len(changes), AT_ONCE):
            self._apply_elements(changes[at : at + AT_ONCE])

    def _make_tables(self, desired: Desired) -> None:
        try:
            self._nft.run(nft_rules.rebuilt(desired, self._layout))
        except NftError:
            if not (desired.place.ports and self._layout.egress):
                raise
            without = replace(self._layout, egress=False)  # the egress hook is of Linux 5.16
            self._nft.run(nft_rules.rebuilt(desired, without))
            self._layout = without
            self.troubles.append("no egress hook (Linux 5.16): frames to a blocked device pass")

    def apply(self, changes: Sequence[Change], prefixes: Callable[[], Iterable[Entry]]) -> None:
        """Apply changes in one transaction."""
        prefixed = [one for one in changes if one.target.kind == "prefix"]
        if not any(container(one.target) in NETS for one in prefixed):
            self._apply_elements(changes)
        elif text := nft_rules.changed(changes, prefixes, self._place):
            self._nft.run(text)

    def _apply_elements(self, changes: Sequence[Change]) -> None:
        try:
            if batch := nft_elements.messages(changes, self._place):
                self._state.transact(batch)
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "`fortress guard status` tells its view")
            raise NftError(f"nft: {error.strerror or error}", remedy) from error

    def load_feeds(self, feeds: Sequence[Feed]) -> None:
        """Replace all entries of block lists in one transaction."""
        self._nft.run(nft_rules.feeds_loaded(feeds))
        self._made = self._state.marks(TABLE)

    def spare(self, targets: Sequence[Target]) -> None:
        """Nothing: the guard never asks for whom to spare, and what it holds is unblocked."""

    def tidy(self) -> None:
        """Nothing: the kernel has taken its elements out."""

    def hits(self) -> Mapping[str, int]:
        """Packets that met each entry, in both tables together."""
        hits: dict[str, int] = {}
        for family in self._state.tables(TABLE):
            for target, _, element in self._entries(family):
                hits[target.text] = hits.get(target.text, 0) + element.packets
        return hits

    def standing(self) -> tuple[Entry, ...]:
        """What the kernel holds: the entries of the inet table, of which there may be none."""
        if "inet" not in self._state.tables(TABLE):
            return ()
        return tuple(
            Entry(target, action, element.left_s)
            for target, action, element in self._entries("inet")
        )

    def damage(self, desired: Desired) -> str:
        """What of our tables is not as it was made, or not as it is desired; "" if all is."""
        if self._state.marks(TABLE) != self._made:
            return "tables, chains, rules or sets are not those that were made"
        try:
            return difference(self._state, desired)
        except OSError as error:
            return f"{error.strerror or error}"

    def ports(self) -> frozenset[int]:
        """Netlink port ids that this backend's changes are announced under."""
        return self._nft.ports()

    def close(self, *, keep: bool) -> None:
        """Let go of the library; remove both tables unless they are to be kept."""
        try:
            if not keep:
                refuse_foreign_tables(self._state, TABLE, MARKER)
                self._nft.run(nft_rules.removed())
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._nft.close()
        self._state.close()

    def _entries(self, family: str) -> Iterator[tuple[Target, Action, Element]]:
        """Target, what is done to it, and its element, for each."""
        for name in CONTAINERS:
            for limit in ("", "limit_"):
                version = CONTAINERS[name]
                elements = self._state.elements(family, TABLE, f"{limit}{name}")
                most = (1 << {0: 48, 4: 32, 6: 128}[version]) - 1
                spans = (
                    intervals(elements, most)
                    if name in NETS
                    else ((one.key, one.key | _HOST_BITS.get(name, 0), one) for one in elements)
                )
                for first, last, element in spans:
                    action = Action.BLOCK if element.drops else Action.QUARANTINE
                    target = target_between(version, first, last)
                    yield target, Action.LIMIT if limit else action, element
