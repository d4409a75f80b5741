# SPDX-License-Identifier: Apache-2.0
"""Typed look-ups in a recipe's table, which name the key and the file when they fail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from fortress.inference.rejection import ModelRejected

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Fields:
    """One table of the file at `path`; `prefix` is its name with a dot, "" for the whole file."""

    path: Path
    prefix: str
    values: Mapping[str, Any]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that are there."""
        return tuple(self.values)

    def wrong(self, key: str, problem: str) -> ModelRejected:
        """The error to raise about `key`."""
        return ModelRejected("recipe", self.path, f"{self.prefix}{key} {problem}")

    def nothing_but(self, *known: str) -> None:
        """Return when every key is among `known`."""
        for key in self.values:
            if key not in known:
                raise self.wrong(key, f"is no key of a recipe (known here: {', '.join(known)})")

    def text(self, key: str, pattern: str = r"[^\x00-\x1f]{1,200}") -> str:
        """The string at `key`, all of which matches `pattern`."""
        value = self._take(key, str)
        if not re.fullmatch(pattern, value):
            raise self.wrong(key, f"is {value[:80]!r}, which does not match {pattern}")
        return value

    def one_of(self, key: str, words: tuple[str, ...]) -> str:
        """The string at `key`, one of `words`."""
        value = self._take(key, str)
        if value not in words:
            raise self.wrong(key, f"is {value[:80]!r}, not one of {', '.join(words)}")
        return value

    def whole(self, key: str, least: int, most: int) -> int:
        """The whole number at `key`, within bounds."""
        value = self._take(key, int)
        if not least <= value <= most:
            raise self.wrong(key, f"is {value}, not within {least} to {most}")
        return value

    def number(self, key: str) -> float:
        """The finite number at `key`."""
        return self._finite(key, self._take(key, object))

    def words(self, key: str, only: bool = False) -> tuple[str, ...]:
        """The list of strings at `key`; `only`: nothing else is in this table."""
        values = self._take(key, list)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(key, "is not a list of strings")
        if only:
            self.nothing_but(key)
        return tuple(values)

    def numbers(self, key: str) -> tuple[float, ...]:
        """The list of finite numbers at `key`."""
        return tuple(self._finite(key, value) for value in self._take(key, list))

    def table(self, key: str, default: Mapping[str, Any] | None = None) -> Fields:
        """The table at `key`."""
        if key not in self.values and default is not None:
            return Fields(self.path, f"{self.prefix}{key}.", default)
        return Fields(self.path, f"{self.prefix}{key}.", self._take(key, dict))

    def tables(self, key: str) -> dict[str, Fields]:
        """The tables within the table at `key`, by name; none when it is not there."""
        outer = self.table(key, {})
        return {name: outer.table(name) for name in outer.keys}

    def free(self, key: str) -> Mapping[str, Any]:
        """The table at `key` as it stands, empty when it is not there."""
        return self.table(key, {}).values

    def _take(self, key: str, kind: type[_T]) -> _T:
        value = self.values.get(key)
        if value is None or not isinstance(value, kind) or isinstance(value, bool):
            raise self.wrong(key, "is missing" if value is None else f"is not {_WORDS[kind]}")
        return value

    def _finite(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise self.wrong(key, f"holds {str(value)[:80]!r}, no finite number")
        return float(value)


_WORDS: Mapping[type, str] = {
    str: "a string", int: "a whole number", list: "a list", dict: "a table", object: "a number",
}  # fmt: skip
