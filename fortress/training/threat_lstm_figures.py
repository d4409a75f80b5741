# SPDX-License-Identifier: Apache-2.0
"""Pictures of what `threat-lstm` is worth: from the judged steps, kept as plain columns so that
they can be drawn again without training.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from fortress.training import figures
from fortress.training import threat_lstm_judge as judge
from fortress.training.threat_lstm_data import STAGES
from fortress.training.threat_lstm_judge import Outcome

Columns = Mapping[str, npt.NDArray[Any]]
SHORT = ("none", "recon.", "access", "c2", "lateral", "exfil.", "impact")


def columns_of(carried: Outcome, alone: Outcome) -> dict[str, npt.NDArray[Any]]:
    """What the pictures need of every step judged with all of its past and (`alone`) with none."""
    return {
        "stage": carried.stage,
        "score": carried.score,
        "alone": alone.score,
        "told": _told(carried),
        "risk": _cross_calibrated(carried),
        "unit_weight": unit_weights(carried),
    }


def draw(folder: Path, columns: Columns) -> dict[str, str]:
    """All four pictures drawn into `folder`; returns their texts by name."""
    attack = columns["stage"] > 0
    even = _mixed(columns["unit_weight"], attack, 0.5)
    curves = [
        figures.Scored(name, columns[key].astype(np.float64), attack, even)
        for name, key in (("all steps before it", "score"), ("one step alone", "alone"))
    ]
    weight = _mixed(columns["unit_weight"], attack, judge.PRIOR)
    calibrated = figures.Scored("units unseen", columns["risk"], attack, weight)
    shares = np.zeros((len(STAGES), len(STAGES)))
    for stage in range(len(STAGES)):
        rows = columns["stage"] == stage
        mass = columns["unit_weight"][rows]
        if rows.any():
            told = np.bincount(columns["told"][rows], mass, minlength=len(STAGES))
            shares[stage] = told / mass.sum()
    return figures.draw(folder, curves, calibrated, (SHORT, SHORT, shares))


def pr_auc(outcome: Outcome) -> float:
    """Area under precision over recall of the steps: attacks half of all, stages alike, units alike
    within a stage.
    """
    attack = outcome.stage > 0
    weight = _mixed(unit_weights(outcome), attack, 0.5)
    return float(average_precision_score(attack, outcome.score, sample_weight=weight))


def unit_weights(outcome: Outcome) -> npt.NDArray[np.float64]:
    """What each step weighs: stages of attack alike, units alike within a stage; of benign steps a
    capture counts for at most MOST_OF_CAPTURE.
    """
    weight = np.empty(len(outcome.stage))
    for stage in np.unique(outcome.stage):
        rows = outcome.stage == stage
        if stage == 0:
            weight[rows] = judge.capped(outcome.episode[rows])
            continue
        _, of_row, count = np.unique(outcome.unit[rows], return_inverse=True, return_counts=True)
        weight[rows] = 1 / count[of_row] / len(count)
    return weight


def _mixed(
    weight: npt.NDArray[np.float64], attack: npt.NDArray[np.bool_], share: float
) -> npt.NDArray[np.float64]:
    """The weights with so large a share of attacks, adding up to 1."""
    mixed = weight.copy()
    mixed[attack] *= share / max(weight[attack].sum(), 1e-12)
    mixed[~attack] *= (1 - share) / max(weight[~attack].sum(), 1e-12)
    return mixed


def _told(outcome: Outcome) -> npt.NDArray[np.int8]:
    flagged = outcome.score >= judge.thresholds(outcome)
    return np.where(flagged, 1 + outcome.probability[:, 1:].argmax(1), 0).astype(np.int8)


def _cross_calibrated(outcome: Outcome) -> npt.NDArray[np.float64]:
    """The risk of every step by a table made of the other folds."""
    risk = np.zeros(len(outcome.stage))
    for fold in np.unique(outcome.fold):
        here = outcome.fold == fold
        table = judge.calibrate_risk(outcome.where(~here))
        risk[here] = table.apply(outcome.score[here])
    return risk
