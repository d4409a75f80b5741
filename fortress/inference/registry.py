# SPDX-License-Identifier: Apache-2.0
"""The registry: finds models in a folder, verifies them, and hands out those that may be used.

A model is a folder with `model.toml`, `card.md` and one .onnx file. It is refused (ModelRejected)
unless its size is within bounds, its sha256 is the recipe's, the features it wants are exactly the
ones this program computes, and its graph is made of known operators of the standard domains only,
whole in one file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from fortress.inference.families import check_features
from fortress.inference.onnx_file import MalformedModel, read_content
from fortress.inference.recipe import Calibration, Recipe, read_recipe
from fortress.inference.rejection import ModelRejected

_T = TypeVar("_T")

MAX_MODEL_BYTES = 16 << 20  # a forest of 250,000 nodes takes 9.6 MB; ours are far smaller

# What skl2onnx and torch emit for trees, small networks and recurrent ones; newest opset by domain.
MAX_OPSETS = {"": 22, "ai.onnx.ml": 5}
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
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A verified model: its recipe, the folder it lies in and the bytes of its graph."""

    recipe: Recipe
    folder: Path
    onnx: bytes

    @property
    def path(self) -> Path:
        """Where the graph lies."""
        return self.folder / self.recipe.file

    def threshold(self, name: str = "risk") -> float:
        """The recipe's threshold of that name. Raises ModelRejected ("recipe")."""
        return self._named("threshold", self.recipe.thresholds, name)

    def calibration(self, name: str = "risk") -> Calibration:
        """The recipe's calibration table of that name. Raises ModelRejected ("recipe")."""
        return self._named("calibration", self.recipe.calibrations, name)

    def _named(self, table: str, values: Mapping[str, _T], name: str) -> _T:
        if name not in values:
            raise ModelRejected("recipe", self.folder / "model.toml", f"{table}.{name} is missing")
        return values[name]


@dataclass(frozen=True, slots=True)
class Listing:
    """A line of the registry's list; `problem` says why the model is refused, "" if it is not."""

    name: str
    version: str
    folder: Path
    size_bytes: int
    problem: str


def shipped_models() -> Path:
    """The folder of the models that ship with Fortress: the installed package, else the checkout's
    `models/`.
    """
    spec = find_spec("fortress_models")
    if spec is not None and spec.submodule_search_locations:
        for place in spec.submodule_search_locations:
            if Path(place).is_dir():
                return Path(place)
    return Path(__file__).resolve().parents[2] / "models"


class Registry:
    """The models in one folder."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = shipped_models() if root is None else root

    def names(self) -> tuple[str, ...]:
        """Folders that hold a recipe, sorted."""
        return tuple(sorted(path.parent.name for path in self.root.glob("*/model.toml")))

    def list(self) -> tuple[Listing, ...]:
        """Every model with its version, and why it is refused if it is."""
        return tuple(self._listing(name) for name in self.names())

    def load(self, name: str) -> ModelEntry:
        """The verified model `name`. Raises ModelRejected with the reason."""
        folder = self._folder(name)
        recipe = read_recipe(folder / "model.toml")
        if recipe.name != name:
            raise ModelRejected(
                "recipe", folder / "model.toml", f"name is {recipe.name!r}, not the folder's name"
            )
        path = folder / recipe.file
        onnx = _read_bounded(path)
        digest = hashlib.sha256(onnx).hexdigest()
        if digest != recipe.sha256:
            raise ModelRejected(
                "sha256", path, f"sha256 is {digest}, the recipe says {recipe.sha256}"
            )
        check_model(onnx, recipe, folder)
        return ModelEntry(recipe, folder, onnx)

    def card(self, name: str) -> str:
        """What the model is worth and what it cannot do, as Markdown. Raises ModelRejected
        ("missing").
        """
        path = self._folder(name) / "card.md"
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ModelRejected("missing", path, "no such card") from None

    def _folder(self, name: str) -> Path:
        if name not in self.names():
            known = ", ".join(self.names()) or "none"
            raise ModelRejected("missing", self.root / name, f"no such model (there: {known})")
        return self.root / name

    def _listing(self, name: str) -> Listing:
        folder = self.root / name
        version, size = "", 0
        try:
            recipe = read_recipe(folder / "model.toml")
            version = recipe.version
            size = len(self.load(name).onnx)
        except ModelRejected as rejected:
            return Listing(name, version, folder, size, str(rejected))
        return Listing(name, version, folder, size, "")


def check_model(onnx: bytes, recipe: Recipe, folder: Path) -> None:
    """Return when the registry would take these bytes with this recipe: the last step of an export.

    Raises ModelRejected.
    """
    if len(onnx) > MAX_MODEL_BYTES:
        raise ModelRejected("size", folder / recipe.file, f"{len(onnx)} bytes > {MAX_MODEL_BYTES}")
    path = folder / recipe.file
    check_features(recipe, folder / "model.toml")
    opset = check_content(onnx, path)
    if opset != recipe.opset:
        raise ModelRejected("opset", path, f"opset {opset}, the recipe says {recipe.opset}")
    if len(onnx) != recipe.size_bytes:
        raise ModelRejected("size", path, f"{len(onnx)} bytes, the recipe says {recipe.size_bytes}")


def _read_bounded(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            onnx = file.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise ModelRejected("missing", path, f"cannot be read: {error.strerror}") from None
    if len(onnx) > MAX_MODEL_BYTES:
        raise ModelRejected("size", path, f"larger than {MAX_MODEL_BYTES} bytes")
    return onnx


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
