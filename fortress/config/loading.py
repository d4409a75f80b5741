# SPDX-License-Identifier: Apache-2.0
"""Reads `fortress.toml`, `conf.d/*.toml` beside it, the environment, the command line.

Later ones win, key by key. Unknown keys are errors, and every value knows where it came from.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fortress.config.environment import FILE_VARIABLE, PREFIX, variable, variables
from fortress.config.keys import changed, leaves, plain
from fortress.config.settings import SECTIONS, Settings
from fortress.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import ValidationError

SYSTEM_FILE = Path("/etc/fortress/fortress.toml")

Tree = dict[str, Any]
_PLAIN_TYPES, _FREE = ("bool", "int", "float", "str"), ("qsecbit", "detectors")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for every key that is not a default where its value came from."""

    settings: Settings
    origins: Mapping[str, str]
    files: tuple[Path, ...]

    def values(self) -> Iterator[tuple[str, Any, str]]:
        """Key path, value and origin of every setting, passwords masked."""
        for key, value in leaves(plain(self.settings)):
            yield key, masked(value) if key == "store.url" else value, self.origin(key)

    def origin(self, key: str) -> str:
        """Where the value of `key` came from."""
        return _origin(key, self.origins) or "default"

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set something."""
        named = (origin.rpartition(" ")[2] for origin in self.origins.values())
        return tuple(sorted({name for name in named if name.startswith(PREFIX)}))


def load(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """The settings of `file`, else of $FORTRESS_CONFIG, else of SYSTEM_FILE where there is one.

    `overrides` are key paths of the command line, whose values are what the settings hold.
    ConfigError names each wrong key and its file.
    """
    environ = os.environ if environ is None else environ
    tree: Tree = {}
    origins: dict[str, str] = {}
    files = tuple(_files(file, environ))
    for path in files:
        _merge(tree, _read(path), origins, str(path))
    if any(name.startswith(PREFIX) for name in environ):
        for key, value in variables(environ, _keys()):
            _merge(tree, _nested(key, value), origins, "environment")
    settings = Settings() if not tree else None  # defaults and the command line are right
    for key, value in (overrides or {}).items():
        _merge(tree, _nested(key, value), origins, "command line")
        settings = settings and changed(settings, key, value)
    return Loaded(settings or _checked(tree, origins), origins, files)


def _checked(tree: Tree, origins: Mapping[str, str]) -> Settings:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Settings).validate_python(tree)
    except ValidationError as error:
        raise ConfigError(_complaint(error, origins)) from None


def schema() -> dict[str, Any]:
    """The JSON Schema of fortress.toml."""
    from pydantic import TypeAdapter

    text = TypeAdapter(Settings).json_schema()
    text["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return text


def masked(url: str) -> str:
    """The URL with its password covered."""
    head, at, tail = url.rpartition("@")
    scheme, mark, credentials = head.partition("://")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{mark}{user}:***{at}{tail}" if at and colon else url


def _files(file: Path | None, environ: Mapping[str, str]) -> Iterator[Path]:
    named = file or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    if named is None and not SYSTEM_FILE.exists():
        return
    main = named or SYSTEM_FILE
    yield main
    yield from sorted((main.parent / "conf.d").glob("*.toml"))


def _read(path: Path) -> Tree:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error


def _merge(tree: Tree, more: Tree, origins: dict[str, str], origin: str, at: str = "") -> None:
    for name, value in more.items():
        if at == "models.":  # models are named with dashes, keys and variables cannot be
            name = name.replace("-", "_")
        key = f"{at}{name}"
        if isinstance(value, dict) and not value:
            origins[key] = origin
        if isinstance(value, dict):
            inner = tree.setdefault(name, {})
            if isinstance(inner, dict):  # else an earlier file is wrong: validation will say so
                _merge(inner, value, origins, origin, f"{key}.")
        else:
            tree[name] = value
            named = f"environment {variable(key)}"
            origins[key] = named if origin == "environment" else origin


def _nested(key: str, value: Any) -> Tree:
    head, _, rest = key.partition(".")
    return {head: _nested(rest, value)} if rest else {head: value}


def _complaint(error: ValidationError, origins: Mapping[str, str]) -> str:
    """A line for each fault; a value of none of several types is one fault."""
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        *parts, last = fault["loc"]
        alternative = last in _PLAIN_TYPES and fault["loc"][0] in _FREE
        key = ".".join(str(part) for part in (parts if alternative else fault["loc"]))
        where = _origin(key, origins) or "configuration"
        given = masked(fault["input"]) if isinstance(fault["input"], str) else fault["input"]
        words = "Input should be true, false, a number or a text" if alternative else fault["msg"]
        words = " ".join(words.removeprefix("Value error, ").split())
        if fault["type"] == "unexpected_keyword_argument":
            lines.append(f"{where}: {key}: unknown key{_near(key)}")
        else:
            lines.append(f"{where}: {key}: {words} (it is {given!r})")
    return "\n".join(dict.fromkeys(lines))


def _origin(key: str, origins: Mapping[str, str]) -> str | None:
    """Where a key, else something below it, else something above it came from."""
    below = (where for known, where in origins.items() if known.startswith(f"{key}."))
    above = (where for known, where in origins.items() if key.startswith(f"{known}."))
    return origins.get(key) or next(below, None) or next(above, None)


def _keys() -> list[str]:
    return [known for known, _ in leaves(plain(Settings()))]


def _near(key: str) -> str:
    near = difflib.get_close_matches(key, [*_keys(), *SECTIONS], n=1)
    return f"; did you mean {near[0]}?" if near else ""
