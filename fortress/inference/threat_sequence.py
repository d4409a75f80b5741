# SPDX-License-Identifier: Apache-2.0
"""At which stage of an attack each originator is, judged by its flows in order of time.

The state of the network (h, c) is carried for each originator, so a flow that ends costs one step,
not a window. Originators that take as many steps in a batch take them together. What a flow is
judged to be depends on the flows of its originator before it alone, however they were handed out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fortress.features import sequence
from fortress.features.inside import Inside
from fortress.features.keys import KeyTable, distinct, order_of
from fortress.features.sequence import Flows, Sequencer
from fortress.features.windows import REPLAY_SECRET
from fortress.inference.entry import ModelEntry
from fortress.inference.rejection import ModelRejected
from fortress.inference.session import open_session

Observer = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], None]

CAPACITY = 2048  # originators; with their marks 2.3 kB each
CARRIED = "carried"  # the variant of the graph that takes a state and gives it back
_CHUNK = 64
_MOST = 1024  # steps of one call of the runtime, but for a long row


@dataclass(frozen=True, slots=True)
class Stages:
    """What each of n steps says, in the order of the flows; a step is a flow (`row`) that ended.

    `originator` is its address (V16), `stage` the name of the likeliest stage, "none" below the
    threshold; `risk` the calibrated probability that it belongs to an attack, `surprise` the share
    of ordinary steps that surprise less; float32.
    """

    row: npt.NDArray[np.intp]
    originator: npt.NDArray[np.void]
    stage: npt.NDArray[np.str_]
    risk: npt.NDArray[np.float32]
    surprise: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.row)


class ThreatSequence:
    """The model `threat-lstm` at work; bounded by the originators that it remembers."""

    def __init__(
        self,
        entry: ModelEntry,
        observer: Observer | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        """Open the model; `observer` is told the features and the risk of every step.

        Raises ModelRejected when the runtime refuses it or its shape is not the recipe's.
        """
        self._observer = observer
        self.name = entry.recipe.name
        self.version = entry.recipe.version
        self.classes = entry.recipe.classes
        self.features = entry.recipe.features
        self.columns = sequence.COLUMNS
        self.threshold = entry.threshold()
        self._risk, self._surprise = entry.calibration(), entry.calibration("surprise")
        self._names = np.array(self.classes)
        self._cell = _Cell(entry)
        self.sequencer = Sequencer(capacity, REPLAY_SECRET)
        self._h = np.zeros((capacity, self._cell.hidden), np.float32)
        self._c = np.zeros((capacity, self._cell.hidden), np.float32)

    @classmethod
    def from_entry(cls, entry: ModelEntry) -> ThreatSequence:
        """The model of a registry's entry."""
        return cls(entry)

    @property
    def memory_bytes(self) -> int:
        """What is held of originators, whether in use or not."""
        return self.sequencer.memory_bytes + self._h.nbytes + self._c.nbytes

    def observe(self, tick_ns: int, flows: Flows) -> Stages:
        """What the flows that ended by `tick_ns` say of their originators; `flows` maps at least
        the names in `columns` to arrays of one length, in the order in which the core hands them
        out.
        """
        steps = self.sequencer.observe(flows, tick_ns)
        self._h[steps.fresh] = self._c[steps.fresh] = 0
        probability, surprise = self._walk(steps.slot, steps.matrix)
        risk = self._risk.apply(1 - probability[:, 0])
        if self._observer is not None:
            self._observer(steps.matrix, risk)
        likeliest = 1 + np.argmax(probability[:, 1:], axis=1)
        stage = self._names[np.where(risk >= self.threshold, likeliest, 0)]
        originator = flows["orig_addr"][steps.row]
        return Stages(steps.row, originator, stage, risk, self._surprise.apply(surprise))

    @property
    def table(self) -> KeyTable:
        """Who is remembered, for its counters of evictions and refusals."""
        return self.sequencer.table

    def begin(self, secret: int) -> None:
        """Forgets every originator; keys are made with this secret from now on."""
        inside = self.sequencer.inside
        self.sequencer = Sequencer(self.sequencer.table.capacity, secret)
        self.sequencer.inside = inside

    def take_side(self, inside: Inside | None) -> None:
        """Says which addresses are on our side: there a sender is its address with its MAC."""
        self.sequencer.inside = inside

    def clear(self) -> None:
        """Forgets every originator."""
        self.sequencer.clear()

    def _walk(
        self, slot: npt.NDArray[np.intp], matrix: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The probabilities of each stage and the surprise of each step; states move on."""
        probability = np.empty((len(slot), len(self.classes)), np.float32)
        surprise = np.empty(len(slot), np.float32)
        for rows in _alike(slot):  # (originators, steps of each)
            most = max(_MOST // rows.shape[1], 1)
            for start in range(0, len(rows), most):
                some = rows[start : start + most]
                at = slot[some[:, 0]]
                told = self._cell.steps(matrix[some], self._h[at], self._c[at])
                probability[some], surprise[some], self._h[at], self._c[at] = told
        return probability, surprise


class _Cell:
    """The graph that takes one step: a session whose answers do not depend on their neighbours."""

    def __init__(self, entry: ModelEntry) -> None:
        onnx = entry.graph(CARRIED)
        path = entry.folder / entry.recipe.variants[CARRIED].file
        self._session = open_session(onnx, path)
        inputs = {item.name: item.shape for item in self._session.get_inputs()}
        outputs = [item.name for item in self._session.get_outputs()]
        width = len(entry.recipe.features)
        if list(inputs) != ["sequence", "h0", "c0"] or inputs["sequence"][-1] != width:
            raise ModelRejected("shape", path, f"inputs are {inputs}, not sequence, h0, c0")
        if outputs != ["stage", "surprise", "h", "c"]:
            raise ModelRejected("shape", path, f"outputs are {outputs}")
        self.hidden = int(inputs["h0"][-1])
        self._padded = False
        self._padded = not self._is_alike(width)

    def steps(self, *given: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Probabilities and surprise of each step, and h and c after the last: of rows of steps
        (rows, steps, features), from h and c (rows, hidden).
        """
        if not self._padded:
            return self._run(*given)
        pieces = []
        for start in range(0, len(given[0]), _CHUNK):
            piece = [part[start : start + _CHUNK] for part in given]
            filled = len(piece[0])
            whole = [np.zeros((_CHUNK, *part.shape[1:]), np.float32) for part in piece]
            for into, part in zip(whole, piece, strict=True):
                into[:filled] = part
            pieces.append([part[:filled] for part in self._run(*whole)])
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _run(self, *given: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        feed = dict(zip(("sequence", "h0", "c0"), given, strict=True))
        result: list[npt.NDArray[np.float32]] = self._session.run(None, feed)
        return result

    def _is_alike(self, width: int) -> bool:
        """Whether a row has the same bits alone and among others on this machine."""
        shapes = ((_MOST, 2, width), (_MOST, self.hidden), (_MOST, self.hidden))
        wave = np.sin(np.arange(_MOST * 2 * max(width, self.hidden), dtype=np.float32))
        rows = [wave[: int(np.prod(shape))].reshape(shape) for shape in shapes]
        whole = self.steps(*rows)
        for size in (1, 3, 16, 100):
            some = self.steps(*(part[:size] for part in rows))
            if not all(np.array_equal(a, b[:size]) for a, b in zip(some, whole, strict=True)):
                return False
        return True


def _alike(slot: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """Rows by originator, (originators, steps of each) for each number of steps that some take."""
    if not len(slot):
        return []
    order = order_of(slot)
    ordered = slot[order]
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.diff(begins, append=len(slot))
    return [
        order[begins[counts == count][:, None] + np.arange(count)] for count in distinct(counts)
    ]
