# SPDX-License-Identifier: Apache-2.0
"""`model.toml`, the recipe of a model: what goes in, what comes out, from what it was made and how
well it does.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fortress.inference.rejection import ModelRejected

FORMAT = 1
MAX_RECIPE_BYTES = 1 << 20
_MAX_KNOTS = 4096
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Calibration:
    """A monotone table from a model's raw score to the probability of attack; between knots it is
    linear.
    """

    score: tuple[float, ...]
    probability: tuple[float, ...]

    def apply(self, score: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The calibrated probabilities of raw scores, float32, the same shape."""
        return np.interp(score, self.score, self.probability).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What `model.toml` says; `threshold` is the risk at which a flow counts as found."""

    name: str
    version: str
    file: str
    sha256: str
    features: tuple[str, ...]
    fingerprint: str
    classes: tuple[str, ...]
    threshold: float
    calibration: Calibration
    everything: Mapping[str, Any]


def read_recipe(path: Path) -> Recipe:
    """The recipe in the file at `path`, complete and plausible. Raises ModelRejected ("recipe")."""
    try:
        if path.stat().st_size > MAX_RECIPE_BYTES:
            raise ModelRejected("recipe", path, f"larger than {MAX_RECIPE_BYTES} bytes")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelRejected("missing", path, "no such recipe") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelRejected("recipe", path, f"cannot be read as TOML: {error}") from None
    fields = _Fields(path, table)
    if fields.take("format", int) != FORMAT:
        raise ModelRejected("recipe", path, f"format is {table['format']}, not {FORMAT}")
    recipe = Recipe(
        name=fields.take("name", str),
        version=fields.take("version", str),
        file=fields.take("file", str),
        sha256=fields.take("sha256", str),
        features=fields.words("input.features"),
        fingerprint=fields.take("input.fingerprint", str),
        classes=fields.words("output.classes"),
        threshold=fields.number("threshold.risk"),
        calibration=Calibration(
            fields.numbers("calibration.score"), fields.numbers("calibration.probability")
        ),
        everything=table,
    )
    _check(recipe, path)
    return recipe


def _check(recipe: Recipe, path: Path) -> None:
    calibration = recipe.calibration
    problems = (
        (PurePosixPath(recipe.file).name != recipe.file, "file is not a plain file name"),
        (recipe.name != path.parent.name, f"name is {recipe.name!r}, not the folder's name"),
        (len(set(recipe.features)) != len(recipe.features), "a feature is listed twice"),
        (not recipe.features, "input.features is empty"),
        (len(recipe.classes) < 2, "output.classes needs two or more"),
        (recipe.classes[:1] != ("benign",), "the first of output.classes is not 'benign'"),
        (not 0 < recipe.threshold < 1, "threshold.risk is not between 0 and 1"),
        (
            len(calibration.score) != len(calibration.probability)
            or not 2 <= len(calibration.score) <= _MAX_KNOTS,
            f"calibration needs 2 to {_MAX_KNOTS} pairs",
        ),
        (
            any(a >= b for a, b in zip(calibration.score, calibration.score[1:], strict=False)),
            "calibration.score does not rise",
        ),
        (
            list(calibration.probability) != sorted(calibration.probability)
            or not all(0 <= value <= 1 for value in calibration.probability),
            "calibration.probability falls or leaves 0 to 1",
        ),
    )
    for wrong, message in problems:
        if wrong:
            raise ModelRejected("recipe", path, message)


@dataclass(frozen=True, slots=True)
class _Fields:
    """Typed look-ups of dotted keys that name the key when they fail."""

    path: Path
    table: Mapping[str, Any]

    def take(self, key: str, kind: type[_T]) -> _T:
        """The value at `key`."""
        value: Any = self.table
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            problem = "is missing" if value is None else f"is not {kind.__name__}"
            raise ModelRejected("recipe", self.path, f"{key} {problem}")
        return value

    def number(self, key: str) -> float:
        """The finite number at `key`."""
        return self._finite(key, self.take(key, object))

    def words(self, key: str) -> tuple[str, ...]:
        """The list of strings at `key`."""
        values = self.take(key, list)
        if not all(isinstance(value, str) for value in values):
            raise ModelRejected("recipe", self.path, f"{key} is not a list of strings")
        return tuple(values)

    def numbers(self, key: str) -> tuple[float, ...]:
        """The list of finite numbers at `key`."""
        return tuple(self._finite(key, value) for value in self.take(key, list))

    def _finite(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ModelRejected("recipe", self.path, f"{key} holds {value!r}, no finite number")
        return float(value)
