# SPDX-License-Identifier: Apache-2.0
"""Whether what a model sees, and what it says, is still spread as where it was made.

The population stability index of a value is Σ (a − e) · ln(a / e) over the bins of its reference,
with e the reference's and a the present share of a bin; in credit scoring, where it comes from,
0.1 is called a small and 0.25 a large change (Siddiqi, Credit Risk Scorecards, 2006, ch. 11).
Shares below LEAST_SHARE are taken for it, so that an empty bin has a finite weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fortress.inference.histogram import Histogram
from fortress.inference.recipe import Recipe

LEAST_SHARE = 1e-3
LEAST_ROWS = 1000  # fewer say little: chance alone gives an index of about bins / rows
WINDOW_ROWS = 20_000.0  # when so many were counted all counts are halved: old rows fade
BLOCK_ROWS = 1024  # rows that wait to be counted

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Drift:
    """The indices now: of the scores, of the input that differs most, and of the most different
    inputs by name; `rows` is what they rest on.
    """

    scores: float
    inputs: float
    largest: tuple[tuple[str, float], ...]
    rows: int


class DriftMonitor:
    """Counts the inputs and scores of one model against its recipe's reference; bounded memory."""

    def __init__(self, recipe: Recipe) -> None:
        names = [name for name in recipe.features if name in recipe.input_references]
        self._names = np.array(names)
        self._columns = np.array([recipe.features.index(name) for name in names], np.intp)
        self._inputs = _Counts([recipe.input_references[name] for name in names])
        score = recipe.score_reference
        self._scores = _Counts([score] if score else [])
        self._rows = np.empty((len(names), BLOCK_ROWS), np.float32)  # a feature's values together
        self._risks = np.empty((1, BLOCK_ROWS), np.float32)
        self._waiting = 0

    def observe(self, matrix: Float32, risk: Float32) -> None:
        """Take note of rows, (n, features), and of the risk that each was given, (n,)."""
        start = 0
        while start < len(matrix):
            room = slice(self._waiting, min(BLOCK_ROWS, self._waiting + len(matrix) - start))
            some = slice(start, start + room.stop - room.start)
            self._rows[:, room] = matrix[some].T[self._columns]
            self._risks[0, room] = risk[some]
            self._waiting, start = room.stop, some.stop
            if self._waiting == BLOCK_ROWS:
                self._count()

    def look(self) -> Drift | None:
        """The indices; None while too few rows were seen, or without any reference."""
        self._count()
        rows = self._inputs.rows or self._scores.rows
        if rows < LEAST_ROWS:
            return None
        inputs, scores = self._inputs.indices(), self._scores.indices()
        order = np.argsort(-inputs, kind="stable")[:3]
        largest = tuple((str(self._names[i]), float(inputs[i])) for i in order)
        return Drift(
            scores=float(scores.max(initial=0)),
            inputs=float(inputs.max(initial=0)),
            largest=largest,
            rows=int(rows),
        )

    def _count(self) -> None:
        self._inputs.add(self._rows[:, : self._waiting])
        self._scores.add(self._risks[:, : self._waiting])
        self._waiting = 0


class _Counts:
    """How many values of each column lie in each bin."""

    def __init__(self, references: list[Histogram]) -> None:
        most = max((len(one.edges) for one in references), default=0)
        self._edges = np.full((len(references), most), np.inf, np.float32)
        self._expected = np.zeros((len(references), most + 1))
        for row, one in enumerate(references):
            self._edges[row, : len(one.edges)] = one.edges
            self._expected[row, : len(one.shares)] = one.shares
        self._counts = np.zeros((len(references), most + 1))
        self.rows = 0.0

    def add(self, values: Float32) -> None:
        """Count values, (columns, rows)."""
        if not values.size or not self._counts.size:
            return
        rows = values.shape[1]
        ordered = np.sort(values, axis=1)  # of vectors: a tenth of comparing each with every edge
        below = [one.searchsorted(edges) for one, edges in zip(ordered, self._edges, strict=True)]
        self._counts += np.diff(np.stack(below), axis=1, prepend=0, append=rows)
        self.rows += rows
        if self.rows >= WINDOW_ROWS:
            self._counts /= 2
            self.rows /= 2

    def indices(self) -> npt.NDArray[np.float64]:
        """The population stability index of each column."""
        if not self.rows:
            return np.zeros(len(self._counts))
        there = (self._expected > 0) | (self._counts > 0)
        now = np.maximum(self._counts / self.rows, LEAST_SHARE)
        then = np.maximum(self._expected, LEAST_SHARE)
        index: npt.NDArray[np.float64] = ((now - then) * np.log(now / then) * there).sum(axis=1)
        return index
