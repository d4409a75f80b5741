# SPDX-License-Identifier: Apache-2.0
"""`model.toml`, the recipe of a model: what goes in, what comes out, from what it was made and how
well it does.

docs/models.md has the keys one by one. Nothing is read that is not named here, and a key that is
not named here is an error: a recipe says all or nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.inference.fields import Fields
from fortress.inference.histogram import Histogram
from fortress.inference.rejection import ModelRejected

FORMAT = 2
KINDS = ("flow", "host", "sequence")
MAX_RECIPE_BYTES = 1 << 20
MAX_STEPS = 4096
_MAX_KNOTS = 4096
_NAME = r"[a-z0-9][a-z0-9-]{0,63}"
_VERSION = r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}"  # a folder's name
_SHA256 = r"[0-9a-f]{64}"
_FILE = r"[0-9A-Za-z][0-9A-Za-z._-]*\.onnx"


@dataclass(frozen=True, slots=True)
class Calibration:
    """A monotone table from a model's raw score to a probability; between knots it is linear."""

    score: tuple[float, ...]
    probability: tuple[float, ...]

    def apply(self, score: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The calibrated probabilities of raw scores, float32, the same shape."""
        return np.interp(score, self.score, self.probability).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Variant:
    """Another graph of the same model, such as one of 8-bit integers; `file` is relative."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What `model.toml` says; `thresholds["risk"]` is the risk from which something is found.

    `steps` is the longest sequence, 0 for a model of rows. `training`, `metrics` and `own` are free
    tables; `own` is read by the model's own class alone.
    """

    name: str
    version: str
    kind: str
    file: str
    sha256: str
    size_bytes: int
    opset: int
    features: tuple[str, ...]
    fingerprint: str
    columns: tuple[str, ...]
    steps: int
    classes: tuple[str, ...]
    thresholds: Mapping[str, float]
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    input_references: Mapping[str, Histogram] = field(default_factory=dict)
    score_reference: Histogram | None = None
    variants: Mapping[str, Variant] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)


def is_name(text: str) -> bool:
    """Whether a model may be called so; it is a folder's name."""
    return re.fullmatch(_NAME, text) is not None


def is_version(text: str) -> bool:
    """Whether a version may be called so; it is a folder's name."""
    return re.fullmatch(_VERSION, text) is not None


def read_recipe(path: Path) -> Recipe:
    """The recipe in the file at `path`, complete and plausible. Raises ModelRejected ("recipe")."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_RECIPE_BYTES + 1)
    except FileNotFoundError:
        raise ModelRejected("missing", path, "no such recipe") from None
    except OSError as error:
        raise ModelRejected("recipe", path, f"cannot be read: {error.strerror}") from None
    return parse_recipe(text, path)


def parse_recipe(text: bytes, path: Path) -> Recipe:
    """The recipe in the bytes of the file at `path`. Raises ModelRejected ("recipe")."""
    if len(text) > MAX_RECIPE_BYTES:
        raise ModelRejected("recipe", path, f"larger than {MAX_RECIPE_BYTES} bytes")
    try:
        table = tomllib.loads(text.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ModelRejected("recipe", path, f"cannot be read as TOML: {error}") from None
    if table.get("format") != FORMAT:
        told = f"format is {table['format']!r}" if "format" in table else "format is missing"
        raise ModelRejected("recipe", path, f"{told}, this program reads {FORMAT}")
    fields = Fields(path, "", table)
    put = fields.table("input")
    recipe = Recipe(
        name=fields.text("name", _NAME),
        version=fields.text("version", _VERSION),
        kind=fields.one_of("kind", KINDS),
        file=fields.text("file", _FILE),
        sha256=fields.text("sha256", _SHA256),
        size_bytes=fields.whole("bytes", 0, 1 << 40),
        opset=fields.whole("opset", 1, 1000),
        features=put.words("features"),
        fingerprint=put.text("fingerprint"),
        columns=put.words("columns"),
        steps=put.whole("steps", 0, MAX_STEPS),
        classes=fields.table("output").words("classes", only=True),
        thresholds=_thresholds(fields.table("threshold")),
        calibrations={
            name: _calibration(part) for name, part in fields.tables("calibration").items()
        },
        input_references={
            name: _histogram(part)
            for name, part in fields.table("reference", {}).tables("inputs").items()
        },
        score_reference=_score_reference(fields.table("reference", {})),
        variants={name: _variant(part) for name, part in fields.tables("variants").items()},
        training=fields.free("training"),
        metrics=fields.free("metrics"),
        own=fields.free("own"),
    )
    put.nothing_but("features", "fingerprint", "columns", "steps")
    fields.table("reference", {}).nothing_but("inputs", "scores")
    fields.nothing_but(
        "format", "name", "version", "kind", "file", "sha256", "bytes", "opset", "input", "output",
        "threshold", "calibration", "reference", "variants", "training", "metrics", "own",
    )  # fmt: skip
    _check(recipe, path)
    return recipe


def _thresholds(fields: Fields) -> dict[str, float]:
    thresholds = {name: fields.number(name) for name in ("risk", *fields.keys)}
    if not 0 < thresholds["risk"] < 1:
        raise fields.wrong("risk", "is not between 0 and 1")
    return thresholds


def _calibration(fields: Fields) -> Calibration:
    table = Calibration(fields.numbers("score"), fields.numbers("probability"))
    fields.nothing_but("score", "probability")
    if not 2 <= len(table.score) <= _MAX_KNOTS or len(table.score) != len(table.probability):
        raise fields.wrong("score", f"and probability need 2 to {_MAX_KNOTS} pairs")
    if not _rises(table.score):
        raise fields.wrong("score", "does not rise")
    if list(table.probability) != sorted(table.probability):
        raise fields.wrong("probability", "falls")
    if not all(0 <= value <= 1 for value in table.probability):
        raise fields.wrong("probability", "leaves 0 to 1")
    return table


def _histogram(fields: Fields) -> Histogram:
    histogram = Histogram(fields.numbers("edges"), fields.numbers("shares"))
    fields.nothing_but("edges", "shares")
    if not histogram.edges or not _rises(histogram.edges):
        raise fields.wrong("edges", "is empty or does not rise")
    if len(histogram.shares) != len(histogram.edges) + 1:
        raise fields.wrong("shares", "is not one longer than edges")
    if min(histogram.shares) < 0 or abs(sum(histogram.shares) - 1) > 1e-3:
        raise fields.wrong("shares", "do not add up to 1, or one is below 0")
    return histogram


def _score_reference(fields: Fields) -> Histogram | None:
    return _histogram(fields.table("scores")) if "scores" in fields.keys else None


def _variant(fields: Fields) -> Variant:
    fields.nothing_but("file", "sha256")
    return Variant(fields.text("file", f"variants/{_FILE}"), fields.text("sha256", _SHA256))


def _check(recipe: Recipe, path: Path) -> None:
    features, inputs = set(recipe.features), set(recipe.input_references)
    least = 1 if recipe.kind == "host" else 2
    problems = (
        (not recipe.features, "input.features is empty"),
        (len(features) != len(recipe.features), "input.features lists a feature twice"),
        (len(set(recipe.classes)) != len(recipe.classes), "output.classes lists a class twice"),
        (len(recipe.classes) < least, f"output.classes needs {least} or more"),
        (
            (recipe.kind == "sequence") != (recipe.steps > 0),
            f"input.steps is {recipe.steps}, kind is {recipe.kind}",
        ),
        (
            not inputs <= features,
            f"reference.inputs.{min(inputs - features, default='')} is no feature of this model",
        ),
    )
    for wrong, message in problems:
        if wrong:
            raise ModelRejected("recipe", path, message)


def _rises(values: tuple[float, ...]) -> bool:
    return all(a < b for a, b in pairwise(values))
