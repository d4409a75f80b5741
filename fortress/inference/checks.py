# SPDX-License-Identifier: Apache-2.0
"""Whether a graph may be run at all: known operators of known versions, whole in one file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fortress.inference.families import check_features
from fortress.inference.onnx_file import MalformedModel, read_content
from fortress.inference.recipe import Recipe
from fortress.inference.rejection import ModelRejected

# What skl2onnx and torch emit for trees, small networks and recurrent ones; newest opset by domain.
MAX_OPSETS = {"": 22, "ai.onnx.ml": 5, "com.microsoft": 1}
OPERATORS = {
    "": frozenset({
        "Abs", "Add", "ArgMax", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Div",
        "Equal", "Exp", "Expand", "Flatten", "Gather", "Gemm", "Greater", "Identity", "LSTM",
        "Less", "Log", "LogSoftmax", "MatMul", "Max", "Min", "Mul", "Neg", "Not", "Pow",
        "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Shape", "Sigmoid", "Slice",
        "Softmax", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze", "Where",
    }),
    "ai.onnx.ml": frozenset({
        "Normalizer", "Scaler", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor",
    }),
    # 8-bit recurrent networks and what stands around them (onnxruntime.quantization).
    "com.microsoft": frozenset({"DynamicQuantizeLSTM"}),
}  # fmt: skip


def check_model(onnx: bytes, recipe: Recipe, folder: Path) -> None:
    """Return when the registry would take these bytes with this recipe: the last step of an export.

    Raises ModelRejected.
    """
    path = folder / recipe.file
    check_features(recipe, folder / "model.toml")
    opset = check_content(onnx, path)
    if opset != recipe.opset:
        raise ModelRejected("opset", path, f"opset {opset}, the recipe says {recipe.opset}")
    if len(onnx) != recipe.size_bytes:
        raise ModelRejected("size", path, f"{len(onnx)} bytes, the recipe says {recipe.size_bytes}")


def check_content(onnx: bytes, path: Path) -> int:
    """The opset of the standard domain. Raises ModelRejected."""
    try:
        content = read_content(onnx)
    except MalformedModel as error:
        raise ModelRejected("malformed", path, f"is no ONNX model: {error}") from None
    if content.external_tensors:
        raise ModelRejected("external", path, "keeps weights in other files")
    if content.functions or content.subgraphs:
        raise ModelRejected("operator", path, "holds local functions or nested graphs")
    for domain, version in content.opsets.items():
        if version > MAX_OPSETS.get(domain, -1) or version < 1:
            raise ModelRejected(
                "opset", path, f"opset {domain or 'ai.onnx'} {version} is not allowed"
            )
    unknown = [
        f"{domain or 'ai.onnx'}.{name}"
        for domain, name in sorted(content.operators)
        if name not in OPERATORS.get(domain, ()) or domain not in content.opsets
    ]
    if unknown:
        raise ModelRejected("operator", path, f"operators not allowed: {_some(unknown)}")
    return content.opsets.get("", 0)


def _some(words: Iterable[str], most: int = 4) -> str:
    words = list(words)
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
