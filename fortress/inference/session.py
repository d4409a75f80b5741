# SPDX-License-Identifier: Apache-2.0
"""An ONNX Runtime session on one thread whose answer for a row does not depend on its neighbours.

A runtime may take another path for one row than for a thousand, with another order of additions,
and a graph that quantizes as it runs looks at the whole batch. So rows are computed in pieces of a
few sizes, and a size is used only when it gave, at start, the very bits that single rows give; the
same runs warm the session up. Inputs and outputs of each size are bound once.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.inference.binding import Binding, Ports
from fortress.inference.entry import ModelEntry
from fortress.inference.recipe import Recipe
from fortress.inference.rejection import ModelRejected

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

# Measured (docs/models.md): more rows a run gain little for trees and small networks; a recurrent
# network is fastest at 8, where its state and weights stay in the first cache.
ROWS = (256, 64, 8, 1)
WINDOWS = (8, 1)
_MOST_BINDINGS = 64  # sizes × lengths of time that stay bound
_GOLDEN = 0.618033988749895  # its multiples, modulo 1, fall everywhere (Weyl)
_FLOAT32 = np.dtype(np.float32)


class Session:
    """A verified model, ready to run and warm: float32 features in, probabilities out.

    `outputs` names all of the graph's float32 outputs; `sizes` are the pieces it computes in.
    """

    def __init__(self, entry: ModelEntry) -> None:
        """Open the model. Raises ModelRejected when the runtime refuses it or its shape is not the
        recipe's.
        """
        recipe = entry.recipe
        self.width = len(recipe.features)
        self.steps = recipe.steps
        self._session = open_session(entry.onnx, entry.path)
        self._ports = _ports(self._session, recipe, entry.path)
        self.outputs = tuple(self._ports.outputs)
        self._bindings: dict[tuple[int, int], Binding] = {}
        self.sizes: tuple[int, ...] = (1,)
        self.sizes = self._sizes_that_agree(entry.path)

    def run(self, matrix: Float32, length: Int64 | None = None) -> Float32:
        """The probabilities, float32 (rows, classes); the first output of a model without classes.

        `matrix` is (rows, width) or, for sequences, (rows, time, width), finite, time at most
        `steps`; `length` (rows,) says how many steps of each are filled (default: all). Raises
        ValueError when a shape, a type or a value is another.
        """
        if len(matrix) == 1:  # a lone row shall cost little more than the runtime takes
            time = self._check(matrix, length)
            binding = self._bindings.get((1, time)) or self._bind(1, time)
            return binding.run(self._session, matrix, length)[self._ports.main].copy()
        return self.run_all(matrix, length)[self._ports.main]

    def run_all(self, matrix: Float32, length: Int64 | None = None) -> dict[str, Float32]:
        """Every float32 output by name, first axis rows; as `run` else."""
        time = self._check(matrix, length)
        rows = len(matrix)
        result: dict[str, Float32] = {}
        start = 0
        while start < rows or not result:
            size = self._size_for(rows - start)
            binding = self._bindings.get((size, time)) or self._bind(size, time)
            filled = min(size, rows - start)
            end = start + filled
            given = None if length is None else length[start:end]
            parts = binding.run(self._session, matrix[start:end], given)
            if filled == rows:
                return {name: part[:rows].copy() for name, part in parts.items()}
            for name, part in parts.items():
                if name not in result:
                    result[name] = np.empty((rows, *part.shape[1:]), np.float32)
                result[name][start:end] = part[:filled]
            start = end
        return result

    def _size_for(self, rows: int) -> int:
        """The largest size that at least half as many rows fill."""
        for size in self.sizes:
            if 2 * rows >= size:
                return size
        return self.sizes[-1]

    def _check(self, matrix: Float32, length: Int64 | None) -> int:
        shape = matrix.shape
        rank = 3 if self.steps else 2
        if len(shape) != rank or shape[-1] != self.width or matrix.dtype != _FLOAT32:
            wanted = f"(rows, {'time, ' if self.steps else ''}{self.width})"
            raise ValueError(f"a matrix of {matrix.dtype} {shape}, not float32 {wanted}")
        if not self.steps:
            if length is not None:
                raise ValueError("lengths for a model of rows")
            return 0
        time = int(matrix.shape[1])
        if not 1 <= time <= self.steps:
            raise ValueError(f"{time} steps, not 1 to {self.steps}")
        if length is not None:
            if not self._ports.length:
                raise ValueError("lengths for a model that takes none")
            if length.shape != matrix.shape[:1] or length.dtype != np.int64:
                raise ValueError(
                    f"lengths of {length.dtype} {length.shape}, not int64 ({len(matrix)},)"
                )
            if len(length) and not 1 <= length.min() <= length.max() <= time:
                raise ValueError(f"lengths of {length.min()} to {length.max()}, not 1 to {time}")
        return time

    def _bind(self, size: int, time: int) -> Binding:
        while len(self._bindings) >= _MOST_BINDINGS:
            del self._bindings[next(iter(self._bindings))]
        shape = (size, time, self.width) if self.steps else (size, self.width)
        binding = self._bindings[size, time] = Binding(self._session, self._ports, shape)
        return binding

    def _sizes_that_agree(self, path: Path) -> tuple[int, ...]:
        """The sizes at which rows have the bits that they have alone, the largest first."""
        sizes = WINDOWS if self.steps else ROWS
        time = min(self.steps, 16)
        shape = (sizes[0], time, self.width) if self.steps else (sizes[0], self.width)
        spread = np.arange(math.prod(shape)) * _GOLDEN % 1  # numpy.random takes 5 ms to import
        probe = np.exp(12 * spread - 6).astype(np.float32).reshape(shape)
        length = 1 + 7 * np.arange(sizes[0]) % time if self._ports.length else None
        try:
            alone = self._all_at(1, probe, length)
            if not all(np.isfinite(part).all() for part in alone.values()):
                raise ModelRejected("nan", path, "answers finite numbers with NaN or infinity")
            agreeing = [
                size
                for size in sizes[:-1]
                if all(
                    np.array_equal(part, alone[name])
                    for name, part in self._all_at(size, probe, length).items()
                )
            ]
        except ModelRejected:
            raise
        except Exception as error:  # the runtime's exceptions have no base class of their own
            raise ModelRejected("runtime", path, f"does not run: {error}") from None
        return (*agreeing, 1)

    def _all_at(self, size: int, matrix: Float32, length: Int64 | None) -> dict[str, Float32]:
        """Every output for the rows, `size` at a time."""
        pieces = []
        binding = self._bind(size, matrix.shape[1] if self.steps else 0)
        for start in range(0, len(matrix), size):
            piece = slice(start, start + size)
            given = None if length is None else length[piece]
            parts = binding.run(self._session, matrix[piece], given)
            pieces.append({name: part.copy() for name, part in parts.items()})
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def open_session(onnx: bytes, path: Path) -> Any:
    """ONNX Runtime's session over checked bytes, one thread. Raises ModelRejected ("runtime")."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else it calls home and writes into the home folder
    import onnxruntime  # slow to import, and only those who run a model need it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False  # or what the largest batch took is kept for good
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions have no base class of their own
        raise ModelRejected("runtime", path, f"ONNX Runtime refuses it: {error}") from None


def _ports(session: Any, recipe: Recipe, path: Path) -> Ports:
    """The names of inputs and outputs. Raises ModelRejected ("shape")."""
    inputs, width = session.get_inputs(), len(recipe.features)
    free = 2 if recipe.steps else 1  # axes of any length: rows, time
    wanted = f"tensor(float) [{'rows, time' if recipe.steps else 'rows'}, {width}]"
    if recipe.steps:
        wanted += " and at most tensor(int64) [rows]"
    fits = (
        len(inputs) in (1, free)
        and inputs[0].type == "tensor(float)"
        and len(inputs[0].shape) == free + 1
        and inputs[0].shape[-1] == width
        and not any(isinstance(axis, int) for axis in inputs[0].shape[:-1])
        and all(item.type == "tensor(int64)" and len(item.shape) == 1 for item in inputs[1:])
    )
    if not fits:
        raise ModelRejected("shape", path, f"inputs are {_told(inputs)}, not {wanted}")
    outputs = [item for item in session.get_outputs() if _is_by_row(item)]
    classes = [
        item for item in outputs if len(item.shape) == 2 and item.shape[1] == len(recipe.classes)
    ]
    main = classes or (outputs if recipe.kind == "host" else [])
    if not main:
        wanted = f"tensor(float) [rows, {len(recipe.classes)}]"
        told = _told(session.get_outputs())
        raise ModelRejected("shape", path, f"outputs are {told}, none is {wanted}")
    return Ports(
        matrix=inputs[0].name,
        length=inputs[1].name if len(inputs) > 1 else "",
        outputs=tuple(item.name for item in outputs),
        main=main[0].name,
    )


def _is_by_row(output: Any) -> bool:
    floats = output.type == "tensor(float)"
    return floats and len(output.shape) >= 1 and not isinstance(output.shape[0], int)


def _told(items: Any) -> str:
    return ", ".join(f"{item.type} {item.shape}" for item in items)
