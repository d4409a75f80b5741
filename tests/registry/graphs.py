"""Small graphs with random weights, of every shape that a model may have."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fortress.inference import ModelEntry, Recipe

STEPS = 64
CLASSES = ("none", "reconnaissance", "access")


def weights(name: str, *shape: int, seed: int = 1) -> TensorProto:
    rng = np.random.default_rng((seed, len(name), *shape))
    return numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)


def network(width: int, classes: int, hidden: int = 32, seed: int = 1) -> bytes:
    """Rows through two layers to probabilities."""
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h1"]),
        helper.make_node("Tanh", ["h1"], ["h2"]),
        helper.make_node("Gemm", ["h2", "w2", "b2"], ["h3"]),
        helper.make_node("Softmax", ["h3"], ["probability"], axis=-1),
    ]
    values = [
        weights("w1", width, hidden, seed=seed),
        weights("b1", hidden),
        weights("w2", hidden, classes, seed=seed),
        weights("b2", classes),
    ]
    return whole(nodes, values, [tensor("x", "rows", width)], [("probability", classes)])


def recurrent(width: int = 20, classes: int = len(CLASSES), hidden: int = 24) -> bytes:
    """Sequences and their lengths through an LSTM to probabilities and a surprise."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["by_time"], perm=[1, 0, 2]),
        helper.make_node("Cast", ["length"], ["filled"], to=TensorProto.INT32),
        helper.make_node(
            "LSTM", ["by_time", "w", "r", "b", "filled"], ["", "last"], hidden_size=hidden
        ),
        helper.make_node("Squeeze", ["last", "axis"], ["state"]),
        helper.make_node("Gemm", ["state", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probability"], axis=-1),
        helper.make_node("ReduceMean", ["logits"], ["surprise"], axes=[1], keepdims=0),
    ]
    values = [
        weights("w", 1, 4 * hidden, width),
        weights("r", 1, 4 * hidden, hidden),
        weights("b", 1, 8 * hidden),
        weights("w2", hidden, classes),
        weights("b2", classes),
        numpy_helper.from_array(np.array([0], np.int64), "axis"),
    ]
    length = helper.make_tensor_value_info("length", TensorProto.INT64, ["rows"])
    inputs = [tensor("x", "rows", "time", width), length]
    return whole(nodes, values, inputs, [("probability", classes), ("surprise", None)])


def whole(
    nodes: list[onnx.NodeProto],
    values: list[TensorProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[tuple[str, int | None]],
) -> bytes:
    told = [tensor(name, *(("rows",) if n is None else ("rows", n))) for name, n in outputs]
    graph = helper.make_graph(nodes, "fortress", inputs, told, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def tensor(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def entry(onnx_bytes: bytes, kind: str, width: int, classes: tuple[str, ...]) -> ModelEntry:
    """The graph as a model whose features have no meaning: for the session alone."""
    recipe = Recipe(
        name="m",
        version="1",
        kind=kind,
        file="m.onnx",
        sha256="",
        size_bytes=len(onnx_bytes),
        opset=17,
        features=tuple(f"f{number}" for number in range(width)),
        fingerprint="",
        columns=(),
        steps=STEPS if kind == "sequence" else 0,
        classes=classes,
        thresholds={"risk": 0.5},
    )
    return ModelEntry(recipe, Path("models/m"), onnx_bytes)
