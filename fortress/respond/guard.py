# SPDX-License-Identifier: Apache-2.0
"""The guard's judgement: what of a request is done, what is refused, and what stands.

It knows no sockets: `serve.py` brings requests and what the kernel tells. An act is written to the
ledger first, then done by every backend, then told in the audit; where a backend refuses, all of it
is taken back.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from fortress.errors import GuardError
from fortress.kernel.offloads import flowtables_if_any
from fortress.respond.answers import (
    Explanation,
    FeedLoaded,
    GuardEvent,
    GuardStatus,
    Note,
    Notes,
    StandingList,
)
from fortress.respond.audit import Audit
from fortress.respond.backend import Backend, Change, Desired, Entry, Feed, Place
from fortress.respond.block import Target, parse_target
from fortress.respond.feed_shelf import FeedShelf
from fortress.respond.guard_settings import GuardSettings
from fortress.respond.judge import Asker, Judge, check_origin
from fortress.respond.ledger import Clocks, Held, Ledger, Terms, entries_of
from fortress.respond.messages import Add, LoadFeed, Remove
from fortress.respond.never_block import NeverBlock, Spared, spare
from fortress.respond.telling import Teller
from fortress.verdict import Action

LATELY_S = 5.0  # the kernel may still hold what came to its end a moment ago
_NOT_LATELY = (0.0, None)
_MOST_UNDONE = 64
_MOST_FORGOTTEN = 16
_MOST_TOLD_REFUSALS = 20


class Guard:
    """Holds what ought to stand, and makes the backends follow."""

    def __init__(
        self,
        settings: GuardSettings,
        backends: Sequence[Backend],
        clocks: Clocks | None = None,
        tell: Callable[[GuardEvent], None] = lambda _: None,
    ) -> None:
        self.settings, self.backends = settings, backends
        self._clocks = clocks or Clocks()
        self.ledger = Ledger(settings.state / "blocks.jsonl", self._clocks)
        self.feeds = FeedShelf(settings.state / "feeds", settings.feeds, self._clocks)
        self.audit = Audit(settings.audit, self._clocks.wall_s)
        self.teller = Teller(self.audit, self._clocks, tell)
        self.judge = Judge(settings, self._clocks)
        self.place = Place()
        self._built = False
        self.to_forget: deque[Target] = deque(maxlen=_MOST_FORGOTTEN)
        self._lately: dict[str, tuple[float, Action]] = {}
        self._undo: deque[dict[str, Held | None]] = deque(maxlen=_MOST_UNDONE)
        self._started_s = self._clocks.boot_s()
        self.acts = self.restored = 0
        self.feeds_follow = False

    # ---- what is asked for ----

    def add(self, asked: Add, asker: Asker) -> Notes:
        """Blocks what may be blocked; GuardError when nothing of it can be done."""
        plan = self.judge.plan(asked, asker, self.ledger.held)
        before = plan.before
        self._act(before, plan.put)
        if before and all(group.origin == "operator" for group in asked.groups):
            self._undo.append(before)
        pairs = zip(before.values(), plan.put.values(), strict=True)
        changed = [one for was, one in pairs if was is not one]
        self.teller.blocked(changed, asker)
        if len(changed) <= _MOST_FORGOTTEN:  # of a crowd, connections are cut and not forgotten
            self.to_forget.extend(
                one.target
                for one in changed
                if one.target.kind == "addr" and one.action is Action.BLOCK
            )
        self.teller.not_done(asked, plan.notes, asker)
        return Notes(tuple(plan.notes))

    def remove(self, asked: Remove, asker: Asker) -> Notes:
        """Unblocks; an automatic request leaves an operator's blocks alone."""
        check_origin(asked.origin, asker)
        notes: list[Note] = []
        before: dict[str, Held | None] = {}
        for at, text in enumerate(asked.targets):
            try:
                name = parse_target(text).text
            except ValueError as error:
                notes.append(Note(at, False, str(error)))
                continue
            held = self.ledger.held.get(name)
            if held is None:
                feeds = self.feeds.naming(parse_target(text))
                why = f"is on the list {feeds[0]}: edit the list" if feeds else "is not blocked"
                notes.append(Note(at, False, why))
            elif asked.origin == "automatic" and held.origin == "operator":
                notes.append(Note(at, False, "was blocked by an operator"))
            else:
                before[name] = held
        self._act(before, {})
        if asked.origin == "operator":
            self.judge.pardon(before)
            if before:
                self._undo.append(before)
        self.teller.unblocked(before, asked.why or "asked for", asker)
        self.teller.refused(
            [{"target": asked.targets[n.at], "reason": n.reason} for n in notes], asker
        )
        return Notes(tuple(notes))

    def undo(self, asker: Asker) -> Notes:
        """Takes an operator's last act back; the answer names the targets."""
        check_origin("operator", asker)
        if not self._undo:
            raise GuardError("there is nothing to undo since the guard started", "")
        wanted = self._undo.pop()
        now_s = self._clocks.boot_s()
        put = {
            text: held
            for text, held in wanted.items()
            if held is not None and (held.until_s is None or held.until_s > now_s)
        }
        notes = []
        for at, (text, held) in enumerate(list(put.items())):
            if refusal := self.judge.never.refusal(held.target):
                del put[text]
                notes.append(Note(at, False, refusal))
        before = {text: self.ledger.held.get(text) for text in wanted}
        self._act(before, put)
        gone = {text: held for text, held in before.items() if text not in put}
        self.judge.pardon(gone)
        self.teller.unblocked(gone, "undone", asker)
        self.teller.blocked(put.values(), asker)
        return Notes(tuple(notes), tuple(wanted))

    def load_feed(self, asked: LoadFeed, asker: Asker) -> FeedLoaded:
        """Replaces a list's entries; what must not be blocked is left out and told."""
        self.feeds.check(asked.name, len(asked.targets), asked.seconds)
        kept, refused = self.judge.sift(asked.targets, self.place.links)
        before = self.feeds.all()
        self.feeds.put(asked.name, kept, asked.seconds)
        feeds = self._feeds()
        self._each_backend(
            lambda backend: backend.load_feeds(feeds),
            lambda: self.feeds.restore(before),
        )
        self.feeds.save(asked.name)
        self.acts += 1
        facts: dict[str, object] = {
            "feed": asked.name, "entries": len(kept), "refused": len(refused),
            "seconds": asked.seconds,
        }  # fmt: skip
        self.audit.write("feed", [facts], asker.name)
        self.teller.refused([{"feed": asked.name, "reason": reason} for reason in refused], asker)
        self.teller.tell(GuardEvent("feed", asked.name, f"{len(kept)} entries", "feed"))
        return FeedLoaded(asked.name, len(kept), len(refused), tuple(refused[:_MOST_TOLD_REFUSALS]))

    def blocks(self) -> StandingList:
        """Everything that stands, with the packets that met it, and whom an operator pardoned."""
        now_s = self._clocks.boot_s()
        hits: dict[str, int] = {}
        for backend in self.backends:
            for text, packets in backend.hits().items():
                hits[text] = hits.get(text, 0) + packets
        return StandingList(
            tuple(one.standing(now_s, hits.get(text)) for text, one in self.ledger.held.items()),
            self.judge.pardons(),
        )

    def explain(self, text: str, session: str) -> Explanation:
        """All that holds for a target; GuardError when it is none."""
        try:
            target = parse_target(text)
        except ValueError as error:
            raise GuardError(str(error), "name an address, a prefix or a MAC") from None
        now_s = self._clocks.boot_s()
        own = [
            one.standing(now_s)
            for one in self.ledger.held.values()
            if one.target.version == target.version
            and one.target.first <= target.first
            and target.last <= one.target.last
        ]
        feeds = self.feeds.naming(target)
        never = self.judge.refusal(target, session)
        blocked = bool(feeds) or any(one.action >= Action.BLOCK for one in own)
        pardoned_s = self.judge.pardoned_s(target.text) or None
        return Explanation(target.text, blocked, tuple(own), feeds, never, pardoned_s)

    def status(self, **more: object) -> GuardStatus:
        """How the guard is; `more` is what only the server knows."""
        troubles = [*self.ledger.troubles, *self.feeds.troubles]
        troubles += [one for backend in self.backends for one in backend.troubles]
        if self.audit.lost:
            troubles.append(f"{self.audit.lost} audit lines could not be written")
        known: dict[str, object] = {
            "pid": os.getpid(),
            "uptime_s": self._clocks.boot_s() - self._started_s,
            "backends": tuple(one.name for one in self.backends),
            "ports": self.place.ports,
            "ports_absent": tuple(
                one for one in self.settings.lan_ports if one not in self.place.ports
            ),
            "blocks": len(self.ledger.held),
            "feeds": {one.name: len(one.targets) for one in self.feeds.all()},
            "spared": tuple(f"{s.target.text}: {s.reason}" for s in self.judge.never.spared),
            "automatic_left": self.judge.automatic_left(),
            "acts": self.acts,
            "refusals": self.teller.refusals,
            "restored": self.restored,
            "missed_events": 0,
            "troubles": tuple(troubles),
            "flowtables": flowtables_if_any(),
        }
        return GuardStatus(**{**known, **more})  # type: ignore[arg-type]

    # ---- what happens by itself ----

    def desired(self) -> Desired:
        """All that ought to stand in the kernel, what operators block first."""
        now_s = self._clocks.boot_s()
        held = sorted(self.ledger.held.values(), key=lambda one: one.origin != "operator")
        entries = (Entry(*one) for one in entries_of(held, now_s))
        return Desired(tuple(entries), self._feeds(), self.place)

    def rebuild(self, why: str, *, feeds: bool = True) -> None:
        """Makes every backend's state the desired one; GuardError when one refuses."""
        desired = self.desired() if feeds else replace(self.desired(), feeds=())
        self._each_backend(lambda backend: backend.rebuild(desired))
        self._built = True
        self.audit.write("rebuild", [{"why": why, "blocks": len(desired.entries)}])

    def restore(self, why: str) -> None:
        """Rebuilds after somebody else has changed what is ours: whom to spare, what operators
        block, what is blocked automatically. Lists may take long: they follow, and that is told.
        """
        self.rebuild(why, feeds=False)
        self.feeds_follow = bool(self.feeds.all())
        self.restored += not self.feeds_follow
        rest = f"; lists follow: {self.feeds.names()}" if self.feeds_follow else ""
        self.teller.tell(GuardEvent("restored", "", why + rest))

    def restore_feeds(self) -> None:
        """Puts in the lists that restore() left out."""
        self.feeds_follow = False
        feeds = self._feeds()
        self._each_backend(lambda backend: backend.load_feeds(feeds))
        self.restored += 1
        count = sum(len(one.targets) for one in feeds)
        self.audit.write("feeds_restored", [{"feeds": len(feeds), "entries": count}])
        self.teller.tell(GuardEvent("feed", self.feeds.names(), "restored", "feed"))

    def see(self, spared: Iterable[Spared], place: Place) -> bool:
        """Takes in the world as it is now: unblocks who must be spared; True when places moved."""
        own = (spare(text, "protect.never in guard.toml") for text in self.settings.protect.never)
        never = NeverBlock((*own, *spared))
        changed = never.spared != self.judge.never.spared
        if changed:
            targets = [one.target for one in never.spared]
            self._each_backend(lambda backend: backend.spare(targets))
        before = self._feeds() if changed and self._built else None
        self.judge.never = never
        if before is not None and (feeds := self._feeds()) != before:
            self._each_backend(lambda backend: backend.load_feeds(feeds))
        moved, self.place = place != self.place, place
        held = self.ledger.held.items()
        hit: dict[str, Held | None] = {
            text: one for text, one in held if self.judge.never.refusal(one.target)
        }
        if hit:
            self._act(hit, {})
            reason = "is never blocked: the network has changed"
            self.teller.unblocked(hit, reason, None)
        return moved

    def expire(self) -> None:
        """Forgets what has come to its end; the kernel has done so by itself, but for prefixes
        that a longer one hid.
        """
        gone = self.ledger.expired()
        now_s = self._clocks.boot_s()
        if gone or self._lately:
            old_s = now_s - LATELY_S
            self._lately = {text: one for text, one in self._lately.items() if one[0] > old_s}
            self._lately |= {one.target.text: (now_s, one.action) for one in gone}
        prefixes = [one for one in gone if one.target.kind == "prefix"]
        if prefixes:
            changes = [Change(one.target, one.action, None) for one in prefixes]
            self._each_backend(lambda backend: backend.apply(changes, self._prefixes))
        if gone:
            self._each_backend(lambda backend: backend.tidy())
            self.teller.expired(gone)

    def adopt(self, entries: Iterable[Entry]) -> int:
        """Takes over what the kernel holds when the state file was lost; returns how many."""
        now_s, wall_s = self._clocks.boot_s(), self._clocks.wall_s()
        why = "found in the kernel; the state file was lost"
        ends = [(one, None if one.left_s is None else now_s + one.left_s) for one in entries]
        taken = [
            Held(one.target, Terms(one.action, until_s, wall_s, why, "automatic"))
            for one, until_s in ends
        ]
        self.ledger.put(taken)
        if taken:
            self.audit.write("adopted", [{"target": one.target.text} for one in taken])
        return len(taken)

    def close(self, *, keep: bool) -> None:
        """Lets go of the backends and files; what stands is kept or removed."""
        try:
            for backend in self.backends:
                backend.close(keep=keep)
        finally:
            self.audit.write("stopped", [{"kept": keep}])
            self.ledger.close()
            self.audit.close()

    # ---- how ----

    def _act(self, before: dict[str, Held | None], after: dict[str, Held]) -> None:
        """Writes, then does; GuardError when a backend refuses, and then nothing has changed."""
        changes = self._changes(before, after)
        if not changes:
            return
        self._record(before, after)
        if not self._built:  # before the start: the first rebuild does it
            return
        self._each_backend(
            lambda backend: backend.apply(changes, self._prefixes),
            lambda: self._record(after, {text: held for text, held in before.items() if held}),
        )
        self.acts += len(changes)

    def _changes(self, before: dict[str, Held | None], after: dict[str, Held]) -> list[Change]:
        """What backends have to do; blocks of the same terms have the same float as their time."""
        changes = []
        now_s = self._clocks.boot_s()
        terms: Terms | None = None
        left_s: float | None = None
        for text, old in before.items():
            new = after.get(text)
            if old is new:
                continue
            was = old.action if old else None
            if old is None and self._lately:
                was = self._lately.get(text, _NOT_LATELY)[1]
            if new is not None:
                if new.terms is not terms:
                    terms, left_s = new.terms, new.left_s(now_s)
                changes.append(Change(new.target, was, new.terms.action, left_s))
            elif old is not None:
                changes.append(Change(old.target, was, None, None))
        return changes

    def _record(self, before: Mapping[str, object], after: dict[str, Held]) -> None:
        """Writes what stands; nothing is in `after` that is not in `before`."""
        if len(before) != len(after):
            self.ledger.drop(text for text in before if text not in after)
        self.ledger.put(after.values())

    def _each_backend(
        self, act: Callable[[Backend], None], take_back: Callable[[], None] = lambda: None
    ) -> None:
        """All backends do it; where one refuses, what was noted is taken back, and those that have
        done it are made to follow.
        """
        done: list[Backend] = []
        for backend in self.backends:
            try:
                act(backend)
            except GuardError:
                take_back()
                for earlier in done:
                    earlier.rebuild(self.desired())
                raise
            done.append(backend)

    def _feeds(self) -> tuple[Feed, ...]:
        """What stands of the lists, without what must not be blocked now."""
        never = self.judge.never
        return tuple(
            replace(one, targets=tuple(t for t in one.targets if not never.refusal(t)))
            for one in self.feeds.all()
        )

    def _prefixes(self) -> Iterator[Entry]:
        held = (one for one in self.ledger.held.values() if one.target.kind == "prefix")
        return (Entry(*one) for one in entries_of(held, self._clocks.boot_s()))
