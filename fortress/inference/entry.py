# SPDX-License-Identifier: Apache-2.0
"""A verified model, and a line of the registry's list."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from fortress.inference.checks import check_content
from fortress.inference.files import MAX_FILE_BYTES, read_bounded
from fortress.inference.recipe import Calibration, Recipe
from fortress.inference.rejection import ModelRejected

SHIPPED = "shipped"  # stands for the version of a model that ships where a version is named

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A verified model: its recipe, the folder it lies in and the bytes of its graph.

    `publisher` is the id of the key that signed it, SHIPPED for a model that ships, "" for a draft
    that nobody has signed. `variant` is the one that is run ("" for the graphs as trained).
    """

    recipe: Recipe
    folder: Path
    onnx: bytes
    publisher: str = ""
    variant: str = ""

    def as_variant(self, variant: str) -> ModelEntry:
        """The model with its graphs replaced by those of a variant; "" is the model itself.

        A variant is whole: of each further graph NAME there is NAME-VARIANT, too. Raises
        ModelRejected ("variant") when the model has none of that name, or only a part of it.
        """
        if not variant:
            return self
        others = {name for name in self.recipe.variants if "-" not in name} - {variant}
        wanted = [variant, *(f"{name}-{variant}" for name in sorted(others))]
        lacking = [name for name in wanted if name not in self.recipe.variants]
        if lacking:
            known = ", ".join(self.recipe.variants) or "none"
            raise ModelRejected(
                "variant",
                self.folder / "model.toml",
                f"{self.recipe.name} {self.recipe.version} has no variant {variant!r}: no graph"
                f" {', '.join(lacking)} (there: {known});"
                f" models.{self.recipe.name.replace('-', '_')}.variant asks for it",
            )
        return replace(self, onnx=self.graph(variant), variant=variant)

    @property
    def path(self) -> Path:
        """Where the graph lies."""
        return self.folder / self.recipe.file

    def graph(self, variant: str) -> bytes:
        """The graph of a variant, checked as the main one was. Raises ModelRejected."""
        own = f"{variant}-{self.variant}"
        variant = own if self.variant and own in self.recipe.variants else variant
        other = self._named("variants", self.recipe.variants, variant)
        path = self.folder / other.file
        onnx = read_bounded(path, MAX_FILE_BYTES)
        digest = hashlib.sha256(onnx).hexdigest()
        if digest != other.sha256:
            raise ModelRejected(
                "sha256", path, f"sha256 is {digest}, the recipe says {other.sha256}"
            )
        check_content(onnx, path)
        return onnx

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
    """A line of the registry's list; `problem` says why the model is refused, "" if it is not.

    `current` says whether it is the version in use, `published_s` when it was signed (Unix time).
    """

    name: str
    version: str
    folder: Path
    size_bytes: int
    problem: str
    publisher: str = ""
    current: bool = False
    published_s: int = 0
    forced: str = ""
