# SPDX-License-Identifier: Apache-2.0
"""Whether a model does worse than another on the same held-out data, by what their recipes say.

A recipe tells its figures in `[metrics.held_out]`: `data_sha256` (what it was judged on), `main`
(the name of the figure that counts most), and the tables `higher` and `lower`, in which more or
less is better: a name with [value, low, high], the ends of its 95 % interval. Who judged the model
in use on his own data writes its figures too, as `[metrics.in_use]`, with its `sha256`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from fortress.inference.recipe import Recipe

_SAME = 1e-6  # less is the rounding of a recipe


@dataclass(frozen=True, slots=True)
class Comparison:
    """Figures of two models, each (name, of the new one, of the other one), and what is wrong.

    `worse`: sentences, empty when the new model may take the other's place.
    """

    figures: tuple[tuple[str, float, float], ...]
    worse: tuple[str, ...]


def compare(new: Recipe, other: Recipe) -> Comparison:
    """The new model beside the other one.

    It is worse when its main figure is lower than the other's, when any other figure lies beyond
    the bad end of the other's 95 % interval, when it lacks a figure, or when the two cannot be
    compared because they were judged on other data.
    """
    ours, theirs = _held_out(new), _in_use(new, other) or _held_out(other)
    if ours is None:
        return Comparison((), ("metrics.held_out of the new model is missing or incomplete",))
    if theirs is None:
        return Comparison((), (f"{other.version} has no figures to compare with",))
    if ours.data != theirs.data:
        told = f"{ours.data[:12]}… and {theirs.data[:12]}…"
        return Comparison((), (f"the two were judged on different data ({told})",))
    figures, worse = [], []
    for name, (sign, value, low, high) in theirs.values.items():
        if name not in ours.values:
            worse.append(f"{name} is not told")
            continue
        mine = ours.values[name][1]
        figures.append((name, mine, value))
        bound = value if name == theirs.main else (low if sign > 0 else high)
        if sign * (mine - bound) < -_SAME:
            beyond = "" if name == theirs.main else f", beyond its interval {low:g} to {high:g}"
            worse.append(f"{name} is {mine:g}, {other.version} has {value:g}{beyond}")
    return Comparison(tuple(figures), tuple(worse))


@dataclass(frozen=True, slots=True)
class _Judged:
    """Figures by name: 1 for more is better or −1, the value, the ends of its interval."""

    data: str
    main: str
    values: Mapping[str, tuple[int, float, float, float]]


def _in_use(new: Recipe, other: Recipe) -> _Judged | None:
    """What the new model's recipe tells of the other one, when it is that very graph."""
    told = new.metrics.get("in_use")
    if not isinstance(told, Mapping) or told.get("sha256") != other.sha256:
        return None
    return _judged(told)


def _held_out(recipe: Recipe) -> _Judged | None:
    return _judged(recipe.metrics.get("held_out"))


def _judged(table: Any) -> _Judged | None:
    if not isinstance(table, Mapping):
        return None
    data, main = table.get("data_sha256"), table.get("main")
    values: dict[str, tuple[int, float, float, float]] = {}
    for direction, sign in (("higher", 1), ("lower", -1)):
        figures = table.get(direction, {})
        if not isinstance(figures, Mapping):
            return None
        for name, three in figures.items():
            if not isinstance(three, list) or len(three) != 3 or not all(map(_is_number, three)):
                return None
            value, low, high = map(float, three)
            values[str(name)] = (sign, value, low, high)
    if not isinstance(data, str) or main not in values:
        return None
    return _Judged(data, str(main), values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
