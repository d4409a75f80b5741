# SPDX-License-Identifier: Apache-2.0
"""From a fitted scikit-learn model to a folder the registry takes: the graph, its parity, the
recipe and the card.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

from fortress.errors import ModelError
from fortress.inference.recipe import FORMAT, read_recipe
from fortress.inference.registry import ModelEntry, check_content, check_model
from fortress.inference.session import Session

MAX_DIFFERENCE = 1e-5  # between scikit-learn and ONNX Runtime, in probability
OPSETS = {"": 17, "ai.onnx.ml": 3}
_BATCHES = (1, 2, 31, 64, 65, 1000)


def to_graph(model: Any, width: int) -> bytes:
    """The fitted classifier as an ONNX graph of one file: float32 [rows, width] to probabilities
    [rows, classes].
    """
    with warnings.catch_warnings():
        # skl2onnx hands numpy booleans of boosted trees to protobuf as integers: numpy deprecates
        # that, protobuf 7 refuses it (hence protobuf<7 in the extra `train`), the values are right.
        warnings.simplefilter("ignore", DeprecationWarning)
        graph = to_onnx(
            model,
            initial_types=[("features", FloatTensorType([None, width]))],
            options={id(model): {"zipmap": False}},
            target_opset=OPSETS,
        )
    for field in ("producer_version", "doc_string"):  # the file depends on the model alone
        graph.ClearField(field)
    graph.graph.name = "fortress"
    serialized: bytes = graph.SerializeToString(deterministic=True)
    return serialized


def parity(model: Any, session: Session, matrix: npt.NDArray[np.float32]) -> float:
    """The largest difference in probability between scikit-learn and the session, in batches of
    several sizes.

    Raises ModelError when it exceeds MAX_DIFFERENCE or when a batch size changes a single bit.
    """
    ours = session.run(matrix)
    worst = float(np.abs(model.predict_proba(matrix) - ours).max())
    if worst > MAX_DIFFERENCE:
        raise ModelError(
            f"ONNX differs from scikit-learn by {worst:.2e}, allowed is {MAX_DIFFERENCE}"
        )
    for size in _BATCHES:
        some = matrix[: 20 * size]
        pieces = [session.run(some[start : start + size]) for start in range(0, len(some), size)]
        if not np.array_equal(np.concatenate(pieces), ours[: len(some)]):
            raise ModelError(f"batches of {size} give other results than one batch")
    return worst


def publish(
    folder: Path,
    onnx: bytes,
    recipe: Mapping[str, Any],
    card: str,
    file: str,
    variants: Mapping[str, bytes] | None = None,
) -> ModelEntry:
    """Write graph, recipe and card into `folder` as the registry wants them, and return the checked
    entry; `variants` are further graphs by name.

    Raises ModelRejected when the registry would not take it; nothing is written then.
    """
    variants = variants or {}
    table = {
        "format": FORMAT,
        "name": folder.name,
        **recipe,
        "file": file,
        "sha256": hashlib.sha256(onnx).hexdigest(),
        "bytes": len(onnx),
        "opset": check_content(onnx, folder / file),
        "variants": {
            name: {"file": f"variants/{name}.onnx", "sha256": hashlib.sha256(other).hexdigest()}
            for name, other in variants.items()
        },
    }
    for name, other in variants.items():
        check_content(other, folder / "variants" / f"{name}.onnx")
    folder.mkdir(parents=True, exist_ok=True)
    text = (
        "# Written by `fortress model train`; what each key means is in docs/models.md.\n"
        + to_toml(table)
    )
    part = folder / "model.toml.part"
    part.write_text(text, encoding="utf-8")
    try:
        checked = read_recipe(part)
        check_model(onnx, checked, folder)
    except Exception:
        part.unlink()
        raise
    (folder / file).write_bytes(onnx)
    for name, other in variants.items():
        (folder / "variants").mkdir(exist_ok=True)
        (folder / "variants" / f"{name}.onnx").write_bytes(other)
    (folder / "card.md").write_text(card, encoding="utf-8")
    part.replace(folder / "model.toml")
    return ModelEntry(checked, folder, onnx)


def to_toml(table: Mapping[str, Any]) -> str:
    """A nested mapping as TOML: plain values first, then a section for each mapping; strings,
    numbers, lists.
    """
    return _section((), table).lstrip("\n")


def _section(path: tuple[str, ...], table: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    head = f"\n[{'.'.join(map(_key, path))}]\n" if path and (plain or not table) else ""
    text = head + "".join(line + "\n" for line in lines)
    for key, value in table.items():
        if isinstance(value, Mapping):
            text += _section((*path, key), value)
    return text


def _key(key: str) -> str:
    bare = key.replace("_", "").replace("-", "")
    return key if bare.isascii() and bare.isalnum() else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Sequence):
        items = [_value(item) for item in value]
        one_line = f"[{', '.join(items)}]"
        if len(one_line) <= 90:
            return one_line
        return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    raise TypeError(f"{type(value).__name__} has no place in a recipe")
