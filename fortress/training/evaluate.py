# SPDX-License-Identifier: Apache-2.0
"""How good a classifier of flows is: splits that never part what belongs together, measures, and
their intervals.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, chi2
from sklearn.exceptions import ConvergenceWarning
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import average_precision_score

from fortress.inference import Calibration
from fortress.training.dataset import FlowSet
from fortress.training.truth import Fate

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
MakeModel = Callable[[], Any]

SEED = 20_231_023
FOLDS = 5
PARTITIONS = 2  # of all units, for the threshold: the more cautious one counts
MAX_TRAIN_PER_CAPTURE = 400  # one flood or one resolver's log must not be most of what is learnt
MAX_COUNT_PER_CAPTURE = 1000  # nor may it buy false alarms on everything else
TARGET_FALSE_POSITIVES = 1e-3  # of benign flows; a host is judged by many flows, never by one
PRIOR = (
    0.01  # share of attacks among judged flows that a risk is stated for; a quiet network has less
)


@dataclass(frozen=True, slots=True)
class Rate:
    """k of n, with a 95 % interval (Clopper–Pearson, which takes the n for independent)."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """The share; 0 of nothing is 0."""
        return self.hits / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval."""
        if not self.total:
            return 0.0, 1.0
        interval = binomtest(self.hits, self.total).proportion_ci(0.95, method="exact")
        return float(interval.low), float(interval.high)


@dataclass(frozen=True, slots=True)
class Result:
    """A classifier at its threshold on flows it was not trained on.

    `recall` is the mean over groups of attacks (each tool counts once); `by_group` the share found
    in each; `by_kind` likewise. False positives are counted by flow and by capture: flows of one
    capture are no independent evidence, so `false_bootstrap` is the 95 % interval of the rate by
    drawing captures anew (0 to 0 where there is none at all).
    """

    recall: float
    by_group: dict[str, Rate]
    by_kind: dict[str, float]
    false_flows: Rate
    false_captures: Rate
    false_by_origin: dict[str, Rate]
    false_bootstrap: tuple[float, float]


def folds_by(names: npt.NDArray[np.str_], folds: int = FOLDS, seed: int = SEED) -> npt.NDArray[Any]:
    """The fold (0 to folds − 1) of every row; rows of one name share a fold."""
    unique, inverse = np.unique(names, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(unique))
    assigned: npt.NDArray[Any] = (order % folds)[inverse]
    return assigned


def train_rows(flows: FlowSet, allowed: Bools) -> npt.NDArray[np.intp]:
    """Indices of judged flows to learn from: at most MAX_TRAIN_PER_CAPTURE of each capture, drawn
    with a fixed seed.
    """
    usable = allowed & flows.judged & (flows.fate != Fate.CONTENT)
    generator = np.random.default_rng(SEED)
    picked = []
    for capture in np.unique(flows.capture[usable]):
        rows = np.flatnonzero(usable & (flows.capture == capture))
        if len(rows) > MAX_TRAIN_PER_CAPTURE:
            rows = generator.choice(rows, MAX_TRAIN_PER_CAPTURE, replace=False)
        picked.append(np.sort(rows))
    return np.concatenate(picked) if picked else np.empty(0, np.intp)


def group_weights(attack: Bools, group: npt.NDArray[np.str_]) -> Floats:
    """A weight a flow: a group weighs as the root of its size, attack and benign half each; the
    mean is 1.
    """
    weight = np.empty(len(group))
    for side in (attack, ~attack):
        _, inverse, count = np.unique(group[side], return_inverse=True, return_counts=True)
        each = 1 / np.sqrt(count[inverse])
        weight[side] = each / each.sum() * len(group) / 2 if len(each) else each
    return weight


def fit(make: MakeModel, flows: FlowSet, allowed: Bools) -> Any:
    """A model trained on the allowed flows."""
    rows = train_rows(flows, allowed)
    attack = flows.fate[rows] == Fate.ATTACK
    weight = group_weights(attack, flows.group[rows])
    model = make()
    step = f"{model.steps[-1][0]}__sample_weight" if hasattr(model, "steps") else "sample_weight"
    with warnings.catch_warnings():  # a fixed number of rounds is meant, converged or not
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(flows.matrix[rows], attack.astype(np.int64), **{step: weight})


def score(model: Any, flows: FlowSet, rows: Bools) -> Floats:
    """Raw attack scores of the judged flows among `rows`, 0 for the others; the length is that of
    the rows.
    """
    result = np.zeros(int(rows.sum()))
    judged = flows.judged[rows]
    if judged.any():
        result[judged] = model.predict_proba(flows.matrix[rows][judged])[:, 1]
    return result


def out_of_fold(make: MakeModel, flows: FlowSet, fold: npt.NDArray[Any]) -> Floats:
    """The score of every flow by a model that saw nothing of its fold; negative folds are never
    tested (NaN).
    """
    result = np.full(len(flows), np.nan)
    for number in np.unique(fold[fold >= 0]):
        held_out = fold == number
        result[held_out] = score(fit(make, flows, ~held_out & (fold >= 0)), flows, held_out)
    return result


def pick_threshold(flows: FlowSet, scores: Floats) -> float:
    """The lowest score at which at most TARGET_FALSE_POSITIVES of the benign flows are found.

    A capture counts for at most MAX_COUNT_PER_CAPTURE flows; unjudged flows count as flows that
    were not found.
    """
    benign = flows.fate == Fate.BENIGN
    _, counts = np.unique(flows.capture[benign], return_counts=True)
    allowed = int(np.minimum(counts, MAX_COUNT_PER_CAPTURE).sum() * TARGET_FALSE_POSITIVES)
    falling = np.sort(scores[benign])[::-1]
    limit = float(falling[min(allowed, len(falling) - 1)]) if len(falling) else 0.5
    return min(float(np.nextafter(np.float32(limit), np.float32(2))), 1 - 1e-6)


def held_out_threshold(make: MakeModel, flows: FlowSet, unit: npt.NDArray[np.str_]) -> float:
    """The highest of the thresholds picked on held-out scores, over PARTITIONS partitions."""
    partitions = (folds_by(unit, seed=SEED + 1 + number) for number in range(PARTITIONS))
    return max(pick_threshold(flows, out_of_fold(make, flows, fold)) for fold in partitions)


def judge(flows: FlowSet, scores: Floats, threshold: float) -> Result:
    """What these scores are worth at the threshold."""
    found = scores >= threshold
    attack, benign = flows.fate == Fate.ATTACK, flows.fate == Fate.BENIGN
    by_group: dict[str, Rate] = {}
    kinds: dict[str, list[float]] = {}
    for group in np.unique(flows.group[attack & flows.judged]):
        rows = attack & flows.judged & (flows.group == group)
        by_group[str(group)] = Rate(int(found[rows].sum()), int(rows.sum()))
        for kind in np.unique(flows.kind[rows]):
            kinds.setdefault(str(kind), []).append(found[rows & (flows.kind == kind)].mean())
    captures = np.unique(flows.capture[benign])
    return Result(
        recall=_mean([rate.value for rate in by_group.values()]),
        by_group=by_group,
        by_kind={kind: _mean(rates) for kind, rates in sorted(kinds.items())},
        false_flows=Rate(int(found[benign].sum()), int(benign.sum())),
        false_captures=Rate(len(np.unique(flows.capture[benign & found])), len(captures)),
        false_by_origin={
            str(origin): Rate(
                int(found[benign & (flows.origin == origin)].sum()),
                int((benign & (flows.origin == origin)).sum()),
            )
            for origin in np.unique(flows.origin[benign])
        },
        false_bootstrap=bootstrap(flows.capture[benign], found[benign]),
    )


def bootstrap(
    capture: npt.NDArray[np.str_], found: Bools, draws: int = 2000
) -> tuple[float, float]:
    """The 95 % interval of the share found, captures drawn with replacement; 0 to 1 of none."""
    if not len(capture):
        return 0.0, 1.0
    _, inverse = np.unique(capture, return_inverse=True)
    hits, totals = np.bincount(inverse, found), np.bincount(inverse)
    drawn = np.random.default_rng(SEED).integers(0, len(totals), (draws, len(totals)))
    rates = hits[drawn].sum(axis=1) / totals[drawn].sum(axis=1)
    low, high = np.percentile(rates, (2.5, 97.5))
    return float(low), float(high)


def poisson(count: int) -> tuple[float, float]:
    """The 95 % interval of the mean of a count (Garwood 1936)."""
    low = float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
    return low, float(chi2.ppf(0.975, 2 * count + 2)) / 2


def pr_auc(flows: FlowSet, scores: Floats) -> float:
    """Area under precision over recall of the judged flows, groups weighing as the root of their
    size.
    """
    rows = flows.judged & (flows.fate != Fate.CONTENT) & np.isfinite(scores)
    attack = flows.fate[rows] == Fate.ATTACK
    weight = group_weights(attack, flows.group[rows])
    return float(average_precision_score(attack, scores[rows], sample_weight=weight))


def pr_auc_interval(flows: FlowSet, scores: Floats, draws: int = 200) -> tuple[float, float]:
    """The 95 % interval of `pr_auc`, groups (tools and applications) drawn with replacement."""
    rows = flows.judged & (flows.fate != Fate.CONTENT) & np.isfinite(scores)
    attack, score = flows.fate[rows] == Fate.ATTACK, scores[rows]
    weight = group_weights(attack, flows.group[rows])
    _, inverse = np.unique(flows.group[rows], return_inverse=True)
    groups, generator = inverse.max() + 1, np.random.default_rng(SEED)
    told = []
    for _ in range(draws):
        times = np.bincount(generator.integers(0, groups, groups), minlength=groups)[inverse]
        if (times * attack).any():
            told.append(average_precision_score(attack, score, sample_weight=weight * times))
    low, high = np.percentile(told, (2.5, 97.5))
    return float(low), float(high)


def recall_interval(result: Result, draws: int = 2000) -> tuple[float, float]:
    """The 95 % interval of the recall, tools drawn with replacement."""
    rates = np.array([rate.value for rate in result.by_group.values()])
    drawn = np.random.default_rng(SEED).integers(0, len(rates), (draws, len(rates)))
    low, high = np.percentile(rates[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def calibrate(flows: FlowSet, scores: Floats) -> Calibration:
    """The table from raw score to probability of attack at PRIOR, isotonic over out-of-fold scores.

    Every group of attacks weighs alike, every benign flow too (within MAX_COUNT_PER_CAPTURE a
    capture). One more benign flow with score 1 keeps certainty out; a thousandth of the raw score
    keeps the table rising, so that order is kept.
    """
    rows = flows.judged & (flows.fate != Fate.CONTENT)
    attack = flows.fate[rows] == Fate.ATTACK
    weight = np.empty(int(rows.sum()))
    _, inverse, count = np.unique(
        np.where(attack, flows.group[rows], flows.capture[rows]),
        return_inverse=True,
        return_counts=True,
    )
    size = count[inverse]
    weight[attack] = 1 / size[attack]
    weight[~attack] = np.minimum(1, MAX_COUNT_PER_CAPTURE / size[~attack])
    benign_mass = weight[~attack].sum() + 1
    weight[attack] *= PRIOR / (1 - PRIOR) * benign_mass / weight[attack].sum()
    isotonic = IsotonicRegression(y_min=0, y_max=1)
    isotonic.fit(np.append(scores[rows], 1.0), np.append(attack, False), np.append(weight, 1.0))
    knots = np.unique(np.concatenate([[0.0], isotonic.X_thresholds_.round(6), [1.0]]))
    risk = 0.999 * isotonic.predict(knots.clip(scores[rows].min(), 1)) + 0.001 * knots
    return Calibration(tuple(knots.tolist()), tuple(np.maximum.accumulate(risk).round(6).tolist()))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0
