# SPDX-License-Identifier: Apache-2.0
"""The families of features that models read, one a kind, and whether a recipe fits its own."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from fortress.inference.recipe import Recipe
from fortress.inference.rejection import ModelRejected

_MOST_NAMED = 4


def check_features(recipe: Recipe, path: Path) -> None:
    """Return when the recipe's features are those that this program computes for its kind.

    A family is a file in `features/` named for the kind, with FEATURES (things with a `name`),
    `fingerprint(names)` and the COLUMNS that they are made of. Raises ModelRejected ("features",
    "fingerprint").
    """
    family = f"fortress.features.{recipe.kind}"
    if find_spec(family) is None:
        raise ModelRejected("features", path, f"this program knows no features of a {recipe.kind}")
    known = import_module(family)
    ours = tuple(feature.name for feature in known.FEATURES)
    if recipe.features != ours:
        theirs = set(recipe.features)
        differences = [f"unknown {name}" for name in recipe.features if name not in set(ours)]
        differences += [f"lacks {name}" for name in ours if name not in theirs]
        what = ", ".join(differences[:_MOST_NAMED]) or "the order differs"
        more = f" and {len(differences) - _MOST_NAMED} more" * (len(differences) > _MOST_NAMED)
        raise ModelRejected("features", path, f"features are not this program's: {what}{more}")
    columns = tuple(known.COLUMNS if hasattr(known, "COLUMNS") else known.INTERVAL_COLUMNS)
    if recipe.columns != columns:
        other = sorted(set(recipe.columns) ^ set(columns))[:_MOST_NAMED] or ["the order"]
        told = ", ".join(other)
        raise ModelRejected("features", path, f"input.columns are not this program's: {told}")
    fingerprint = known.fingerprint(ours)
    if recipe.fingerprint != fingerprint:
        raise ModelRejected(
            "fingerprint",
            path,
            f"feature fingerprint {recipe.fingerprint} is not this program's {fingerprint}: "
            "a feature is defined differently here; train the model anew",
        )
