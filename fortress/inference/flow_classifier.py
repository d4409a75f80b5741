# SPDX-License-Identifier: Apache-2.0
"""How likely each flow is part of an attack, judged by its shape alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fortress.features import flow
from fortress.inference.registry import ModelEntry
from fortress.inference.rejection import ModelRejected
from fortress.inference.session import Session

CALM = "benign"  # the class of flows that are no attack


@dataclass(frozen=True, slots=True)
class Classification:
    """The classifier's opinion on each of n flows.

    `labels`: names of classes, str (n,), "benign" for every flow below the threshold;
    `probability`: raw class probabilities, float32 (n, classes); `risk`: calibrated probability of
    attack, float32 (n,); `judged`: whether there was enough of the flow to judge, bool (n,). A flow
    that is not judged is "benign" with risk 0.
    """

    labels: npt.NDArray[np.str_]
    probability: npt.NDArray[np.float32]
    risk: npt.NDArray[np.float32]
    judged: npt.NDArray[np.bool_]


class FlowClassifier:
    """The model `flow-classifier` at work; the same flow has the same risk in every batch."""

    def __init__(self, entry: ModelEntry) -> None:
        """Open the model. Raises ModelRejected when the runtime refuses it or its shape is not the
        recipe's.
        """
        if entry.recipe.classes[:1] != (CALM,):
            raise ModelRejected(
                "recipe", entry.folder / "model.toml", f"output.classes does not begin with {CALM}"
            )
        self.name = entry.recipe.name
        self.version = entry.recipe.version
        self.classes = entry.recipe.classes
        self.features = entry.recipe.features
        self.columns = flow.COLUMNS
        self.threshold = entry.threshold()
        self._calibration = entry.calibration()
        self._names = np.array(self.classes)
        self._session = Session(entry)

    def classify(self, flows: Mapping[str, npt.ArrayLike]) -> Classification:
        """The opinion on each flow; `flows` maps at least the names in `columns` to arrays of one
        length.
        """
        judged = flow.judgeable(flows)
        rows = np.flatnonzero(judged)
        result = Classification(
            labels=np.full(len(judged), self.classes[0], self._names.dtype),
            probability=np.zeros((len(judged), len(self.classes)), np.float32),
            risk=np.zeros(len(judged), np.float32),
            judged=judged,
        )
        result.probability[:, 0] = 1
        if len(rows):
            some = {name: np.asarray(flows[name])[rows] for name in self.columns}
            probability = self._session.run(flow.flow_matrix(some))
            risk = self._calibration.apply(1 - probability[:, 0])
            likeliest = 1 + np.argmax(probability[:, 1:], axis=1)
            found = risk >= self.threshold
            result.labels[rows[found]] = self._names[likeliest[found]]
            result.probability[rows] = probability
            result.risk[rows] = risk
        return result
