# SPDX-License-Identifier: Apache-2.0
"""Keeps the guard's block lists fresh: a thread that asks for each, now and then, whether it has
changed, and hands it to the guard.

What is fetched, believed and kept is decided by `respond/feeds.py`, what is blocked by the guard.
In mode `monitor` lists are fetched and checked, and the guard is not asked.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from fortress.config.settings import Respond
from fortress.errors import GuardError, InputError
from fortress.logs import logger
from fortress.respond.client import GuardClient
from fortress.respond.feeds import STANDS_S, FeedSource, Fetched, fetch, fetched_s
from fortress.services.agent.view import SensorRow, SensorState

HOUR_S = 3600.0
JITTER = 0.1  # of the time between two questions: not everybody asks at the same second
AGAIN_HOURS = 0.25  # after a failure, later each time
MOST_BYTES = 8 << 20  # of a list: it is read in the agent's memory
_GUARD_WAIT_S = 30.0  # a large list takes its time there
_STOP_S = 5.0


@dataclass(slots=True)
class _List:
    """What is known of a list."""

    url: str
    due_s: float
    failures: int = 0
    entries: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an hour lasts (tests have shorter ones), and chance."""

    hour_s: float = HOUR_S
    chance: random.Random = field(default_factory=random.Random)

    def after(self, hours: float) -> float:
        """The monotonic second after about so many hours."""
        share = self.chance.uniform(1 - JITTER, 1 + JITTER)
        return time.monotonic() + hours * share * self.hour_s


class Lists:
    """Runs while it is entered; `row` and `retune` never wait."""

    def __init__(
        self, settings: Respond, folder: Path, guard: Path | None, pace: Pace | None = None
    ) -> None:
        self._folder, self._guard, self._pace = folder, guard, pace or Pace()
        self._settings = settings
        self._known: dict[str, _List] = {}
        self._row: tuple[SensorRow, ...] = ()
        self._wake, self._stop = Event(), Event()
        self._thread = Thread(target=self._run, name="lists", daemon=True)

    def rows(self) -> tuple[SensorRow, ...]:
        """The sensor `lists`, where there are any."""
        return self._row

    def retune(self, settings: Respond) -> None:
        """Go on with other settings: at once where lists or mode have changed."""
        self._settings = settings
        self._wake.set()

    def __enter__(self) -> Lists:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(_STOP_S)  # one that still waits for an answer ends with the process

    # ---- the thread ----

    def _run(self) -> None:
        before: tuple[Mapping[str, str], str] | None = None
        while not self._stop.is_set():
            settings = self._settings
            if (now := (settings.lists, settings.mode)) != before:
                before = now
                self._begin(settings.lists)
            for name, one in self._known.items():
                if one.due_s <= time.monotonic() and not self._stop.is_set():
                    self._renew(name, one, settings)
            self._row = _row(self._known)
            self._wake.wait(self._wait_s())
            self._wake.clear()

    def _wait_s(self) -> float | None:
        due_s = min((one.due_s for one in self._known.values()), default=None)
        return None if due_s is None else max(0.05, due_s - time.monotonic())

    def _begin(self, lists: Mapping[str, str]) -> None:
        """Lists that the guard does not hold are due at once, others when their time comes."""
        held = self._held()
        self._known = {}
        for name, url in lists.items():
            asked_s = fetched_s(FeedSource(name, url), self._folder)
            due_s = time.monotonic()
            if asked_s is not None and held.get(name):
                hours = self._settings.lists_every_hours - (time.time() - asked_s) / HOUR_S
                due_s = self._pace.after(max(0.0, hours))
            self._known[name] = _List(url, due_s, entries=held.get(name, 0))

    def _held(self) -> Mapping[str, int]:
        if self._guard is None:
            return {}
        try:
            with GuardClient(self._guard, session="", wait_s=_GUARD_WAIT_S) as client:
                return client.status().feeds
        except GuardError:
            return {}

    def _renew(self, name: str, one: _List, settings: Respond) -> None:
        try:
            fetched = fetch(FeedSource(name, one.url, most_bytes=MOST_BYTES), self._folder)
            one.entries = self._load(fetched, settings)
            one.trouble = fetched.why
        except (GuardError, InputError) as error:
            one.trouble = str(error)
        every = settings.lists_every_hours
        if one.trouble:
            logger("lists").warning("list", name=name, trouble=one.trouble)
            one.due_s = self._pace.after(min(every, AGAIN_HOURS * 2**one.failures))
            one.failures = min(one.failures + 1, 16)
        else:
            one.due_s, one.failures = self._pace.after(every), 0

    def _load(self, fetched: Fetched, settings: Respond) -> int:
        """How many entries stand; none in mode monitor."""
        if settings.mode == "monitor" or self._guard is None:
            return 0
        stands_s = max(STANDS_S, 3 * settings.lists_every_hours * HOUR_S)
        with GuardClient(self._guard, session="", wait_s=_GUARD_WAIT_S) as client:
            return client.load_feed(fetched.name, fetched.targets, stands_s).entries


def _row(known: Mapping[str, _List]) -> tuple[SensorRow, ...]:
    if not known:
        return ()
    troubles = "; ".join(one.trouble for one in known.values() if one.trouble)
    state: SensorState = "stale" if troubles else "live"
    entries = {name: one.entries for name, one in known.items()}
    return (SensorRow("lists", "lists", state, troubles, facts=entries),)
