# SPDX-License-Identifier: Apache-2.0
"""What may be blocked: the limits that hold whoever asks, whatever policy wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from fortress.errors import GuardError
from fortress.respond.answers import Note
from fortress.respond.block import MOST_SECONDS, MOST_WHY, SITE_BITS, Target, parse_target
from fortress.respond.budget import Budget
from fortress.respond.guard_settings import GuardSettings
from fortress.respond.ledger import Clocks, Held, Terms
from fortress.respond.messages import Add, Group
from fortress.respond.never_block import NeverBlock, Spared, spare
from fortress.respond.spared import from_session
from fortress.verdict import Action

PARDON_S = 3600.0  # for so long a target that an operator unblocked is not blocked automatically
SHORTEST_AUTOMATIC = {4: 24, 6: 48}
SHORTEST_FEED = {4: 8, 6: 16}
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
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
class Plan:
    """What a request comes to: blocks as they will be and were until now, by target, in the same
    order; what is to be said; how many are new.
    """

    put: dict[str, Held] = field(default_factory=dict)
    before: dict[str, Held | None] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    new: int = 0


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for the targets of a group; whom else to spare."""

    group: Group
    terms: Terms
    session: NeverBlock | None


class Judge:
    """Knows the never-block list, budgets, and whom an operator has pardoned."""

    def __init__(self, settings: GuardSettings, clocks: Clocks) -> None:
        self._settings, self._clocks = settings, clocks
        self.never = NeverBlock(())
        self._automatic = Budget(settings.limits.automatic_per_minute, clocks.boot_s)
        self._unconfirmed = Budget(settings.limits.unconfirmed, clocks.boot_s)
        self._pardons: dict[str, float] = {}

    def plan(self, asked: Add, asker: Asker, held: Mapping[str, Held]) -> Plan:
        """What a request comes to beside what is held; GuardError when all of it is refused."""
        self._check_number(asked)
        session = _session(asked.session) if asked.session else None
        plan, first = Plan(), 0
        for group in asked.groups:
            self._check_group(group, asker)
            wanted = _Wanted(group, self._terms(group), session)
            for at, text in enumerate(group.targets, first):
                done, note = self._judge(text, wanted, held, plan)
                if note:
                    plan.notes.append(Note(at, done, note))
            first += len(group.targets)
        return plan

    def _terms(self, group: Group) -> Terms:
        until_s = None if group.seconds is None else self._clocks.boot_s() + group.seconds
        told = (self._clocks.wall_s(), group.why, group.origin, group.signatures)
        return Terms(group.action, until_s, *told)

    def sift(self, texts: Iterable[str], links: Sequence[Target]) -> tuple[list[Target], list[str]]:
        """Of a list's entries those that may be blocked, and why the others may not."""
        private = NeverBlock(spare(text, "private") for text in PRIVATE)
        ours = (Spared(one, "a network of ours") for one in links if private.refusal(one))
        never = NeverBlock((*self.never.spared, *ours))
        kept, refused = [], []
        for text in texts:
            try:
                target = parse_target(text)
            except ValueError as error:
                refused.append(str(error))
                continue
            if target.kind == "mac":
                refused.append(f"{target.text}: a list names no MAC")
            elif reason := too_short(target, SHORTEST_FEED) or never.refusal(target):
                refused.append(f"{target.text}: {reason}")
            else:
                kept.append(target)
        return kept, refused

    def refusal(self, target: Target, session: str) -> str:
        """Why a target is never blocked, nothing when it may be."""
        return self.never.refusal(target) or _session(session).refusal(target)

    def pardon(self, unblocked: Iterable[str]) -> None:
        """An operator has unblocked these: they are left alone for a while."""
        now_s = self._clocks.boot_s()
        self._pardons = {text: s for text, s in self._pardons.items() if s > now_s}
        for text in unblocked:
            if len(self._pardons) < _MOST_PARDONS:
                self._pardons[text] = now_s + PARDON_S

    def pardoned_s(self, text: str) -> float:
        """For how long a target is left alone yet, 0 when it is not."""
        return max(0.0, self._pardons.get(text, 0.0) - self._clocks.boot_s())

    def pardons(self) -> dict[str, float]:
        """For how many seconds more each pardoned target is left alone."""
        now_s = self._clocks.boot_s()
        return {text: end_s - now_s for text, end_s in self._pardons.items() if end_s > now_s}

    def automatic_left(self) -> int:
        """How many automatic blocks there may be now."""
        return self._automatic.left()

    def _judge(
        self, text: str, wanted: _Wanted, held: Mapping[str, Held], plan: Plan
    ) -> tuple[bool, str]:
        """Puts the block that a target gets into the plan; whether it has one now, and what is to
        be said of it.
        """
        try:
            target = parse_target(text)
        except ValueError as error:
            return False, str(error)
        if reason := self.never.refusal(target):
            return False, reason
        if wanted.session is not None and (reason := wanted.session.refusal(target)):
            return False, reason
        if target.kind == "prefix" and (reason := _prefix_refusal(target, wanted.group.action)):
            return False, reason
        name = target.text
        planned = plan.put.get(name)
        stands = planned or held.get(name)
        if stands is None and len(held) + plan.new >= self._settings.limits.most_blocks:
            return False, f"{name}: {self._settings.limits.most_blocks} blocks stand already"
        kept = ""
        if wanted.group.origin == "automatic":
            if reason := self._automatic_refusal(target):
                return False, reason
            if stands is not None:
                kept = self._stands_better(stands, wanted.group)
            if not kept and not self._automatic.spend():
                most = self._settings.limits.automatic_per_minute
                return False, f"{name}: more than {most} automatic blocks in a minute"
        plan.put[name] = stands if kept and stands else Held(target, wanted.terms)
        if planned is None:
            plan.before[name] = stands
            plan.new += stands is None
        return True, kept

    def _automatic_refusal(self, target: Target) -> str:
        if reason := too_short(target, SHORTEST_AUTOMATIC):
            return f"{target.text}: {reason} for an automatic block"
        left_s = self.pardoned_s(target.text)
        if left_s:
            return f"{target.text}: an operator unblocked it, {left_s:.0f} s of grace remain"
        return ""

    def _stands_better(self, stands: Held, group: Group) -> str:
        """Why an automatic block changes nothing of what stands, nothing when it does."""
        if stands.origin == "operator":
            return "stands already, by an operator"
        until_s = self._clocks.boot_s() + (group.seconds or 0.0)
        longer = stands.until_s is None or stands.until_s >= until_s
        return "stands already" if longer and stands.action >= group.action else ""

    def _check_number(self, asked: Add) -> None:
        if not any(group.targets for group in asked.groups):
            raise GuardError("no target is named", "name an address, a prefix or a MAC")
        operators = sum(len(g.targets) for g in asked.groups if g.origin == "operator")
        if asked.confirmed or not operators:
            return
        if operators > self._unconfirmed.left():
            most = self._settings.limits.unconfirmed
            raise GuardError(
                f"{operators} targets are more than the {most} a minute that need no confirmation",
                "confirm the number (--yes)",
            )
        for _ in range(operators):
            self._unconfirmed.spend()

    def _check_group(self, group: Group, asker: Asker) -> None:
        check_origin(group.origin, asker)
        automatic = group.origin == "automatic"
        most_s = self._settings.limits.automatic_most_seconds if automatic else MOST_SECONDS
        if group.seconds is None and automatic:
            raise GuardError("an automatic block needs an end", "say for how many seconds")
        if group.seconds is not None and not 0.001 <= group.seconds <= most_s:
            raise GuardError(
                f"{group.seconds:g} seconds: a block of origin {group.origin} lasts 0.001 to"
                f" {most_s:g}",
                "choose another time",
            )
        if group.action < Action.LIMIT:
            raise GuardError(f"{group.action.name} blocks nothing", "LIMIT, BLOCK or QUARANTINE")
        if len(group.why) > MOST_WHY:
            raise GuardError(f"the reason is longer than {MOST_WHY} characters", "shorten it")


@lru_cache(maxsize=8)
def _session(address: str) -> NeverBlock:
    return NeverBlock(from_session({"SSH_CONNECTION": address}))


def _prefix_refusal(target: Target, action: Action) -> str:
    site = target.version == 6 and target.bits == SITE_BITS
    if action is Action.QUARANTINE and not site:
        return f"{target.text}: a prefix is blocked or limited, not quarantined"
    return ""


def check_origin(origin: str, asker: Asker) -> None:
    """GuardError when the asker may not act so."""
    if origin == "feed":
        raise GuardError("lists are loaded whole", "load_feed replaces a list's entries")
    if origin == "operator" and not asker.operator:
        raise GuardError(
            f"{asker.name} may not act as an operator",
            "be root, or in the group access.operators of guard.toml",
        )


def too_short(target: Target, shortest: Mapping[int, int]) -> str:
    """Why a prefix is too wide, nothing when it is not."""
    least = shortest.get(target.version, 0)
    return f"a prefix shorter than /{least} is too wide" if target.bits < least else ""
