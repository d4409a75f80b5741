# SPDX-License-Identifier: Apache-2.0
"""The qsecbit score: one number for the network's risk, and exactly who and what it is made of.

A finding contributes `p = risk · exp(-age/τ)`, at most 0.99. The network's value is `1 - Π (1 -
p)^w` over all of them, w for how much its host matters, so in the exponent contributions add up: a
finding's share is `value · w·ln(1-p) / Σ w·ln(1-p)`. docs/score.md has the reasons.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from fortress.verdict import Finding, Score, Share, Shares, Source, Status

MOST_P = 0.99  # so that no single finding makes everything else invisible
AMBER, RED = 0.45, 0.70
HYSTERESIS = 0.05  # a status is left when the value is this far below where it begins
SOFT_SOURCES = (Source.DRIFT, Source.ENERGY)
MOST_SOFT = 0.69  # unusual is not yet hostile: these alone never reach RED
MOST_SHARES = 20  # named findings and hosts; the rest is "others"
OTHERS = "others"


class Part(NamedTuple):
    """A live finding: its decayed risk and how much its host matters."""

    finding: Finding
    p: float
    weight: float
    names: tuple[str, str, str, str] | None = None  # of share_names, if they are known already


def decayed(risk: float, age_ns: int, tau_s: float) -> float:
    """A finding's p after `age_ns`: risk · exp(-age/τ), in [0, MOST_P]."""
    return min(risk * math.exp(-max(age_ns, 0) / (tau_s * 1e9)), MOST_P)


def status_after(before: Status, value: float) -> Status:
    """The status of a value: it rises at AMBER and RED, and falls HYSTERESIS below them."""
    red = RED - (HYSTERESIS if before is Status.RED else 0)
    amber = AMBER - (HYSTERESIS if before is not Status.GREEN else 0)
    if value >= red:
        return Status.RED
    return Status.AMBER if value >= amber else Status.GREEN


def host_risk(parts: Iterable[Part]) -> float:
    """The risk of one host: 1 - Π (1 - p), whatever its weight."""
    return -math.expm1(sum(math.log1p(-part.p) for part in parts))


def score(time_ns: int, parts: Sequence[Part], before: Status, confidence: float) -> Score:
    """The network's score from the live findings, with shares that add up to its value."""
    if not parts:
        return Score(time_ns, 0.0, status_after(before, 0.0), confidence)
    logs = _soft_capped(parts, [-part.weight * math.log1p(-part.p) for part in parts])
    total = math.fsum(logs)
    value = -math.expm1(-total)
    scale = value / total if total > 0 else 0.0
    shares = Shares.later(partial(_divided, parts, logs, scale))
    return Score(time_ns, value, status_after(before, value), confidence, shares)


def share_names(found: Finding) -> tuple[str, str, str, str]:
    """What a finding is counted under: its host, its layer, its source, and itself."""
    itself = f"{found.detector} {found.host}"
    if found.target:
        itself += f" → {found.target}"
    return found.host, found.layer.value, found.source.value, itself


def _divided(
    parts: Sequence[Part], logs: Sequence[float], scale: float
) -> tuple[tuple[Share, ...], ...]:
    names = zip(*(part.names or share_names(part.finding) for part in parts), strict=True)
    shares = [log * scale for log in logs]
    return tuple(_shares(named, shares) for named in names)


def _soft_capped(parts: Sequence[Part], logs: list[float]) -> list[float]:
    soft = [part.finding.source in SOFT_SOURCES for part in parts]
    if True not in soft:
        return logs
    total = math.fsum(log for log, is_soft in zip(logs, soft, strict=True) if is_soft)
    most = -math.log1p(-MOST_SOFT)
    if total <= most:
        return logs
    return [log * most / total if is_soft else log for log, is_soft in zip(logs, soft, strict=True)]


def _shares(names: Iterable[str], values: Iterable[float]) -> tuple[Share, ...]:
    sums: dict[str, float] = {}
    for name, value in zip(names, values, strict=True):
        sums[name] = sums.get(name, 0.0) + value
    largest = sorted(sums)  # by name,
    largest.sort(key=sums.__getitem__, reverse=True)  # which decides among equals
    if len(largest) <= MOST_SHARES:
        return tuple(Share(name, sums[name]) for name in largest)
    rest = math.fsum(sums[name] for name in largest[MOST_SHARES - 1 :])
    named = (Share(name, sums[name]) for name in largest[: MOST_SHARES - 1])
    return *named, Share(OTHERS, rest)
