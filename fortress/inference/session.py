# SPDX-License-Identifier: Apache-2.0
"""An ONNX Runtime session on one thread that always computes whole chunks of rows.

The runtime may take another path for one row than for a thousand, with another order of additions;
chunks of one size (the last one padded with zeros) make a row's result independent of how many rows
are asked for at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.inference.registry import ModelEntry
from fortress.inference.rejection import ModelRejected

CHUNK_ROWS = 64  # measured (docs/models.md): near the fastest, and cheap for a lone flow


class Session:
    """A verified model, ready to run: rows of float32 features in, class probabilities out."""

    def __init__(self, entry: ModelEntry) -> None:
        self.width = len(entry.recipe.features)
        self.classes = len(entry.recipe.classes)
        path = entry.folder / entry.recipe.file
        self._session = _open(entry.onnx, path)
        self._input = self._session.get_inputs()[0].name
        self._output = _check_shapes(self._session, self.width, self.classes, path)

    def run(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities, shape (rows, classes), of finite features, shape (rows, width).

        Raises ValueError when the shape or type is another.
        """
        if matrix.ndim != 2 or matrix.shape[1] != self.width or matrix.dtype != np.float32:
            raise ValueError(
                f"a matrix of {matrix.dtype} {matrix.shape}, not float32 (rows, {self.width})"
            )
        rows = len(matrix)
        result = np.empty((rows, self.classes), np.float32)
        for start in range(0, rows, CHUNK_ROWS):
            chunk = matrix[start : start + CHUNK_ROWS]
            filled = len(chunk)
            if filled < CHUNK_ROWS:
                padded = np.zeros((CHUNK_ROWS, self.width), np.float32)
                padded[:filled] = chunk
                chunk = padded
            (probability,) = self._session.run([self._output], {self._input: chunk})
            result[start : start + filled] = probability[:filled]
        return result


def _open(onnx: bytes, path: Path) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else it calls home and writes into the home folder
    import onnxruntime  # slow to import, and only those who run a model need it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions have no base class of their own
        raise ModelRejected("runtime", path, f"ONNX Runtime refuses it: {error}") from None


def _check_shapes(session: Any, width: int, classes: int, path: Path) -> str:
    """The name of the output with the probabilities. Raises ModelRejected ("shape")."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or inputs[0].shape[1:] != [width]:
        told = ", ".join(f"{item.type} {item.shape}" for item in inputs)
        raise ModelRejected("shape", path, f"inputs are {told}, not tensor(float) [rows, {width}]")
    for output in session.get_outputs():
        if output.type == "tensor(float)" and output.shape[1:] == [classes]:
            return str(output.name)
    told = ", ".join(f"{item.type} {item.shape}" for item in session.get_outputs())
    raise ModelRejected(
        "shape", path, f"outputs are {told}, none is tensor(float) [rows, {classes}]"
    )
