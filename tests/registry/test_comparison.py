"""Whether a model does worse than another one: the rule, case by case."""

from dataclasses import replace
from typing import Any

import pytest

from fortress.inference import Recipe
from fortress.inference.comparison import compare
from tests.registry.graphs import CLASSES, entry, network

FIGURES: dict[str, Any] = {
    "data_sha256": "d",
    "main": "pr_auc",
    "higher": {"pr_auc": [0.8, 0.7, 0.9], "recall": [0.5, 0.4, 0.6]},
    "lower": {"alarms": [2.0, 1.0, 3.0]},
}


def recipe(version: str, **metrics: Any) -> Recipe:
    made = entry(network(3, 3), "flow", 3, CLASSES).recipe
    return replace(made, version=version, sha256=version * 64, metrics=metrics)


def figures(data: str = "d", **values: float) -> dict[str, Any]:
    table = {key: dict(part) if isinstance(part, dict) else part for key, part in FIGURES.items()}
    for name, value in values.items():
        table["lower" if name == "alarms" else "higher"][name] = [value, value - 1, value + 1]
    return table | {"data_sha256": data}


@pytest.mark.parametrize(
    ("changed", "worse"),
    [
        ({}, ""),
        ({"pr_auc": 0.9, "recall": 0.41, "alarms": 2.9}, ""),
        ({"pr_auc": 0.799}, "pr_auc is 0.799, 1 has 0.8"),
        ({"recall": 0.39}, "recall is 0.39, 1 has 0.5, beyond its interval 0.4 to 0.6"),
        ({"alarms": 3.1}, "alarms is 3.1, 1 has 2, beyond its interval 1 to 3"),
        ({"alarms": 0.1, "recall": 0.99}, ""),
    ],
)
def test_the_main_figure_may_not_fall_and_no_other_may_leave_its_interval(
    changed: dict[str, float], worse: str
) -> None:
    found = compare(recipe("2", held_out=figures(**changed)), recipe("1", held_out=figures()))
    assert "; ".join(found.worse) == worse
    assert {name for name, _, _ in found.figures} == {"pr_auc", "recall", "alarms"}


def test_other_data_cannot_be_compared() -> None:
    found = compare(recipe("2", held_out=figures("e")), recipe("1", held_out=figures()))
    assert "different data" in found.worse[0]


def test_the_one_in_use_may_have_been_judged_by_the_new_ones_trainer() -> None:
    old = recipe("1", held_out=figures("e"))
    judged = figures(pr_auc=0.6) | {"sha256": old.sha256}
    new = recipe("2", held_out=figures(pr_auc=0.7), in_use=judged)
    assert compare(new, old).worse == ()
    someone_else = recipe("3", held_out=figures("e"))
    assert compare(new, someone_else).worse != ()


@pytest.mark.parametrize(
    "broken",
    [
        None,
        3,
        {"data_sha256": "d"},
        {"data_sha256": "d", "main": "recall", "higher": {"pr_auc": [1, 1, 1]}},
        {"data_sha256": "d", "main": "pr_auc", "higher": {"pr_auc": [1, 1]}},
        {"data_sha256": "d", "main": "pr_auc", "higher": {"pr_auc": [float("nan"), 1, 1]}},
        {"data_sha256": "d", "main": "pr_auc", "higher": [1]},
    ],
)
def test_figures_that_are_missing_or_broken_are_no_figures(broken: Any) -> None:
    good = recipe("1", held_out=figures())
    assert "missing or incomplete" in compare(recipe("2", held_out=broken), good).worse[0]
    assert (
        "no figures"
        in compare(recipe("2", held_out=figures()), recipe("1", held_out=broken)).worse[0]
    )


def test_a_figure_that_is_left_out_is_worse() -> None:
    less = figures()
    del less["lower"]["alarms"]
    found = compare(recipe("2", held_out=less), recipe("1", held_out=figures()))
    assert found.worse == ("alarms is not told",)
