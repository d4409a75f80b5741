# SPDX-License-Identifier: Apache-2.0
"""The nftables backend: owns two tables called `fortress`, and touches nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fortress.errors import GuardError
from fortress.respond import nft_rules
from fortress.respond.backend import Change, Desired, Entry, Feed, Place
from fortress.respond.block import Target, parse_target
from fortress.respond.libnftables import Nft, NftError
from fortress.respond.nft_rules import FAMILIES, MARKER, TABLE, Layout
from fortress.verdict import Action

_READ = ("mac", "addr4", "addr6", "site6", "net4", "net6")


class NftBackend:
    """Blocks as elements of nftables' sets; the kernel expires them, whoever is dead."""

    name = "nftables"

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._nft = Nft()
        self._place = Place()
        self._made = ""
        self.troubles: list[str] = []
        try:
            self._refuse_foreign_tables()
        except GuardError:
            self._nft.close()
            raise

    def rebuild(self, desired: Desired) -> None:
        """Make both tables anew in one transaction; packets meet the old or the new ones."""
        self._refuse_foreign_tables()
        try:
            self._nft.run(nft_rules.rebuilt(desired, self._layout))
        except NftError:
            if not (desired.place.ports and self._layout.egress):
                raise
            without = replace(self._layout, egress=False)  # the egress hook is of Linux 5.16
            self._nft.run(nft_rules.rebuilt(desired, without))
            self._layout = without
            self.troubles.append("no egress hook (Linux 5.16): frames to a blocked device pass")
        self._place = desired.place
        self._made = self._shape()

    def apply(self, changes: Sequence[Change], prefixes: Callable[[], Iterable[Entry]]) -> None:
        """Apply changes in one transaction."""
        if text := nft_rules.changed(changes, prefixes, self._place):
            self._nft.run(text)

    def load_feeds(self, feeds: Sequence[Feed]) -> None:
        """Replace all entries of block lists in one transaction."""
        self._nft.run(nft_rules.feeds_loaded(feeds))
        self._made = self._shape()

    def spare(self, targets: Sequence[Target]) -> None:
        """Nothing: the guard never asks for whom to spare, and what it holds is unblocked."""

    def tidy(self) -> None:
        """Nothing: the kernel has taken its elements out."""

    def hits(self) -> Mapping[str, int]:
        """Packets that met each entry, in both tables together."""
        hits: dict[str, int] = {}
        for family in self._existing():
            for text, _, element in self._elements(family):
                packets = element.get("counter", {}).get("packets", 0)
                hits[text] = hits.get(text, 0) + packets
        return hits

    def standing(self) -> tuple[Entry, ...]:
        """What the kernel holds: the entries of the inet table, of which there may be none."""
        if "inet" not in self._existing():
            return ()
        found = []
        for text, action, element in self._elements("inet"):
            left = element.get("expires")
            found.append(Entry(parse_target(text), action, None if left is None else float(left)))
        return tuple(found)

    def has_egress(self) -> bool:
        """Whether frames to a blocked device are dropped on their way out as well."""
        return self._layout.egress

    def is_intact(self) -> bool:
        """Whether tables, chains, sets and rules are as they were made."""
        return self._shape() == self._made

    def ports(self) -> frozenset[int]:
        """Netlink port ids that this backend's changes are announced under."""
        return self._nft.ports()

    def close(self, *, keep: bool) -> None:
        """Let go of the library; remove both tables unless they are to be kept."""
        try:
            if not keep:
                self._refuse_foreign_tables()
                self._nft.run(nft_rules.removed())
        finally:
            self._nft.close()

    def _shape(self) -> str:
        return "".join(self._nft.text(f"list table {one} {TABLE}") for one in self._existing())

    def _existing(self) -> list[str]:
        tables = (
            one["table"] for one in self._nft.read("list tables", elements=False) if "table" in one
        )
        names = {(one["family"], one["name"]) for one in tables}
        return [family for family in FAMILIES if (family, TABLE) in names]

    def _refuse_foreign_tables(self) -> None:
        for family in self._existing():
            if MARKER not in self._nft.text(f"list table {family} {TABLE}"):
                raise GuardError(
                    f"nft table {family} {TABLE} exists and is not the guard's",
                    f"rename it, or `nft delete table {family} {TABLE}`; nothing was changed",
                )

    def _elements(self, family: str) -> Iterator[tuple[str, Action, Mapping[str, Any]]]:
        """Text of the target, what is done to it and nft's own words, for each element."""
        for name in (*_READ, *(f"limit_{one}" for one in _READ)):
            is_map = name in _READ[:4]
            kind = "map" if is_map else "set"
            for one in self._nft.read(f"list {kind} {family} {TABLE} {name}", elements=True):
                for member in one.get(kind, {}).get("elem", []):
                    element, verdict = member if isinstance(member, list) else (member, {})
                    if isinstance(element, dict) and "elem" in element:
                        element = element["elem"]
                    else:
                        element = {"val": element}
                    yield _text(name, element["val"]), _action(name, verdict), element


def _text(name: str, value: Any) -> str:
    if isinstance(value, dict):
        prefix = value["prefix"]
        return f"{prefix['addr']}/{prefix['len']}"
    return f"{value}/64" if name.endswith("site6") else str(value)


def _action(name: str, verdict: Any) -> Action:
    if name.startswith("limit_"):
        return Action.LIMIT
    return Action.QUARANTINE if isinstance(verdict, dict) and "jump" in verdict else Action.BLOCK
