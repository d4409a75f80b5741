# SPDX-License-Identifier: Apache-2.0
"""How likely each flow is part of an attack, and of which kind, judged by its shape alone.

A gate of two classes looks at every flow that can be judged; the graph of kinds (the variant
`kinds`) only at what passes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fortress.features import flow
from fortress.inference.entry import ModelEntry
from fortress.inference.rejection import ModelRejected
from fortress.inference.session import Session

Observer = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], None]
CALM = "benign"  # the class of flows that are no attack
KINDS = "kinds"  # the variant that tells them apart, and the table in `own` that names them


@dataclass(frozen=True, slots=True)
class Classification:
    """The classifier's opinion on each of n flows.

    `labels`: names of classes, str (n,), "benign" for every flow below the threshold;
    `probability`: of each class, float32 (n, classes): 1 − risk for "benign", the rest shared out
    among the kinds; evenly below the threshold, where nobody asked for the kind;
    `risk`: calibrated probability of attack, float32 (n,); `judged`: whether there was enough of
    the flow to judge, bool (n,). A flow that is not judged is "benign" with risk 0.
    """

    labels: npt.NDArray[np.str_]
    probability: npt.NDArray[np.float32]
    risk: npt.NDArray[np.float32]
    judged: npt.NDArray[np.bool_]


class FlowClassifier:
    """The model `flow-classifier` at work; the same flow has the same risk in every batch."""

    def __init__(self, entry: ModelEntry, observer: Observer | None = None) -> None:
        """Open the model; `observer` is told the features and the risk of every judged flow.

        Raises ModelRejected when the runtime refuses it or its shape is not the recipe's.
        """
        self._observer = observer
        recipe, path = entry.recipe, entry.folder / "model.toml"
        if recipe.classes[:1] != (CALM,) or len(recipe.classes) != 2:
            raise ModelRejected("recipe", path, f"output.classes is not {CALM} and its contrary")
        kinds = recipe.own.get(KINDS)
        if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
            raise ModelRejected("recipe", path, f"own.{KINDS} is no list of words")
        if len(kinds) < 2 or len(set(kinds) | {CALM}) != len(kinds) + 1:
            raise ModelRejected("recipe", path, f"own.{KINDS} needs two different kinds or more")
        self.name = recipe.name
        self.version = recipe.version
        self.classes = (CALM, *kinds)
        self.features = recipe.features
        self.columns = flow.COLUMNS
        self.threshold = entry.threshold()
        self._calibration = entry.calibration()
        self._names = np.array(self.classes)
        self._gate = Session(entry)
        self._kinds = Session(
            ModelEntry(replace(recipe, classes=tuple(kinds)), entry.folder, entry.graph(KINDS))
        )

    @classmethod
    def from_entry(cls, entry: ModelEntry, observer: Observer | None = None) -> FlowClassifier:
        """The same as the constructor."""
        return cls(entry, observer)

    def classify(self, flows: Mapping[str, npt.ArrayLike]) -> Classification:
        """The opinion on each flow; `flows` maps at least the names in `columns` to arrays of one
        length.
        """
        judged = flow.judgeable(flows)
        rows = np.flatnonzero(judged)
        result = Classification(
            labels=np.full(len(judged), CALM, self._names.dtype),
            probability=np.zeros((len(judged), len(self.classes)), np.float32),
            risk=np.zeros(len(judged), np.float32),
            judged=judged,
        )
        result.probability[:, 0] = 1
        if len(rows):
            some = {name: np.asarray(flows[name])[rows] for name in self.columns}
            matrix = flow.flow_matrix(some)
            risk = self._calibration.apply(1 - self._gate.run(matrix)[:, 0])
            result.risk[rows] = risk
            result.probability[rows, 0] = 1 - risk
            result.probability[rows, 1:] = (risk / (len(self.classes) - 1))[:, None]
            found = np.flatnonzero(risk >= self.threshold)
            if len(found):
                shares = self._kinds.run(matrix[found])
                result.labels[rows[found]] = self._names[1 + np.argmax(shares, axis=1)]
                result.probability[rows[found], 1:] = shares * risk[found, None]
            if self._observer is not None:
                self._observer(matrix, risk)
        return result
