# SPDX-License-Identifier: Apache-2.0
"""What may be blocked: the limits that hold whoever asks, whatever policy wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from fortress.errors import GuardError
from fortress.respond.block import MOST_SECONDS, MOST_WHY, SITE_BITS, Target, parse_target
from fortress.respond.budget import Budget
from fortress.respond.guard_settings import GuardSettings
from fortress.respond.ledger import Clocks, Held
from fortress.respond.messages import Add, Group, Note
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
    """What a request comes to: blocks as they will be, what is to be said, how many are new."""

    put: dict[str, Held] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    new: int = 0


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for the targets of a group, from when until when."""

    group: Group
    session: NeverBlock
    until_s: float | None
    since_s: float


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
        session = _session(asked.session)
        plan, at = Plan(), 0
        for group in asked.groups:
            self._check_group(group, asker)
            until_s = None if group.seconds is None else self._clocks.boot_s() + group.seconds
            wanted = _Wanted(group, session, until_s, self._clocks.wall_s())
            for text in group.targets:
                block, note = self._judge(text, wanted, held, plan)
                if block is not None:
                    name = block.target.text
                    plan.new += name not in held and name not in plan.put
                    plan.put[name] = block
                if note:
                    plan.notes.append(Note(at, block is not None, note))
                at += 1
        return plan

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

    def automatic_left(self) -> int:
        """How many automatic blocks there may be now."""
        return self._automatic.left()

    def _judge(
        self, text: str, wanted: _Wanted, held: Mapping[str, Held], plan: Plan
    ) -> tuple[Held | None, str]:
        """The block that a target gets, or None, and what is to be said of it."""
        group = wanted.group
        try:
            target = parse_target(text)
        except ValueError as error:
            return None, str(error)
        if reason := self.never.refusal(target) or wanted.session.refusal(target):
            return None, reason
        site = target.kind == "prefix" and target.version == 6 and target.bits == SITE_BITS
        if group.action is Action.QUARANTINE and target.kind == "prefix" and not site:
            return None, f"{target.text}: a prefix is blocked or limited, not quarantined"
        stands = plan.put.get(target.text) or held.get(target.text)
        if stands is None and len(held) + plan.new >= self._settings.limits.most_blocks:
            return None, f"{target.text}: {self._settings.limits.most_blocks} blocks stand already"
        if group.origin == "automatic":
            if reason := self._automatic_refusal(target):
                return None, reason
            if stands is not None and (kept := self._stands_better(stands, group)):
                return stands, kept
            if not self._automatic.spend():
                most = self._settings.limits.automatic_per_minute
                return None, f"{target.text}: more than {most} automatic blocks in a minute"
        times = wanted.until_s, wanted.since_s
        return Held(target, group.action, *times, group.why, group.origin, group.signatures), ""

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
