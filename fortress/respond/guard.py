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
from dataclasses import dataclass

from fortress.errors import GuardError
from fortress.respond.audit import Audit
from fortress.respond.backend import Backend, Change, Desired, Entry, Place
from fortress.respond.block import MOST_SECONDS, MOST_WHY, SITE_BITS, Target, parse_target
from fortress.respond.budget import Budget
from fortress.respond.feed_shelf import FeedShelf
from fortress.respond.guard_settings import GuardSettings
from fortress.respond.ledger import Clocks, Held, Ledger, entries_of
from fortress.respond.messages import (
    Add,
    Explanation,
    FeedLoaded,
    Group,
    GuardEvent,
    GuardStatus,
    LoadFeed,
    Note,
    Notes,
    Remove,
    StandingList,
)
from fortress.respond.never_block import NeverBlock, Spared, spare
from fortress.respond.spared import from_session
from fortress.verdict import Action

PARDON_S = 3600.0  # for so long a target that an operator unblocked is not blocked automatically
SHORTEST_AUTOMATIC = {4: 24, 6: 48}
SHORTEST_FEED = {4: 8, 6: 16}
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
_MOST_UNDONE = 64
_MOST_TOLD_REFUSALS = 20
_MOST_PARDONS = 4096


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: the peer's process and user, and whether it may act as an operator."""

    uid: int
    pid: int
    operator: bool

    @property
    def name(self) -> str:
        """How the audit names the asker."""
        return f"uid {self.uid} pid {self.pid}"


@dataclass(slots=True)
class _Plan:
    """What a request comes to: blocks as they will be, and what is to be said of targets."""

    put: dict[str, Held]
    notes: list[Note]


class Guard:
    """Holds what ought to stand, and makes the backends follow."""

    def __init__(
        self,
        settings: GuardSettings,
        backends: Sequence[Backend],
        clocks: Clocks | None = None,
        tell: Callable[[GuardEvent], None] = lambda _: None,
    ) -> None:
        self.settings, self.backends, self.tell = settings, backends, tell
        self._clocks = clocks or Clocks()
        self.ledger = Ledger(settings.state / "blocks.jsonl", self._clocks)
        self.feeds = FeedShelf(settings.state / "feeds", settings.feeds, self._clocks)
        self.audit = Audit(settings.audit, self._clocks.wall_s)
        self.place = Place()
        self.never = NeverBlock(())
        self._automatic = Budget(settings.limits.automatic_per_minute, self._clocks.boot_s)
        self._unconfirmed = Budget(settings.limits.unconfirmed, self._clocks.boot_s)
        self._undo: deque[dict[str, Held | None]] = deque(maxlen=_MOST_UNDONE)
        self._pardons: dict[str, float] = {}
        self._started_s = self._clocks.boot_s()
        self.acts = self.refusals = self.restored = 0

    # ---- what is asked for ----

    def add(self, asked: Add, asker: Asker) -> Notes:
        """Blocks what may be blocked; GuardError when nothing of it can be done."""
        number = sum(len(group.targets) for group in asked.groups)
        self._check_number(asked, number)
        session = self._never_for(asked.session)
        plan = _Plan({}, [])
        at = 0
        for group in asked.groups:
            self._check_group(group, asker)
            for text in group.targets:
                held, note = self._judge(text, group, session, plan)
                if held is not None:
                    plan.put[held.target.text] = held
                if note:
                    plan.notes.append(Note(at, held is not None, note))
                at += 1
        before = {text: self.ledger.held.get(text) for text in plan.put}
        self._act(before, plan.put)
        operator = all(group.origin == "operator" for group in asked.groups)
        if operator and before:
            self._undo.append(before)
        self._told_blocks(plan.put.values(), asker)
        self._told_refusals(asked, plan.notes, asker)
        return Notes(tuple(plan.notes))

    def remove(self, asked: Remove, asker: Asker) -> Notes:
        """Unblocks; an automatic request leaves an operator's blocks alone."""
        _check_origin(asked.origin, asker)
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
            self._pardon(before)
            if before:
                self._undo.append(before)
        self._told_unblocked(before, asked.why or "asked for", asker)
        self._refused([{"target": asked.targets[n.at], "reason": n.reason} for n in notes], asker)
        return Notes(tuple(notes))

    def undo(self, asker: Asker) -> Notes:
        """Takes an operator's last act back; the answer names the targets."""
        _check_origin("operator", asker)
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
            if refusal := self.never.refusal(held.target):
                del put[text]
                notes.append(Note(at, False, refusal))
        before = {text: self.ledger.held.get(text) for text in wanted}
        self._act(before, put)
        gone = {text: held for text, held in before.items() if text not in put}
        self._pardon(gone)
        self._told_unblocked(gone, "undone", asker)
        self._told_blocks(put.values(), asker)
        return Notes(tuple(notes), tuple(wanted))

    def load_feed(self, asked: LoadFeed, asker: Asker) -> FeedLoaded:
        """Replaces a list's entries; what must not be blocked is left out and told."""
        rule = self.settings.feeds.get(asked.name)
        if rule is None:
            known = ", ".join(self.settings.feeds) or "none"
            raise GuardError(
                f"the list {asked.name} is not in guard.toml (it names {known})",
                f"add [feeds.{asked.name}] with most = the number of entries it may have",
            )
        if len(asked.targets) > rule.most:
            raise GuardError(
                f"the list {asked.name} has {len(asked.targets)} entries, {rule.most} are allowed",
                f"raise feeds.{asked.name}.most in guard.toml, or take another list",
            )
        if not 1 <= asked.seconds <= MOST_SECONDS:
            raise GuardError(f"a list stands 1 to {MOST_SECONDS:g} seconds", "say for how long")
        never = NeverBlock((*self.never.spared, *self._links_spared()))
        kept, refused = [], []
        for text in asked.targets:
            try:
                target = parse_target(text)
            except ValueError as error:
                refused.append(str(error))
                continue
            if reason := _too_short(target, SHORTEST_FEED) or never.refusal(target):
                refused.append(f"{target.text}: {reason}")
            elif target.kind == "mac":
                refused.append(f"{target.text}: a list names no MAC")
            else:
                kept.append(target)
        before = self.feeds.all()
        self.feeds.put(asked.name, kept, asked.seconds)
        self._each_backend(
            lambda backend: backend.load_feeds(self.feeds.all()),
            lambda: self.feeds.restore(before),
        )
        self.feeds.save(asked.name)
        self.acts += 1
        facts: dict[str, object] = {
            "feed": asked.name, "entries": len(kept), "refused": len(refused),
            "seconds": asked.seconds,
        }  # fmt: skip
        self.audit.write("feed", [facts], asker.name)
        self._refused([{"feed": asked.name, "reason": reason} for reason in refused], asker)
        self.tell(GuardEvent("feed", asked.name, f"{len(kept)} entries", "feed"))
        return FeedLoaded(asked.name, len(kept), len(refused), tuple(refused[:_MOST_TOLD_REFUSALS]))

    def blocks(self) -> StandingList:
        """Everything that stands, with the packets that met it."""
        now_s = self._clocks.boot_s()
        hits: dict[str, int] = {}
        for backend in self.backends:
            for text, packets in backend.hits().items():
                hits[text] = hits.get(text, 0) + packets
        return StandingList(
            tuple(one.standing(now_s, hits.get(text)) for text, one in self.ledger.held.items())
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
        pardoned_s = self._pardons.get(target.text, 0.0) - now_s
        never = self.never.refusal(target) or (self._never_for(session).refusal(target))
        blocked = bool(feeds) or any(one.action >= Action.BLOCK for one in own)
        told = pardoned_s if pardoned_s > 0 else None
        return Explanation(target.text, blocked, tuple(own), feeds, never, told)

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
            "spared": tuple(f"{s.target.text}: {s.reason}" for s in self.never.spared),
            "automatic_left": self._automatic.left(),
            "acts": self.acts,
            "refusals": self.refusals,
            "restored": self.restored,
            "missed_events": 0,
            "troubles": tuple(troubles),
        }
        return GuardStatus(**{**known, **more})  # type: ignore[arg-type]

    # ---- what happens by itself ----

    def desired(self) -> Desired:
        """All that ought to stand in the kernel."""
        now_s = self._clocks.boot_s()
        entries = (Entry(*one) for one in entries_of(self.ledger.held.values(), now_s))
        return Desired(tuple(entries), self.feeds.all(), self.place)

    def rebuild(self, why: str) -> None:
        """Makes every backend's state the desired one; GuardError when one refuses."""
        desired = self.desired()
        self._each_backend(lambda backend: backend.rebuild(desired))
        self.audit.write("rebuild", [{"why": why, "blocks": len(desired.entries)}])

    def restore(self, why: str) -> None:
        """Rebuilds after somebody else has changed what is ours."""
        self.rebuild(why)
        self.restored += 1
        self.tell(GuardEvent("restored", "", why))

    def see(self, spared: Iterable[Spared], place: Place) -> bool:
        """Takes in the world as it is now: unblocks who must be spared; True when places moved."""
        own = (spare(text, "protect.never in guard.toml") for text in self.settings.protect.never)
        never = NeverBlock((*own, *spared))
        if never.spared != self.never.spared:
            targets = [one.target for one in never.spared]
            self._each_backend(lambda backend: backend.spare(targets))
        self.never = never
        moved, self.place = place != self.place, place
        held = self.ledger.held.items()
        hit: dict[str, Held | None] = {
            text: one for text, one in held if self.never.refusal(one.target)
        }
        if hit:
            self._act(hit, {})
            reason = "is never blocked: the network has changed"
            self._told_unblocked(hit, reason, None)
        return moved

    def expire(self) -> None:
        """Forgets what has come to its end; the kernel has done so by itself, but for prefixes
        that a longer one hid.
        """
        gone = self.ledger.expired()
        prefixes = [one for one in gone if one.target.kind == "prefix"]
        if prefixes:
            changes = [Change(one.target, one.action, None) for one in prefixes]
            self._each_backend(lambda backend: backend.apply(changes, self._prefixes))
        if gone:
            self._each_backend(lambda backend: backend.tidy())
            self.audit.write("expired", [{"target": one.target.text} for one in gone])
        for one in gone:
            self.tell(GuardEvent("expired", one.target.text, one.why, one.origin))

    def adopt(self, entries: Iterable[Entry]) -> int:
        """Takes over what the kernel holds when the state file was lost; returns how many."""
        now_s, wall_s = self._clocks.boot_s(), self._clocks.wall_s()
        taken = [
            Held(
                one.target,
                one.action,
                None if one.left_s is None else now_s + one.left_s,
                wall_s,
                "found in the kernel; the state file was lost",
                "automatic",
            )
            for one in entries
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

    def _judge(
        self, text: str, group: Group, session: NeverBlock, plan: _Plan
    ) -> tuple[Held | None, str]:
        """The block that a target gets, or None, and what is to be said of it."""
        try:
            target = parse_target(text)
        except ValueError as error:
            return None, str(error)
        if reason := self.never.refusal(target) or session.refusal(target):
            return None, reason
        site = target.kind == "prefix" and target.version == 6 and target.bits == SITE_BITS
        if group.action is Action.QUARANTINE and target.kind == "prefix" and not site:
            return None, f"{target.text}: a prefix is blocked or limited, not quarantined"
        stands = plan.put.get(target.text) or self.ledger.held.get(target.text)
        if group.origin == "automatic":
            if reason := self._automatic_refusal(target):
                return None, reason
            if stands is not None and (kept := self._stands_better(stands, group)):
                return stands, kept
            if not self._automatic.spend():
                most = self.settings.limits.automatic_per_minute
                return None, f"{target.text}: more than {most} automatic blocks in a minute"
        new = target.text not in self.ledger.held and target.text not in plan.put
        if new and len(self.ledger.held) + len(plan.put) >= self.settings.limits.most_blocks:
            return None, f"{target.text}: {self.settings.limits.most_blocks} blocks stand already"
        until_s = None if group.seconds is None else self._clocks.boot_s() + group.seconds
        since_s = self._clocks.wall_s()
        return Held(
            target, group.action, until_s, since_s, group.why, group.origin, group.signatures
        ), ""

    def _automatic_refusal(self, target: Target) -> str:
        if reason := _too_short(target, SHORTEST_AUTOMATIC):
            return f"{target.text}: {reason} for an automatic block"
        left_s = self._pardons.get(target.text, 0.0) - self._clocks.boot_s()
        if left_s > 0:
            return f"{target.text}: an operator unblocked it, {left_s:.0f} s of grace remain"
        return ""

    def _stands_better(self, stands: Held, group: Group) -> str:
        """Why an automatic block changes nothing of what stands, nothing when it does."""
        if stands.origin == "operator":
            return "stands already, by an operator"
        until_s = self._clocks.boot_s() + (group.seconds or 0.0)
        longer = stands.until_s is None or stands.until_s >= until_s
        return "stands already" if longer and stands.action >= group.action else ""

    def _act(self, before: dict[str, Held | None], after: dict[str, Held]) -> None:
        """Writes, then does; GuardError when a backend refuses, and then nothing has changed."""
        changes = []
        now_s = self._clocks.boot_s()
        for text, old in before.items():
            new = after.get(text)
            if old is new:
                continue
            known = new or old
            if known is not None:
                left_s = new.left_s(now_s) if new else None
                action = new.action if new else None
                changes.append(Change(known.target, old.action if old else None, action, left_s))
        if not changes:
            return
        self._record(before, after)
        self._each_backend(
            lambda backend: backend.apply(changes, self._prefixes),
            lambda: self._record(after, {text: held for text, held in before.items() if held}),
        )
        self.acts += len(changes)

    def _record(self, before: Iterable[str], after: dict[str, Held]) -> None:
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

    def _prefixes(self) -> Iterator[Entry]:
        held = (one for one in self.ledger.held.values() if one.target.kind == "prefix")
        return (Entry(*one) for one in entries_of(held, self._clocks.boot_s()))

    def _never_for(self, session: str) -> NeverBlock:
        return NeverBlock(from_session({"SSH_CONNECTION": session}))

    def _links_spared(self) -> list[Spared]:
        """Private networks on our links: lists of bogus networks name them, and we live there."""
        private = NeverBlock(spare(text, "private") for text in PRIVATE)
        links = (one for one in self.place.links if private.refusal(one))
        return [Spared(link, "a network of ours") for link in links]

    def _check_number(self, asked: Add, number: int) -> None:
        if not number:
            raise GuardError("no target is named", "name an address, a prefix or a MAC")
        operators = sum(len(g.targets) for g in asked.groups if g.origin == "operator")
        if operators and not asked.confirmed:
            if operators > self._unconfirmed.left():
                most = self.settings.limits.unconfirmed
                raise GuardError(
                    f"{operators} targets are more than the {most} a minute that need no"
                    " confirmation",
                    "confirm the number (--yes)",
                )
            for _ in range(operators):
                self._unconfirmed.spend()

    def _check_group(self, group: Group, asker: Asker) -> None:
        _check_origin(group.origin, asker)
        most = (
            self.settings.limits.automatic_most_seconds
            if group.origin == "automatic"
            else MOST_SECONDS
        )
        if group.seconds is None and group.origin == "automatic":
            raise GuardError("an automatic block needs an end", "say for how many seconds")
        if group.seconds is not None and not 0.001 <= group.seconds <= most:
            raise GuardError(
                f"{group.seconds:g} seconds: a block of origin {group.origin} lasts 0.001 to"
                f" {most:g}",
                "choose another time",
            )
        if group.action < Action.LIMIT:
            raise GuardError(f"{group.action.name} blocks nothing", "LIMIT, BLOCK or QUARANTINE")
        if len(group.why) > MOST_WHY:
            raise GuardError(f"the reason is longer than {MOST_WHY} characters", "shorten it")

    def _pardon(self, unblocked: Iterable[str]) -> None:
        now_s = self._clocks.boot_s()
        self._pardons = {text: s for text, s in self._pardons.items() if s > now_s}
        for text in unblocked:
            if len(self._pardons) < _MOST_PARDONS:
                self._pardons[text] = now_s + PARDON_S

    def _told_blocks(self, blocks: Iterable[Held], asker: Asker) -> None:
        now_s = self._clocks.boot_s()
        facts: list[dict[str, object]] = []
        for one in blocks:
            left_s = one.left_s(now_s)
            facts.append(
                {
                    "target": one.target.text,
                    "action": one.action.name,
                    "seconds": None if left_s is None else round(left_s, 3),
                    "origin": one.origin,
                    "why": one.why,
                    "signatures": list(one.signatures),
                }
            )
            self.tell(GuardEvent("blocked", one.target.text, one.why, one.origin))
        if facts:
            self.audit.write("block", facts, asker.name)

    def _told_unblocked(
        self, blocks: Mapping[str, Held | None], why: str, asker: Asker | None
    ) -> None:
        facts: list[dict[str, object]] = [{"target": text, "why": why} for text in blocks]
        if facts:
            self.audit.write("unblock", facts, asker.name if asker else "guard")
        for text in blocks:
            self.tell(GuardEvent("unblocked", text, why))

    def _told_refusals(self, asked: Add, notes: Sequence[Note], asker: Asker) -> None:
        refused = [one for one in notes if not one.done]
        if not refused:
            return
        named = [(group.origin, text) for group in asked.groups for text in group.targets]
        facts: list[dict[str, object]] = []
        for one in refused:
            origin, text = named[one.at]
            facts.append({"target": text[:128], "origin": origin, "reason": one.reason})
        self._refused(facts, asker)

    def _refused(self, facts: list[dict[str, object]], asker: Asker) -> None:
        if not facts:
            return
        self.refusals += len(facts)
        self.audit.write("refuse", facts, asker.name)
        for one in facts[:_MOST_TOLD_REFUSALS]:
            target = str(one.get("target", one.get("feed", "")))
            self.tell(GuardEvent("refused", target, str(one["reason"]), str(one.get("origin", ""))))


def _check_origin(origin: str, asker: Asker) -> None:
    if origin == "feed":
        raise GuardError("lists are loaded whole", "load_feed replaces a list's entries")
    if origin == "operator" and not asker.operator:
        raise GuardError(
            f"{asker.name} may not act as an operator",
            "be root, or in the group access.operators of guard.toml",
        )


def _too_short(target: Target, shortest: dict[int, int]) -> str:
    least = shortest.get(target.version, 0)
    return f"a prefix shorter than /{least} is too wide" if target.bits < least else ""
