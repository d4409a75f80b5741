# SPDX-License-Identifier: Apache-2.0
"""Buffers of one size that are bound once to a session's inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Ports:
    """Names of a graph's inputs and outputs; `length` is "" when it takes none, `main` the output
    that counts.
    """

    matrix: str
    length: str
    outputs: tuple[str, ...]
    main: str


class Binding:
    """Room for one run: a matrix of `shape`, its lengths, and every output."""

    def __init__(self, session: Any, ports: Ports, shape: tuple[int, ...]) -> None:
        """Find the outputs' shapes by one run and bind all. Raises whatever the runtime raises."""
        self._matrix = np.zeros(shape, np.float32)
        self._flat = self._matrix.reshape(-1)
        self._nothing = np.zeros(self._matrix.size, np.float32)
        self._length = np.ones(shape[0], np.int64)
        self._whole = shape[1] if ports.length else 0
        self._binding = session.io_binding()
        given: dict[str, npt.NDArray[Any]] = {ports.matrix: self._matrix}
        if ports.length:
            given[ports.length] = self._length
        for name, array in given.items():
            self._binding.bind_input(
                name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data
            )
        self._outputs: dict[str, npt.NDArray[np.float32]] = {}
        for name, value in zip(ports.outputs, session.run(ports.outputs, given), strict=True):
            if value.shape[:1] != shape[:1]:
                raise ValueError(f"output {name} has {value.shape} for {shape[0]} rows")
            into = self._outputs[name] = np.zeros_like(value)
            self._binding.bind_output(name, "cpu", 0, np.float32, into.shape, into.ctypes.data)

    def run(
        self,
        session: Any,
        matrix: npt.NDArray[np.float32],
        length: npt.NDArray[np.int64] | None,
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Every output for at most as many rows as there is room for; the arrays are written over
        by the next run.

        Raises ValueError when a value is not finite.
        """
        rows = len(matrix)
        if rows == len(self._matrix):
            self._matrix[...] = matrix
        else:
            self._matrix[:rows] = matrix
            self._matrix[rows:] = 0
        if self._whole:
            self._length[:rows] = self._whole if length is None else length
            self._length[rows:] = 1
        # NaN and infinity times zero are NaN: one pass, a quarter of what isfinite takes.
        if np.vdot(self._flat, self._nothing) != 0:
            raise ValueError("a feature is NaN or infinite")
        session.run_with_iobinding(self._binding)
        return self._outputs
