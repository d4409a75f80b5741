# SPDX-License-Identifier: Apache-2.0
"""What FORTRESS_SECTION__KEY variables set: key paths and values, and which variables are none."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from fortress.config.settings import SECTIONS
from fortress.errors import ConfigError

PREFIX, DELIMITER = "FORTRESS_", "__"
FILE_VARIABLE = "FORTRESS_CONFIG"
# What tests, benches, ./dev and the containers are told (docs/development.md); no settings.
DEVELOPMENT = (
    "APT_SOURCES", "BENCH_SLOWER", "BUILD_MOUNTS", "CAPTURES", "CONTAINERS", "FUZZ_SECONDS",
    "REQUIRE", "SEED", "SHARED", "TORCH_INDEX",
)  # fmt: skip
_NO_SETTINGS = {FILE_VARIABLE, *(f"{PREFIX}{name}" for name in DEVELOPMENT)}
_FREE = ("qsecbit", "detectors")  # their keys are known to those who read them, not to Settings


def variables(environ: Mapping[str, str], keys: list[str]) -> Iterator[tuple[str, Any]]:
    """Key path and value of each variable, in the order of their names.

    Values are texts, which become numbers by their fields; lists and tables are written in JSON.
    ConfigError names, a line each, the variables that are no settings, with the nearest of `keys`.
    """
    named = sorted(name for name in environ if name.startswith(PREFIX))
    settings = [name for name in named if name not in _NO_SETTINGS]
    if wrong := [name for name in settings if _key(name).partition(".")[0] not in SECTIONS]:
        known = [FILE_VARIABLE, *map(variable, keys)]
        raise ConfigError("\n".join(_unknown(name, known) for name in wrong))
    for name in settings:
        key = _key(name)
        yield key, _value(environ[name], key.startswith(_FREE))


def variable(key: str) -> str:
    """The environment variable that sets a key path."""
    return PREFIX + key.upper().replace(".", DELIMITER)


def _key(name: str) -> str:
    return name.removeprefix(PREFIX).lower().replace(DELIMITER, ".")


def _value(text: str, free: bool) -> Any:
    if not free and not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "`fortress config show` prints all settings"
    return f"environment {name}: no such setting; {hint}"
