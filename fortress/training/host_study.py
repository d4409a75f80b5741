# SPDX-License-Identifier: Apache-2.0
"""How well `host-anomaly` does on real days: it learns the first part of a device's day, is asked
about the rest, and about the rest with attacks of other captures laid over it.

No public capture here holds a week of a device, so a "day" of the study is a seventh of the minutes
that are learnt; at work it is a day. Whatever is shipped (typical device, directions, calibration)
comes from other devices than the one that is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fortress.features import host
from fortress.inference.host_baseline import DAY_NS, DAYS, Baseline, Typical
from fortress.training.host_data import Doings, overlaid, windows

Floats = npt.NDArray[np.float32]
Directions = npt.NDArray[np.float64]
LEARNT = 0.5  # of a device's time is learnt, the rest is judged
STARTS = 3  # times at which each attack is laid over a device's day
POISONED_DAYS, POISONED_MINUTES = 45, 120
MOST_MINUTES = 60  # of an attack that are laid over it
REACH = 20.0  # spreads beyond which further away is no more unusual
BELOW = 3.0  # the same below the centre: less than usual is rarely an attack
_SEED = 7
_KEY = np.ones(1, np.uint64)
Measure = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Asked:
    """A device's judged minutes: rarity of each (−log10 of the share above) and its surprise;
    `shift` is the most spreads by which a volume's median over a seventh of them lies above the
    centre.
    """

    device: str
    rarity: npt.NDArray[np.float64]
    surprise: Floats
    days: float
    shift: float


@dataclass(frozen=True, slots=True)
class Hit:
    """An attack laid over a device: rarity of each minute that it touched."""

    device: str
    tool: str
    kind: str
    rarity: npt.NDArray[np.float64]


def measure_with(directions: Directions) -> Measure:
    """The surprise of standardised rows: what the exported graph computes."""

    def measure(rows: Floats) -> Floats:
        told: Floats = parts(rows, directions).mean(axis=1)
        return np.sqrt(told).astype(np.float32)

    return measure


def parts(rows: Floats, directions: Directions) -> Floats:
    """Squared distances along each feature once what goes together is taken apart."""
    bounded = np.clip(rows, -BELOW, REACH)
    return np.asarray((bounded @ directions) ** 2, np.float32)


def directions_of(devices: Sequence[Doings]) -> tuple[Floats, Directions]:
    """The spread of each feature on a typical device, and the symmetric whitening of what is left:
    the inverse root of the correlation, shrunk towards none (Ledoit and Wolf 2004), each device
    weighing alike.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    matrices = [windows(device.flows)[1] for device in devices]
    own = [1.4826 * np.median(np.abs(m - np.median(m, axis=0)), axis=0) for m in matrices]
    deep = [m.std(axis=0) for m in matrices]
    # half of the features are 0 in most minutes: then the MAD is 0 and the deviation speaks
    spread = np.mean([np.maximum(a, 0.5 * b) for a, b in zip(own, deep, strict=True)], axis=0)
    spread = np.maximum(spread, 0.25).astype(np.float32)
    rng = np.random.default_rng(_SEED)
    rows = []
    for matrix in matrices:
        centred = np.clip((matrix - np.median(matrix, axis=0)) / spread, -BELOW, REACH)
        rows.append(centred[rng.integers(0, len(centred), 500)])
    pooled = np.concatenate(rows).astype(np.float64)
    moment = pooled.T @ pooled / len(pooled)
    shrunk = float(ledoit_wolf_shrinkage(pooled, assume_centered=True))
    scale = np.sqrt(np.diag(moment) + 0.1)
    together = moment / np.outer(scale, scale)
    together = (1 - shrunk) * together + shrunk * np.eye(len(together))
    np.fill_diagonal(together, 1.0)
    values, vectors = np.linalg.eigh(together)
    roots = vectors @ np.diag(np.maximum(values, 0.2) ** -0.5) @ vectors.T
    return spread, np.asarray(roots)


def typical_of(devices: Sequence[Doings], spread: Floats, directions: Directions) -> Typical:
    """A typical device, with how rare each surprise was on these devices' later, unlearnt minutes.

    Beyond what was seen once in a thousand minutes the share falls as it fell before.
    """
    flat = Typical(spread, np.array([0.0, 1.0]), np.array([0.0, -1.0]))
    told = [ask(device, flat, directions).surprise for device in devices]
    shares = np.array([1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01])
    levels = [np.mean([np.quantile(part, 1 - share) for part in told]) for share in shares]
    levels[0] = 0.0
    knots = np.maximum.accumulate(np.array(levels) + 1e-3 * np.arange(len(levels)))
    return Typical(spread, knots, np.log10(shares))


def learnt(device: Doings, typical: Typical, directions: Directions) -> tuple[Baseline, int]:
    """A baseline that knows the first minutes of a device, and when the last of them began (ns)."""
    begun, matrix = windows(device.flows)
    count = int(LEARNT * len(begun))
    baseline = Baseline(matrix.shape[1], typical, capacity=4)
    measure = measure_with(directions)
    calm, good = np.zeros(1, np.float32), np.ones(1, np.bool_)
    day = np.arange(count) * DAYS // count
    for number, row in zip((*day.tolist(), DAYS), matrix[: count + 1], strict=True):
        baseline.learn(number * DAY_NS, _KEY, row[None], calm, good, measure)
    return baseline, int(begun[count - 1])


def ask(device: Doings, typical: Typical, directions: Directions) -> Asked:
    """What is said of the minutes that were not learnt, while the device has no attack."""
    baseline, end = learnt(device, typical, directions)
    begun, matrix = windows(device.flows)
    rarity, surprise = _said(baseline, matrix[begun > end], directions)
    parts_of_day = np.array_split(matrix[begun > end], DAYS)
    rows = [np.median(part, axis=0) for part in parts_of_day]
    shifts, _ = baseline.standardised(np.ones(DAYS, np.uint64), np.array(rows, np.float32))
    days = float(begun[-1] - end) / 86_400e9
    return Asked(device.name, rarity, surprise, days, float(shifts[:, host.VOLUMES].max()))


def strike(
    device: Doings, attacks: Sequence[Doings], typical: Typical, directions: Directions
) -> list[Hit]:
    """What is said of the minutes of each attack, laid over the unlearnt time STARTS times."""
    baseline, end = learnt(device, typical, directions)
    last = int(device.flows["first_ns"][-1])
    rest = device.take(device.flows["first_ns"] > end)
    rng = np.random.default_rng(_SEED)
    hits = []
    for attack in attacks:
        attack = attack.take(attack.minutes < MOST_MINUTES)
        told = []
        for start in rng.uniform(end, last, STARTS).astype(np.int64):
            moved = attack.flows["first_ns"] - attack.flows["first_ns"][0] + start
            busy = np.unique(moved // host.WINDOW_NS)
            beside = np.isin(rest.flows["first_ns"] // host.WINDOW_NS, busy)
            begun, matrix = windows(overlaid(rest.take(beside), attack, int(start)))
            touched = np.isin(begun // host.WINDOW_NS, busy)
            told.append(_said(baseline, matrix[touched], directions)[0])
        hits.append(Hit(device.name, attack.tool, attack.kind, np.concatenate(told)))
    return hits


def poisoned(
    device: Doings, typical: Typical, directions: Directions, growth: float, least: float
) -> list[tuple[int, float, float]]:
    """For each day on which an attacker sends `growth` times as much as the day before, in all of
    the device's minutes: its number, the share of minutes at least so rare as `least`, and the
    largest shift of the day's medians. Days are drawn from the device's own minutes; it learns on
    as at work.
    """
    _, matrix = windows(device.flows)
    baseline, _ = learnt(device, typical, directions)
    measure, rng = measure_with(directions), np.random.default_rng(_SEED)
    up = [at for at, f in enumerate(host.FEATURES) if f.name in ("bytes_up", "pkts_up")]
    told = []
    for day in range(1, POISONED_DAYS + 1):
        rows = matrix[rng.integers(0, len(matrix), POISONED_MINUTES)].copy()
        rows[:, up] = np.log1p(np.expm1(rows[:, up]) * growth**day)
        found = 0
        for row in rows:
            rarity, surprise = _said(baseline, row[None], directions)
            found += int(rarity[0] >= least)
            ns = (DAYS + day) * DAY_NS
            baseline.learn(ns, _KEY, row[None], surprise, rarity < least, measure)
        baseline.learn(  # the next day's first minute has this day looked at
            (DAYS + day + 1) * DAY_NS, _KEY, rows[:1], np.zeros(1, np.float32),
            np.ones(1, np.bool_), measure,
        )  # fmt: skip
        told.append(
            (day, found / POISONED_MINUTES, float(baseline.shifts(_KEY)[:, host.VOLUMES].max()))
        )
    return told


def _said(
    baseline: Baseline, matrix: Floats, directions: Directions
) -> tuple[npt.NDArray[np.float64], Floats]:
    keys = np.ones(len(matrix), np.uint64)
    rows, ready = baseline.standardised(keys, matrix)
    if not ready.all():
        raise ValueError("the part that is learnt holds too few minutes")
    surprise = measure_with(directions)(rows)
    return -np.log10(baseline.rarity(keys, surprise)), surprise
