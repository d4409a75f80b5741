# SPDX-License-Identifier: Apache-2.0
"""`fortress config check|show|schema`: is it right, what does it say, what may it say."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fortress.cli.options import Commands, add_command, add_config, add_json, load_config

if TYPE_CHECKING:
    from fortress.config import Loaded

DELETE = "\x7f"  # JSON writes it as it is, TOML must not


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "config", "check and show the configuration", None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verb = add_command(verbs, "check", "say whether the configuration is right", check)
    add_config(verb)
    add_json(verb, "print the result as one JSON object")
    verb = add_command(
        verbs, "show", "print every setting and its origin, as a configuration file", show
    )
    add_config(verb)
    add_json(verb, "print one JSON object for each setting")
    verb = add_command(verbs, "schema", "print the JSON Schema of fortress.toml", schema)
    add_json(verb, "as it is always: the schema is JSON")


def check(arguments: argparse.Namespace) -> int:
    """Run `config check`: ConfigError has told what is wrong."""
    loaded = _load(arguments)
    files = [str(path) for path in loaded.files]
    if arguments.json:
        told = {"ok": True, "files": files, "environment": list(loaded.variables)}
        print(json.dumps(told, ensure_ascii=False))
        return 0
    origins = [*(files or ["no file"]), *(f"environment {name}" for name in loaded.variables)]
    rest = "" if files or loaded.variables else ": defaults"
    print(f"the configuration is right ({', '.join(origins)}{rest})")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Run `config show`."""
    for key, value, origin in _settings(_load(arguments)):
        if arguments.json:
            print(json.dumps({"key": key, "value": value, "origin": origin}, ensure_ascii=False))
        elif value is None:
            print(f"# {key} is not set  # {origin}")
        else:
            print(f"{key} = {_toml(value)}  # {origin}")
    return 0


def schema(arguments: argparse.Namespace) -> int:
    """Run `config schema`."""
    from fortress.config import schema as settings_schema

    print(json.dumps(settings_schema(), indent=None if arguments.json else 2, ensure_ascii=False))
    return 0


def _load(arguments: argparse.Namespace) -> Loaded:
    """The configuration; the password file, where there is one, can be read."""
    loaded = load_config(arguments)
    loaded.settings.store_url()
    return loaded


def _settings(loaded: Loaded) -> Iterator[tuple[str, Any, str]]:
    """Key, value and origin of every setting, with those that score and detectors know."""
    from dataclasses import asdict

    from fortress.qsecbit import catalogue
    from fortress.qsecbit.fuse import FuseSettings

    for key, value, origin in loaded.values():
        if key.partition(".")[0] not in ("qsecbit", "detectors"):
            yield key, value, origin
    known: dict[str, Any] = {f"qsecbit.{name}": v for name, v in asdict(FuseSettings()).items()}
    known |= {f"qsecbit.{name}": value for name, value in loaded.settings.qsecbit.items()}
    for name, detector in catalogue().items():
        chosen = {"enabled": True, **detector.settings, **loaded.settings.detectors.get(name, {})}
        known |= {f"detectors.{name}.{key}": value for key, value in chosen.items()}
    for key, value in known.items():
        yield key, value, loaded.origin(key)


def _toml(value: Any) -> str:
    """A value as TOML: what JSON writes of numbers, texts and lists is that."""
    return json.dumps(value, ensure_ascii=False).replace(DELETE, "\\u007f")
