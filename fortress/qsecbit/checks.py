# SPDX-License-Identifier: Apache-2.0
"""What every detector promises; a public list, run on ours and on those that others write.

from fortress.qsecbit.checks import PROMISES, check check(declared(my_detector), seed=1)         #
raises BrokenPromise with the first that is broken

Each promise is a function of a Setting and a table of random rows. It raises BrokenPromise.
"""

from __future__ import annotations

import string
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.features.windows import TABLES
from fortress.qsecbit.contract import Detector, Setting, configured

ROWS = 256
_LARGEST = 1e5
# Columns that hold a few values only; all others are counts, rates, seconds or shares from 0 on.
_CHOICES: Mapping[str, tuple[float, ...]] = {
    "proto": (0, 1, 6, 17, 58),
    "port": (0, 21, 22, 53, 80, 443, 2222, 3389, 6881, 50000),
    "local": (0, 0.25, 1),
    "gateway": (0, 1),
    "disputed": (0, 1),
    "broadcast": (0, 1),
}
_SHARES = ("aim", "local_slow", "top_share", "gap_spread", "size_spread", "spread")
_WORDS = ("host", "target", "service", "guilty")
Random = Mapping[str, npt.NDArray[np.float64]]


class BrokenPromise(AssertionError):
    """A detector does not keep what it promises."""


def check(found: Detector, seed: int = 0) -> None:
    """Holds a detector with its default settings to every promise."""
    setting = configured(found, {})
    for promise in PROMISES:
        promise(setting, random_table(found.table, np.random.default_rng(seed)))


def random_table(name: str, rng: np.random.Generator, rows: int = ROWS) -> Random:
    """Rows of a table with values of every size, a third of them 0."""
    table = {}
    for column in TABLES[name]:
        if column in _CHOICES:
            table[column] = rng.choice(np.array(_CHOICES[column], np.float64), rows)
            continue
        largest = 2.0 if column in _SHARES else _LARGEST
        values = np.exp(rng.uniform(np.log(0.01), np.log(largest), rows))
        if column not in _SHARES:
            values = np.floor(values)
        table[column] = np.where(rng.random(rows) < 1 / 3, 0.0, values)
    return table


def gives_a_float32_for_each_row(setting: Setting, table: Random) -> None:
    """One float32 a row, no more and no fewer."""
    scores = setting.scores(table)
    _demand(setting, scores.dtype == np.float32, f"scores are {scores.dtype}, not float32")
    _demand(setting, scores.shape == (ROWS,), f"{ROWS} rows give scores of shape {scores.shape}")


def stays_between_0_and_1(setting: Setting, table: Random) -> None:
    """No score is NaN, negative or above 1, whatever the row."""
    scores = setting.scores(table)
    _demand(setting, bool(np.isfinite(scores).all()), "a score is not finite")
    _demand(setting, bool(((scores >= 0) & (scores <= 1)).all()), "a score lies outside [0, 1]")


def warns_of_nothing(setting: Setting, table: Random) -> None:
    """No division by zero, overflow or invalid value inside."""
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        try:
            setting.scores(table)
        except (FloatingPointError, RuntimeWarning) as trouble:
            raise BrokenPromise(f"{setting.detector.name}: {trouble}") from trouble


def leaves_its_input_alone(setting: Setting, table: Random) -> None:
    """The columns are the same afterwards."""
    before = {name: values.copy() for name, values in table.items()}
    setting.scores(table)
    for name, values in table.items():
        _demand(setting, bool((values == before[name]).all()), f"it wrote to column {name}")


def says_the_same_twice(setting: Setting, table: Random) -> None:
    """No state, no chance: equal rows, equal scores."""
    same = bool((setting.scores(table) == setting.scores(table)).all())
    _demand(setting, same, "a second call gave other scores")


def judges_each_row_by_itself(setting: Setting, table: Random) -> None:
    """Other rows, and the order of rows, do not matter."""
    scores, order = setting.scores(table), np.arange(ROWS)[::-1]
    turned = setting.scores({name: values[order] for name, values in table.items()})
    _demand(setting, bool((turned == scores[order]).all()), "the order of rows changes scores")
    alone = np.concatenate(
        [setting.scores({n: v[i : i + 1] for n, v in table.items()}) for i in range(16)]
    )
    _demand(setting, bool((alone == scores[:16]).all()), "other rows change a row's score")


def takes_no_rows(setting: Setting, table: Random) -> None:
    """No rows, no scores, no error."""
    scores = setting.scores({name: values[:0] for name, values in table.items()})
    _demand(setting, scores.shape == (0,), f"no rows give scores of shape {scores.shape}")


def is_quiet_where_nothing_happened(setting: Setting, table: Random) -> None:
    """Rows of zeros score 0."""
    zeros = {name: np.zeros(ROWS) for name in table} | {
        name: table[name] for name in _CHOICES if name in table
    }
    _demand(setting, bool((setting.scores(zeros) == 0).all()), "rows of zeros score above 0")


def rises_with_what_it_says(setting: Setting, table: Random) -> None:
    """More of the column `rises_with` never lowers the score, and somewhere raises it."""
    name = setting.detector.rises_with
    plausible = _plausible(setting.detector, table)
    lower = setting.scores(plausible)
    higher = setting.scores({**plausible, name: plausible[name] * 1.5 + 1})
    _demand(setting, bool((higher >= lower - 1e-6).all()), f"a score falls while {name} grows")
    _demand(setting, bool((higher > lower).any()), f"no score depends on {name}")


def reads_what_it_declares(setting: Setting, table: Random) -> None:
    """It works on its declared columns alone."""
    needed = {name: table[name] for name in setting.detector.columns}
    same = bool((setting.scores(needed) == setting.scores(table)).all())
    _demand(setting, same, "columns it does not declare change scores")


def explains_itself(setting: Setting, table: Random) -> None:
    """It has a docstring, a category, a technique, and a reason made of columns there are."""
    found = setting.detector
    _demand(setting, bool(found.judge.__doc__), "it has no docstring")
    _demand(setting, bool(found.category and found.technique), "no category or technique")
    _demand(setting, bool(found.evidence), "it names no evidence")
    fields = {name for _, name, _, _ in string.Formatter().parse(found.reason) if name}
    unknown = fields - set(_WORDS) - set(TABLES[found.table])
    _demand(setting, not unknown, f"its reason names {', '.join(sorted(unknown))}: no such column")
    values: dict[str, Any] = {name: float(column[0]) for name, column in table.items()}
    found.say(values, dict.fromkeys(_WORDS, "x"))


PROMISES: tuple[Callable[[Setting, Random], None], ...] = (
    warns_of_nothing,
    gives_a_float32_for_each_row,
    stays_between_0_and_1,
    leaves_its_input_alone,
    says_the_same_twice,
    judges_each_row_by_itself,
    takes_no_rows,
    is_quiet_where_nothing_happened,
    rises_with_what_it_says,
    reads_what_it_declares,
    explains_itself,
)


def _plausible(found: Detector, table: Random) -> Random:
    """The table with small failures of everything else, so that what rises can be seen."""
    calm = dict(table)
    for name in ("fine", "fine_slow", "others", "others_slow", "bursts", "spread", "answers"):
        if name in calm and name != found.rises_with:
            calm[name] = np.zeros(ROWS)
    return calm


def _demand(setting: Setting, kept: bool, broken: str) -> None:
    if not kept:
        raise BrokenPromise(f"{setting.detector.name}: {broken}")
