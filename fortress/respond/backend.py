# SPDX-License-Identifier: Apache-2.0
"""What the guard asks of whatever enforces its blocks: the seam that nftables and XDP share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fortress.respond.block import Target
from fortress.verdict import Action


@dataclass(frozen=True, slots=True)
class Entry:
    """A target, what is done to it, and for how many seconds more (None: no end)."""

    target: Target
    action: Action
    left_s: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """A target that changes: what is done to it from now on, and what was until now or a moment
    ago; None: nothing.
    """

    target: Target
    before: Action | None
    after: Action | None
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """Targets of a block list; they are dropped, never limited."""

    name: str
    targets: tuple[Target, ...]
    left_s: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where blocks hold: LAN ports that exist, our own addresses and the networks on our links."""

    ports: tuple[str, ...] = ()
    own: tuple[Target, ...] = ()
    links: tuple[Target, ...] = ()

    def is_local(self, target: Target) -> bool:
        """Whether a target is a device or on one of our links: its frames cross LAN ports."""
        if target.kind == "mac":
            return True
        version, first, last = target.version, target.first, target.last
        for one in self.links:  # a loop: of a hundred thousand blocks each is looked at
            if one.version == version and one.first <= last and first <= one.last:
                return True
        return False


@dataclass(frozen=True, slots=True)
class Desired:
    """All that ought to stand."""

    entries: tuple[Entry, ...] = ()
    feeds: tuple[Feed, ...] = ()
    place: Place = field(default_factory=Place)


class Backend(Protocol):
    """Enforces blocks; each call is one transaction, or raises GuardError and changes nothing."""

    name: str
    troubles: list[str]

    def rebuild(self, desired: Desired) -> None:
        """Make the kernel's state the desired one, whatever it was."""

    def apply(self, changes: Sequence[Change], prefixes: Callable[[], Iterable[Entry]]) -> None:
        """Apply changes; `prefixes` gives all entries of that kind as they are after them."""

    def load_feeds(self, feeds: Sequence[Feed]) -> None:
        """Replace all entries of block lists."""

    def spare(self, targets: Sequence[Target]) -> None:
        """These and no others pass whatever entry fits them, where the backend can do that."""

    def tidy(self) -> None:
        """Something has come to its end: let go of what it held."""

    def hits(self) -> Mapping[str, int]:
        """Packets that met each target's entry, by the target's text, as far as it is known."""

    def close(self, *, keep: bool) -> None:
        """Let go; what stands is kept (until it expires) or removed."""
