# SPDX-License-Identifier: Apache-2.0
"""The block lists that stand, each in a file of its own so that a restart has them at once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fortress.errors import GuardError
from fortress.respond.backend import Feed
from fortress.respond.block import MOST_SECONDS, Target, parse_target
from fortress.respond.ledger import Clocks

if TYPE_CHECKING:
    from fortress.respond.guard_settings import FeedRule

_MOST_BYTES = 64 << 20


class FeedShelf:
    """Lists by name; an end is seconds of the wall clock, as a list stands for hours."""

    def __init__(self, folder: Path, rules: Mapping[str, FeedRule], clocks: Clocks) -> None:
        self._folder, self._clocks, self._rules = folder, clocks, rules
        self.troubles: list[str] = []
        self._feeds: dict[str, tuple[tuple[Target, ...], float]] = {}
        for name in rules:
            self._load(name)

    def check(self, name: str, entries: int, seconds: float) -> None:
        """GuardError when a list may not stand: it is not named, too large, or for how long."""
        rule = self._rules.get(name)
        if rule is None:
            known = ", ".join(self._rules) or "none"
            raise GuardError(
                f"the list {name} is not in guard.toml (it names {known})",
                f"add [feeds.{name}] with most = the number of entries it may have",
            )
        if entries > rule.most:
            raise GuardError(
                f"the list {name} has {entries} entries, {rule.most} are allowed",
                f"raise feeds.{name}.most in guard.toml, or take another list",
            )
        if not 1 <= seconds <= MOST_SECONDS:
            raise GuardError(f"a list stands 1 to {MOST_SECONDS:g} seconds", "say for how long")

    def names(self) -> str:
        """The names of the lists that have not come to their end."""
        return ", ".join(one.name for one in self.all())

    def all(self) -> tuple[Feed, ...]:
        """Every list that has not come to its end."""
        now_s = self._clocks.wall_s()
        return tuple(
            Feed(name, targets, until_s - now_s)
            for name, (targets, until_s) in self._feeds.items()
            if until_s > now_s
        )

    def naming(self, target: Target) -> tuple[str, ...]:
        """Names of the lists that hold the target or something wider."""
        return tuple(
            feed.name
            for feed in self.all()
            if any(
                one.version == target.version
                and one.first <= target.first
                and target.last <= one.last
                for one in feed.targets
            )
        )

    def put(self, name: str, targets: Sequence[Target], seconds: float) -> None:
        """A list has these entries from now on."""
        self._feeds[name] = tuple(dict.fromkeys(targets)), self._clocks.wall_s() + seconds

    def restore(self, feeds: Sequence[Feed]) -> None:
        """Everything as it was."""
        now_s = self._clocks.wall_s()
        self._feeds = {one.name: (one.targets, now_s + one.left_s) for one in feeds}

    def save(self, name: str) -> None:
        """Write a list's file; what goes wrong is a trouble, the list stands all the same."""
        targets, until_s = self._feeds[name]
        beside = self._folder / f"{name}.new"
        head = json.dumps({"fortress_feed": 1, "until_s": until_s})
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with beside.open("w", encoding="ascii") as file:
                file.write("\n".join((head, *(one.text for one in targets), "")))
                file.flush()
                os.fsync(file.fileno())
            beside.rename(self._folder / f"{name}.txt")
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            self._trouble(f"{beside}: {error.strerror}; the list is lost by a restart")

    def _load(self, name: str) -> None:
        file = self._folder / f"{name}.txt"
        try:
            if file.stat().st_size > _MOST_BYTES:
                raise ValueError("it is too large")
            head, *lines = file.read_text(encoding="ascii").splitlines()
            until_s = float(json.loads(head)["until_s"])
            self._feeds[name] = tuple(parse_target(line) for line in lines), until_s
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._trouble(f"{file}: {error}; the list is left out until it is loaded again")

    def _trouble(self, text: str) -> None:
        if text not in self.troubles:
            self.troubles.append(text)
