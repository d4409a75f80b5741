"""A guard without a kernel: its backend is a set that says what it was asked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fortress.errors import GuardError
from fortress.respond.answers import GuardEvent
from fortress.respond.backend import Change, Desired, Entry, Feed, Place
from fortress.respond.block import Target, parse_target
from fortress.respond.guard import Guard
from fortress.respond.guard_settings import GuardSettings
from fortress.respond.judge import Asker
from fortress.respond.ledger import Clocks
from fortress.respond.messages import Add, Group
from fortress.respond.never_block import Spared, spare
from fortress.verdict import Action

ROOT = Asker(0, 1, operator=True)
AGENT = Asker(991, 2, operator=False)
GATEWAY, GATEWAY6 = "192.168.1.1", "2001:db8::1"
OURS = Place((), (parse_target(GATEWAY),), (parse_target("192.168.1.0/24"),))


@dataclass
class Clock:
    """A boot clock and a wall clock that a test moves."""

    boot: float = 1000.0
    wall: float = 1_700_000_000.0

    @property
    def clocks(self) -> Clocks:
        """Both, as the guard takes them."""
        return Clocks(lambda: self.boot, lambda: self.wall)

    def pass_time(self, seconds: float) -> None:
        """Both go on."""
        self.boot += seconds
        self.wall += seconds


@dataclass
class Memory:
    """A backend that remembers; `refuses` makes its next transaction fail."""

    name: str = "memory"
    troubles: list[str] = field(default_factory=list)
    entries: dict[str, Action] = field(default_factory=dict)
    feeds: dict[str, int] = field(default_factory=dict)
    refuses: bool = False
    transactions: int = 0

    def _begin(self) -> None:
        if self.refuses:
            self.refuses = False
            raise GuardError("the set is full", "remove blocks")
        self.transactions += 1

    def rebuild(self, desired: Desired) -> None:
        self._begin()
        self.entries = {one.target.text: one.action for one in desired.entries}
        self.load_feeds(desired.feeds)

    def apply(self, changes: Sequence[Change], prefixes: Callable[[], Iterable[Entry]]) -> None:
        self._begin()
        for one in changes:
            if one.after is None:
                self.entries.pop(one.target.text, None)
            else:
                self.entries[one.target.text] = one.after

    def load_feeds(self, feeds: Sequence[Feed]) -> None:
        self._begin()
        self.feeds = {one.name: len(one.targets) for one in feeds}

    def spare(self, targets: Sequence[Target]) -> None: ...

    def tidy(self) -> None: ...

    def hits(self) -> Mapping[str, int]:
        return {}

    def close(self, *, keep: bool) -> None: ...


@dataclass
class World:
    """A guard, its backend, its clock, what it told."""

    guard: Guard
    backend: Memory
    clock: Clock
    told: list[GuardEvent]
    settings: GuardSettings

    def add(
        self,
        *targets: str,
        asker: Asker = ROOT,
        origin: Any = "operator",
        seconds: float | None = 60.0,
        action: Action = Action.BLOCK,
        **more: Any,
    ) -> dict[str, str]:
        """Ask for blocks; what is said of those that were not done, by target."""
        group = Group(action, seconds, "a test", origin, targets)
        notes = self.guard.add(Add((group,), **more), asker)
        return {targets[note.at]: note.reason for note in notes.notes if not note.done}

    def audit(self) -> str:
        """The audit's text."""
        return self.settings.audit.read_text()


def world(folder: Path, clock: Clock | None = None, **known: Any) -> World:
    """A guard at its start, on a network where GATEWAY is our own address."""
    clock = clock or Clock()
    given = GuardSettings(state=folder, audit=folder / "audit.jsonl")
    settings = replace(given, **known)
    backend, told = Memory(), list[GuardEvent]()
    guard = Guard(settings, [backend], clock.clocks, told.append)
    guard.see(_ours(), OURS)
    guard.rebuild("start")
    return World(guard, backend, clock, told, settings)


def _ours() -> list[Spared]:
    return [spare(one, "an address of this machine") for one in (GATEWAY, GATEWAY6)]
