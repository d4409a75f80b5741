# SPDX-License-Identifier: Apache-2.0
"""Verdicts become acts: whom exactly, for how long, and whether to tell, to ask or to do.

Pure but for what it remembers of offenders: who offends again is blocked for longer (STEPS_S), and
each quiet FORGET_S after a block's end takes one step back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from fortress.respond.block import Block, Target, parse_target, site_of
from fortress.verdict import Action, Verdict

STEPS_S = (600.0, 3600.0, 86_400.0)
FORGET_S = 86_400.0
RENEW = 0.5  # what stands is renewed when less than this part of its time is left
MOST_OFFENDERS = 4096
# Networks that are ours when they are on our links (RFC 1918, 6598, 4193, 3927, 4291).
_LOCAL = tuple(
    parse_target(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
        "fc00::/7", "fe80::/10",
    )
)  # fmt: skip


class Mode(StrEnum):
    """What becomes of decisions: told only, done when a person agrees, done."""

    MONITOR = "monitor"
    CONFIRM = "confirm"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """How strict the policy is; `least` is the mildest verdict that is acted upon."""

    mode: Mode = Mode.MONITOR
    steps_s: tuple[float, ...] = STEPS_S
    forget_s: float = FORGET_S
    least: Action = Action.LIMIT


@dataclass(frozen=True, slots=True)
class Decision:
    """An act: `do` it, `ask` for it, or only `tell` it; `offence` counts from 1."""

    act: Literal["tell", "ask", "do"]
    block: Block
    offence: int
    until_s: float

    def sentence(self) -> str:
        """What is done or would be done, for people."""
        verb = {"tell": "would", "ask": "asks to", "do": "does"}[self.act]
        block = self.block
        again = f", offence {self.offence}" if self.offence > 1 else ""
        time = f"for {block.seconds:.0f} s{again}"
        return f"{verb} {block.action.name.lower()} {block.target} {time}: {block.why}"


@dataclass(frozen=True, slots=True)
class _Offender:
    offences: int
    action: Action
    begun_s: float
    until_s: float


_ACTS: dict[Mode, Literal["tell", "ask", "do"]] = {
    Mode.MONITOR: "tell",
    Mode.CONFIRM: "ask",
    Mode.ENFORCE: "do",
}


class Policy:
    """Turns verdicts into decisions; `waiting` holds those that a person has yet to agree to."""

    def __init__(self, settings: PolicySettings | None = None) -> None:
        self._settings = settings or PolicySettings()
        if not self._settings.steps_s or min(self._settings.steps_s) <= 0:
            raise ValueError("steps_s: at least one time, each more than 0 seconds")
        self._offenders: dict[str, _Offender] = {}
        self._waiting: dict[str, Decision] = {}

    def retune(self, settings: PolicySettings) -> None:
        """Go on with other settings; offenders and what waits are remembered."""
        self._settings = settings

    def decide(
        self, verdicts: Iterable[Verdict], now_s: float, macs: Mapping[str, str] | None = None
    ) -> tuple[Decision, ...]:
        """What follows from verdicts that are new, stronger or renewed.

        `now_s` is on the verdicts' clock; `macs` knows the MACs of local addresses.
        """
        decisions = []
        for verdict in verdicts:
            if verdict.action < self._settings.least:
                continue
            target = target_of(verdict.target, macs or {})
            if target is not None and (decision := self._decide(verdict, target, now_s)):
                decisions.append(decision)
        return tuple(decisions)

    def waiting(self, now_s: float) -> tuple[Decision, ...]:
        """Decisions that nobody has agreed to and whose time is not over."""
        self._waiting = {t: one for t, one in self._waiting.items() if one.until_s > now_s}
        return tuple(self._waiting.values())

    def agree(self, target: str, now_s: float) -> Decision | None:
        """The decision that was waiting for a target, now to be done; None when there is none."""
        self.waiting(now_s)
        decision = self._waiting.pop(target, None)
        return None if decision is None else replace(decision, act="do")

    def forgive(self, target: str) -> None:
        """Forget what a target did: an operator has unblocked it."""
        self._offenders.pop(target, None)
        self._waiting.pop(target, None)

    def refused(self, target: str) -> None:
        """What was decided last for a target was not done: it is no offence that counts."""
        if (known := self._offenders.get(target)) is not None:
            self._offenders[target] = replace(known, offences=known.offences - 1)

    def _decide(self, verdict: Verdict, target: Target, now_s: float) -> Decision | None:
        known = self._offenders.get(target.text)
        wanted_until_s = verdict.until_ns / 1e9
        if known is not None and now_s < known.until_s:
            left = (known.until_s - now_s) / (known.until_s - known.begun_s)
            if verdict.action <= known.action and (left > RENEW or wanted_until_s <= known.until_s):
                return None
            offences = max(1, known.offences)
        else:
            offences = self._remembered(known, now_s) + 1
        steps = self._settings.steps_s
        step_s = steps[min(offences, len(steps)) - 1]
        until_s = max(now_s + step_s, wanted_until_s)
        self._remember(target.text, _Offender(offences, verdict.action, now_s, until_s))
        block = Block(
            target.text,
            target.kind,
            verdict.action,
            until_s - now_s,
            verdict.why[:512],
            "automatic",
            verdict.signatures,
        )
        decision = Decision(_ACTS[self._settings.mode], block, offences, until_s)
        if decision.act == "ask":
            self._waiting[target.text] = decision
        return decision

    def _remembered(self, known: _Offender | None, now_s: float) -> int:
        """Offences that still count: one fewer for each quiet stretch since the last block."""
        if known is None:
            return 0
        return max(0, known.offences - int((now_s - known.until_s) / self._settings.forget_s))

    def _remember(self, text: str, offender: _Offender) -> None:
        self._offenders.pop(text, None)
        if len(self._offenders) >= MOST_OFFENDERS:
            soonest = min(self._offenders, key=lambda one: self._offenders[one].until_s)
            del self._offenders[soonest]
            self._waiting.pop(soonest, None)
        self._offenders[text] = offender


def target_of(host: str, macs: Mapping[str, str]) -> Target | None:
    """What of a host is blocked: a local device's MAC where it is known, the address, or the /64 of
    a remote IPv6 address (who has one address of it has them all); None for what is no host.
    """
    try:
        target = parse_target(host)
    except ValueError:
        return None
    if target.kind != "addr":
        return target
    mac = macs.get(target.text, "")
    if mac:
        return parse_target(mac)
    local = any(
        one.version == target.version and one.first <= target.first <= one.last for one in _LOCAL
    )
    if target.version == 6 and not local:
        return parse_target(site_of(target))
    return target
