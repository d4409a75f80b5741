# SPDX-License-Identifier: Apache-2.0
"""Plain values (of JSON, of TOML) read strictly into frozen dataclasses, and written from them.

What is missing, unknown or of another type is a Misread that names the key path; nothing is
converted but whole numbers to float and text to Path. Fields know `str`, `int`, `float`, `bool`,
`Path`, enums by number, `Literal`, `X | None`, `tuple[X, ...]`, `dict[str, X]` and dataclasses.
"""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
Reader = Callable[[object, str], Any]
MOST_TEXT = 4096
MOST_ITEMS = 1_000_000
_AS_THEY_ARE = frozenset((str, int, float, bool, type(None)))


class Misread(ValueError):
    """A value is not what is wanted there; the message names its key path."""


def read(kind: type[T], plain: object, path: str = "") -> T:
    """The dataclass `kind` with the values of `plain`; Misread says what does not fit."""
    return cast("T", _reader(cast("Any", kind))(plain, path))


def plain(value: object) -> Any:
    """The value as JSON has it: dataclasses as objects, tuples as arrays."""
    if type(value) in _AS_THEY_ARE:
        return value
    if (names := _names(cast("Any", type(value)))) is not None:
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    return str(value) if isinstance(value, Path) else value


@cache
def _names(kind: type) -> tuple[str, ...] | None:
    """The names of a dataclass's fields, None if it is none."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None


@cache
def _reader(kind: Any) -> Reader:
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass_reader(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = _reader(next(one for one in arguments if one is not type(None)))
        return lambda value, path: None if value is None else inner(value, path)
    if origin is Literal:
        return _choice_reader(arguments)
    if origin is tuple:
        return _tuple_reader(_reader(arguments[0]))
    if origin is dict:
        return _table_reader(_reader(arguments[1]))
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        numbers = _choice_reader(tuple(int(one) for one in kind))
        return lambda value, path: kind(numbers(value, path))
    return _SCALARS[kind]


def _dataclass_reader(kind: type) -> Reader:
    hints = get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}
    needed = {
        field.name
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    }

    def reader(value: object, path: str) -> Any:
        if not isinstance(value, Mapping):
            raise Misread(f"{path or 'the message'}: wants an object, not {_shown(value)}")
        dot = f"{path}." if path else ""
        for key in value:
            if key not in readers:
                near = difflib.get_close_matches(str(key)[:64], readers, n=1)
                hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(readers)}"
                raise Misread(f"{dot}{str(key)[:64]}: there is no such key{hint}")
        for key in needed:
            if key not in value:
                raise Misread(f"{dot}{key}: is missing")
        given = {key: readers[key](one, f"{dot}{key}") for key, one in value.items()}
        try:
            return kind(**given)
        except Misread:
            raise
        except ValueError as error:  # what the dataclass itself checks
            raise Misread(f"{dot}{error}") from None

    return reader


def _tuple_reader(inner: Reader) -> Reader:
    def reader(value: object, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise Misread(f"{path}: wants a list, not {_shown(value)}")
        if len(value) > MOST_ITEMS:
            raise Misread(f"{path}: {len(value)} items are too many (at most {MOST_ITEMS})")
        return tuple([inner(one, path) for one in value])

    return reader


def _table_reader(inner: Reader) -> Reader:
    def reader(value: object, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Misread(f"{path}: wants an object, not {_shown(value)}")
        return {str(key): inner(one, f"{path}.{key}") for key, one in value.items()}

    return reader


def _choice_reader(choices: tuple[Any, ...]) -> Reader:
    def reader(value: object, path: str) -> Any:
        if isinstance(value, bool) or not isinstance(value, str | int) or value not in choices:
            wanted = ", ".join(map(str, choices))
            raise Misread(f"{path}: {_shown(value)} is none of {wanted}")
        return value

    return reader


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise Misread(f"{path}: wants text, not {_shown(value)}")
    if len(value) > MOST_TEXT:
        raise Misread(f"{path}: {len(value)} characters are too many (at most {MOST_TEXT})")
    if not value.isprintable():
        raise Misread(f"{path}: {_shown(value)} has characters that do not print")
    return value


def _whole(value: object, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 1 << 63:
        raise Misread(f"{path}: wants a whole number, not {_shown(value)}")
    return value


def _number(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e18:
        raise Misread(f"{path}: wants a number, not {_shown(value)}")
    if not math.isfinite(value):
        raise Misread(f"{path}: wants a finite number, not {_shown(value)}")
    return float(value)


def _truth(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise Misread(f"{path}: wants true or false, not {_shown(value)}")
    return value


def _path(value: object, path: str) -> Path:
    return Path(_text(value, path))


_SCALARS: dict[Any, Reader] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _truth,
    Path: _path,
}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 64 else f"{text[:61]}…"
