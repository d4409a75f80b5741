# SPDX-License-Identifier: Apache-2.0
"""What a detector is: a pure function from columns of one table to a score for each row.

    @detector(
        table="pairs", layer=Layer.L4, technique="T1046", category="reconnaissance", severity=0.6,
        signatures={6: Signature(1101, "TCP port scan")}, signature_by="proto",
        reason="{host} tried {ports:# port/# ports} of {target}", evidence=("ports",),
    )
    def port_scan(proto, ports, *, half_ports: float = 12.0):
        '''How sure we are that …'''

Its positional parameters are the columns it reads, its keyword-only parameters are its settings
(section `[detectors.<name>]`), its name is the config section, the metric label and the test
folder. The score is confidence in [0, 1]; severity times confidence is the risk. The decorator
returns the function itself. In a reason `{column:one/many}` chooses words by the column's value, a
# in them is the number. `fortress.qsecbit.checks` has the promises every detector keeps.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from fortress.errors import ConfigError
from fortress.features.windows import TABLES
from fortress.verdict import Layer

Scores = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Plain = bool | int | float | str
Judge = Callable[..., Scores]
_MARK = "__fortress_detector__"
_Function = TypeVar("_Function", bound=Judge)


class Fact(float):
    """A value in a reason: takes the format `one/many` besides those of numbers."""

    __slots__ = ()

    def __format__(self, form: str) -> str:
        """The number, or the words for one or many with the number for #."""
        one, choice, many = form.partition("/")
        if not choice:
            return float.__format__(self, form)
        number = f"{float(self):.0f}"
        return (one if number == "1" else many).replace("#", number)


class Signature(NamedTuple):
    """The number and the words of one kind of finding."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector with all it declares."""

    name: str
    judge: Judge
    table: str
    columns: tuple[str, ...]
    settings: Mapping[str, Any]
    layer: Layer
    technique: str
    category: str
    severity: float
    signatures: Mapping[int, Signature]
    signature_by: str
    reason: str
    evidence: tuple[str, ...]
    rises_with: str
    lone_risk: float

    def signature(self, value: float) -> Signature:
        """The signature for a value of the column `signature_by`; the first one if there is none
        for it.
        """
        found = self.signatures.get(int(value))
        return found or next(iter(self.signatures.values()))

    def say(self, facts: Mapping[str, float], words: Mapping[str, str]) -> str:
        """The reason, with the values of a row and the words for host, target and the like."""
        return self.reason.format(**{name: Fact(value) for name, value in facts.items()}, **words)


@dataclass(frozen=True, slots=True)
class Setting:
    """A detector with the settings it runs with."""

    detector: Detector
    values: Mapping[str, Plain] = field(default_factory=dict)

    def scores(self, table: Mapping[str, npt.NDArray[Any]]) -> Scores:
        """The confidence of each row of the detector's table."""
        columns = (np.asarray(table[name], np.float64) for name in self.detector.columns)
        return self.detector.judge(*columns, **self.values)


def detector(
    *,
    table: str,
    layer: Layer,
    technique: str,
    category: str,
    severity: float,
    signatures: Mapping[int, Signature],
    reason: str,
    evidence: tuple[str, ...],
    rises_with: str,
    signature_by: str = "",
    lone_risk: float = 1.0,
) -> Callable[[_Function], _Function]:
    """A decorator that declares a detector and returns the function itself.

    `rises_with` is the column whose increase never lowers the score. `lone_risk` is the highest
    risk of a finding on a host that nothing else accuses. Raises TypeError for a declaration that
    contradicts the tables or itself.
    """

    def declare(function: _Function) -> _Function:
        parameters = inspect.signature(function).parameters.values()
        columns = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
        settings = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        declared = Detector(
            function.__name__, function, table, columns, settings, layer, technique, category,
            severity, dict(signatures), signature_by, reason, evidence, rises_with, lone_risk,
        )  # fmt: skip
        _refuse_contradictions(declared)
        setattr(function, _MARK, declared)
        return function

    return declare


def declared(thing: object) -> Detector | None:
    """What a function declares, None if it is no detector."""
    found = getattr(thing, _MARK, None)
    return found if isinstance(found, Detector) else None


def configured(found: Detector, values: Mapping[str, Plain]) -> Setting:
    """The detector with these settings over its defaults; ConfigError names the key at fault."""
    path = f"detectors.{found.name}"
    for key, value in values.items():
        if key not in found.settings:
            known = ", ".join(sorted((*found.settings, "enabled")))
            raise ConfigError(f"{path}.{key}: no such setting; there are: {known}")
        _refuse_value(f"{path}.{key}", value, found.settings[key])
    return Setting(found, {**found.settings, **values})


def _refuse_value(path: str, value: Plain, default: Plain) -> None:
    if isinstance(default, bool) or isinstance(value, bool):
        if not (isinstance(default, bool) and isinstance(value, bool)):
            wanted = "true or false" if isinstance(default, bool) else "a number"
            raise ConfigError(f"{path}: {value!r} is not {wanted}")
        return
    if isinstance(default, str) or isinstance(value, str):
        if not (isinstance(default, str) and isinstance(value, str)):
            wanted = "a text" if isinstance(default, str) else "a number"
            raise ConfigError(f"{path}: {value!r} is not {wanted}")
        return
    if not math.isfinite(value) or value <= 0:
        raise ConfigError(f"{path}: {value!r} is not a number above 0")


def _refuse_contradictions(found: Detector) -> None:
    known = TABLES.get(found.table)
    if known is None:
        raise TypeError(f"{found.name}: no table {found.table!r}; there are: {', '.join(TABLES)}")
    read = {*found.columns, *found.evidence, found.rises_with}
    if found.signature_by:
        read.add(found.signature_by)
    if unknown := sorted(read - set(known)):
        raise TypeError(f"{found.name}: table {found.table} has no column {', '.join(unknown)}")
    if missing := [
        key for key, value in found.settings.items() if value is inspect.Parameter.empty
    ]:
        raise TypeError(f"{found.name}: setting {', '.join(missing)} has no default")
    if not found.signatures:
        raise TypeError(f"{found.name}: no signature")
    if not 0 < found.severity <= 1:
        raise TypeError(f"{found.name}: severity {found.severity} is not in (0, 1]")
