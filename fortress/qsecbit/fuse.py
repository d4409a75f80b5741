# SPDX-License-Identifier: Apache-2.0
"""Findings become events, parts of the score and verdicts: the only place where verdicts are made.

One part for each (detector, host, target), and on our side for each MAC that sent the frames: the
largest risk, kept fresh by repeats. It is told
again when its risk has risen by RISEN, has become an alarm, or AGAIN_S (of a notice NOTICE_AGAIN_S)
have passed.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fortress.qsecbit.places import Places
from fortress.qsecbit.score import MOST_P, Part, decayed, host_risk, share_names
from fortress.verdict import Action, Finding, Source, Verdict

WATCH = 0.2  # findings of less risk are forgotten at once
ALARM = 0.4
RISEN = 0.2
AGAIN_S, NOTICE_AGAIN_S = 600, 3600
GONE = 0.01  # a part that has decayed to this is dropped
MOST_PARTS = 2048

# What a host's risk asks for, in order of force, and for how long. Blocks need a rule's finding.
STEPS = (
    (0.80, Action.QUARANTINE, 3600),
    (0.55, Action.BLOCK, 900),
    (0.40, Action.LIMIT, 600),
    (WATCH, Action.WATCH, 600),
)
RENEW = 0.5  # a verdict is renewed when half of its time has gone and the reason has not
LOCAL_WEIGHT, REMOTE_WEIGHT, BACKGROUND_WEIGHT = 1.0, 0.6, 0.05
_BACKGROUND = ("T1046", "T1018")  # strangers who look around without success: the Internet's noise
_SECOND = 1_000_000_000
_Key = tuple[str, str, str, str]
_Culprit = tuple[str, str]  # a host, and the MAC that answers for it


@dataclass(frozen=True, slots=True)
class FuseSettings:
    """How long findings count and what follows from them."""

    tau_s: float = 300.0
    model_may_block: bool = False


@dataclass(slots=True)
class _Held:
    finding: Finding
    risk: float
    fresh_ns: int
    told_risk: float
    told_ns: int
    weight: float
    names: tuple[str, str, str, str]
    lone: bool


class Fuse:
    """Holds what is known to go on; `add` takes findings in, `verdicts` says what follows."""

    def __init__(self, settings: FuseSettings | None = None, places: Places | None = None) -> None:
        self._settings = settings or FuseSettings()
        self._places = places or Places()
        self._held: dict[_Key, _Held] = {}
        self._verdicts: dict[_Culprit, Verdict] = {}
        self.overflows = 0

    def __len__(self) -> int:
        return len(self._held)

    def add(self, ns: int, findings: Iterable[tuple[Finding, float]]) -> tuple[Finding, ...]:
        """Takes findings with the most risk each may have alone; returns those that are news."""
        arrived = [(f, lone) for f, lone in findings if min(f.risk, 1.0) >= WATCH or lone < 1]
        opened = []
        accused = self._accused(arrived) if any(lone < 1 for _, lone in arrived) else {}
        for found, lone in arrived:
            others = accused.get(self._culprit(found), set()) - {found.detector}
            told = found if others else _limited(found, lone)
            if told.risk >= WATCH and self._hold(told, lone < 1, ns):
                opened.append(told)
        return tuple(opened)

    def parts(self, ns: int) -> list[Part]:
        """What counts now, risks decayed; what has decayed away is forgotten.

        Of detectors that prove nothing alone one finding a host counts, the largest; and of hosts
        that nothing else accuses one host, however many call home like that.
        """
        parts, gone, tau_ns = [], [], self._settings.tau_s * 1e9
        alone: dict[tuple[str, str, str], Part] = {}
        accused: set[_Culprit] = set()
        for key, held in self._held.items():
            age_ns = ns - held.fresh_ns  # `decayed` without its call: this runs for each every tick
            p = held.risk * math.exp(-age_ns / tau_ns) if age_ns > 0 else held.risk
            p = min(p, MOST_P)
            if p < GONE:
                gone.append(key)
                continue
            part = Part(held.finding, p, held.weight, held.names)
            if not held.lone:
                parts.append(part)
                accused.add((key[1], key[3]))
            elif (best := alone.get((key[0], key[1], key[3]))) is None or best.p < p:
                alone[key[0], key[1], key[3]] = part
        for key in gone:
            del self._held[key]
        largest: dict[str, Part] = {}
        for (detector, host, mac), part in alone.items():
            if (host, mac) in accused:
                parts.append(part)
            elif detector not in largest or largest[detector].p < part.p:
                largest[detector] = part
        return [*parts, *largest.values()]

    def verdicts(self, ns: int, parts: Sequence[Part]) -> tuple[Verdict, ...]:
        """Verdicts that are new, stronger, or due for renewal."""
        calm: dict[_Culprit, list[float]] = {}  # logarithms: of everything, of what may block
        culprits = [self._culprit(part.finding) for part in parts]
        for part, accused in zip(parts, culprits, strict=True):
            found = part.finding
            if found.host == found.target:  # a victim is not to blame
                continue
            logs = calm.setdefault(accused, [0.0, 0.0])
            log = math.log1p(-part.p)
            logs[0] += log
            may_block = found.source is Source.RULE or self._settings.model_may_block
            if may_block and found.risk >= ALARM:  # a heap of notices proves nothing
                logs[1] += log
        changed = []
        for culprit, (log, proven) in calm.items():
            step = self._step(culprit[0], -math.expm1(log), -math.expm1(proven))
            if step is None or not _supersedes(step[0], self._verdicts.get(culprit), ns):
                continue
            target = self._target(*culprit)
            if target is not None:
                mine = [part for part, who in zip(parts, culprits, strict=True) if who == culprit]
                cause = max(mine, key=lambda part: (*self._news(part.finding, ns), part.p))
                self._verdicts[culprit] = _verdict(ns, target, step, mine, cause)
                changed.append(self._verdicts[culprit])
        for culprit in [who for who, verdict in self._verdicts.items() if verdict.until_ns <= ns]:
            del self._verdicts[culprit]
        return tuple(changed)

    def retune(self, settings: FuseSettings) -> None:
        """Go on with other settings."""
        self._settings = settings

    def clear(self) -> None:
        """Forgets what goes on: the clock has stepped back, ages mean nothing any more."""
        self._held.clear()
        self._verdicts.clear()

    def _news(self, found: Finding, ns: int) -> tuple[bool, bool]:
        """Whether a finding was told, and whether it was seen, at `ns`: what changes a verdict."""
        held = self._held.get(self._key(found))
        return (held.told_ns == ns, held.fresh_ns == ns) if held else (False, False)

    def _culprit(self, found: Finding) -> _Culprit:
        return found.host, self._places.pinned(found)

    def _key(self, found: Finding) -> _Key:
        return found.detector, found.host, found.target, self._places.pinned(found)

    def _accused(self, arrived: Sequence[tuple[Finding, float]]) -> dict[_Culprit, set[str]]:
        accused: dict[_Culprit, set[str]] = {}
        for detector, host, _, mac in self._held:
            accused.setdefault((host, mac), set()).add(detector)
        for found, _ in arrived:
            if found.risk >= WATCH:
                accused.setdefault(self._culprit(found), set()).add(found.detector)
        return accused

    def _hold(self, found: Finding, lone: bool, ns: int) -> bool:
        key = self._key(found)
        held = self._held.get(key)
        if held is None:
            self._make_room(ns)
            self._held[key] = _Held(
                found,
                found.risk,
                ns,
                found.risk,
                ns,
                weight(found, self._places),
                share_names(found),
                lone,
            )
            return True
        now = decayed(held.risk, ns - held.fresh_ns, self._settings.tau_s)
        if found.risk >= now:
            held.finding, held.weight = found, weight(found, self._places)
        held.risk, held.fresh_ns = max(found.risk, now), ns
        alarm = held.told_risk < ALARM <= found.risk
        risen = found.risk >= held.told_risk + RISEN
        again_s = AGAIN_S if found.risk >= ALARM else NOTICE_AGAIN_S
        if alarm or risen or ns - held.told_ns >= again_s * _SECOND:
            held.told_risk, held.told_ns = found.risk, ns
            return True
        return False

    def _make_room(self, ns: int) -> None:
        if len(self._held) < MOST_PARTS:
            return
        least = min(
            self._held,
            key=lambda key: (
                decayed(self._held[key].risk, ns - self._held[key].fresh_ns, self._settings.tau_s),
                key,
            ),
        )
        del self._held[least]
        self.overflows += 1

    def _step(self, host: str, risk: float, proven_risk: float) -> tuple[Action, int] | None:
        for least, action, seconds in STEPS:
            if (proven_risk if action >= Action.BLOCK else risk) < least:
                continue
            if action is not Action.QUARANTINE or self._places.is_local(host):
                return action, seconds
        return None

    def _target(self, host: str, mac: str) -> tuple[str, str] | None:
        """Whom a verdict names, None when there is nobody it can name without harm to others."""
        if mac:
            return mac, "mac"
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host, "mac"
        if address.is_unspecified or address.is_multicast:
            return None
        if self._places.is_local(host) or address.version == 4:
            return host, "address"
        # who has one address of a /64 has them all
        return str(ipaddress.ip_network(f"{host}/64", strict=False)), "prefix"


def _verdict(
    ns: int, target: tuple[str, str], step: tuple[Action, int], parts: Sequence[Part], cause: Part
) -> Verdict:
    signatures = tuple(sorted({part.finding.signature_id for part in parts}))
    why = f"risk {host_risk(parts):.2f}: {cause.finding.reason}"
    if len(parts) > 1:
        why += f" (and {len(parts) - 1} more)"
    action, seconds = step
    return Verdict(ns, action, *target, ns + seconds * _SECOND, why, signatures)


def weight(found: Finding, places: Places) -> float:
    """How much a finding counts for the network: ours fully, strangers less, their looking around
    without success hardly.
    """
    if places.is_local(found.host):
        return LOCAL_WEIGHT
    if found.technique in _BACKGROUND and not found.evidence.get("fine", 0):
        return BACKGROUND_WEIGHT
    return REMOTE_WEIGHT


def _limited(found: Finding, lone: float) -> Finding:
    if found.risk <= lone:
        return found
    return replace(found, confidence=math.floor(lone / found.severity * 1e6) / 1e6)


def _supersedes(action: Action, before: Verdict | None, ns: int) -> bool:
    if before is None:
        return True
    if action != before.action:
        return action > before.action or before.until_ns <= ns
    return ns - before.time_ns >= RENEW * (before.until_ns - before.time_ns)
