# SPDX-License-Identifier: Apache-2.0
"""Which kind of attack a found flow is: the second model of the flow classifier, and how often it
is right about tools it has not seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.training.candidates import kinds_model
from fortress.training.dataset import FlowSet
from fortress.training.evaluate import Bools, Floats, train_rows
from fortress.training.truth import Fate

# The kinds that judged flows of the data have, in the order of the graph's output, and their names.
WORDS = {
    "c2": "command and control",
    "flood": "flood",
    "guess": "password guessing",
    "scan": "scan",
    "tunnel": "tunnel",
    "web": "web attack",
}
KINDS = tuple(WORDS)


def fit_kinds(flows: FlowSet, allowed: Bools) -> Any:
    """A model of the kinds, learnt from the allowed judged attacks."""
    known = np.isin(flows.kind, KINDS) & (flows.fate == Fate.ATTACK)
    rows = train_rows(flows, allowed & known)
    kind = np.searchsorted(KINDS, flows.kind[rows])
    return kinds_model().fit(flows.matrix[rows], kind, _weights(flows.group[rows], kind))


def shares(model: Any, matrix: npt.NDArray[np.float32]) -> Floats:
    """The share of each of KINDS, (rows, kinds); 0 for kinds the model was not shown."""
    result = np.zeros((len(matrix), len(KINDS)))
    result[:, model.classes_] = model.predict_proba(matrix)
    return result


def kinds_out_of_fold(flows: FlowSet, fold: npt.NDArray[Any]) -> Floats:
    """The shares of every judged attack by a model that saw nothing of its fold; 0 for others."""
    result = np.zeros((len(flows), len(KINDS)))
    attack = flows.judged & (flows.fate == Fate.ATTACK)
    for number in np.unique(fold):
        rows = attack & (fold == number)
        if rows.any():
            result[rows] = shares(fit_kinds(flows, fold != number), flows.matrix[rows])
    return result


def _weights(group: npt.NDArray[np.str_], kind: npt.NDArray[np.intp]) -> Floats:
    """Kinds weigh alike, within a kind a tool as the root of its size; the mean is 1."""
    weight = np.empty(len(group))
    for one in np.unique(kind):
        rows = kind == one
        _, inverse, count = np.unique(group[rows], return_inverse=True, return_counts=True)
        each = 1 / np.sqrt(count[inverse])
        weight[rows] = each / each.sum()
    return np.asarray(weight * len(group) / len(np.unique(kind)))
