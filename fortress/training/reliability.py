# SPDX-License-Identifier: Apache-2.0
"""Whether a told risk is the share of attacks: calibration judged on flows that its table has not
seen either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.training import evaluate
from fortress.training.dataset import FlowSet
from fortress.training.evaluate import Floats
from fortress.training.truth import Fate


def cross_calibrated(flows: FlowSet, scores: Floats, fold: npt.NDArray[Any]) -> Floats:
    """The risk of every flow by a table made of the held-out scores of the other folds."""
    risk = np.zeros(len(flows))
    for number in np.unique(fold):
        here = fold == number
        table = evaluate.calibrate(flows.take(~here), scores[~here])
        risk[here] = table.apply(scores[here].astype(np.float32))
    return np.where(flows.judged, risk, 0.0)


def risk_weights(flows: FlowSet) -> Floats:
    """What each flow weighs so that the share of attacks among judged flows is PRIOR, each tool
    alike.
    """
    attack = flows.judged & (flows.fate == Fate.ATTACK)
    benign = flows.judged & (flows.fate == Fate.BENIGN)
    weight = np.zeros(len(flows))
    weight[benign] = (1 - evaluate.PRIOR) / benign.sum()
    _, inverse, count = np.unique(flows.group[attack], return_inverse=True, return_counts=True)
    each = 1 / count[inverse]
    weight[attack] = evaluate.PRIOR * each / each.sum()
    return weight


def brier(risk: Floats, attack: npt.NDArray[np.bool_], weight: Floats) -> tuple[float, float]:
    """The weighted Brier score of the risks, and that of telling the prior alone."""
    prior = float(np.average(attack, weights=weight))
    told = float(np.average((risk - attack) ** 2, weights=weight))
    return told, prior * (1 - prior)
