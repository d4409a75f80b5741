# SPDX-License-Identifier: Apache-2.0
"""`fortress config check|show|schema`: is it right, what does it say, what may it say."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from fortress.cli.options import Commands, add_command, add_config, add_json, load_config

if TYPE_CHECKING:
    from fortress.config import Loaded


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "config", "check and show the configuration", None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
    verb = add_command(verbs, "check", "say whether the configuration is right", check)
    add_config(verb)
    add_json(verb, "print the result as one JSON object")
    verb = add_command(verbs, "show", "print every setting, and where its value comes from", show)
    add_config(verb)
    add_json(verb, "print one JSON object for each setting")
    verb = add_command(verbs, "schema", "print the JSON Schema of fortress.toml", schema)
    add_json(verb, "as it is always: the schema is JSON")


def check(arguments: argparse.Namespace) -> int:
    """Run `config check`: ConfigError has told what is wrong."""
    loaded = _load(arguments)
    files = [str(path) for path in loaded.files]
    if arguments.json:
        print(json.dumps({"ok": True, "files": files}))
    else:
        print(f"the configuration is right ({', '.join(files) or 'no file: defaults'})")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Run `config show`."""
    for key, value, origin in _load(arguments).values():
        text = json.dumps(value, ensure_ascii=False)
        if arguments.json:
            print(json.dumps({"key": key, "value": value, "origin": origin}, ensure_ascii=False))
        else:
            print(f"{key} = {text if value is not None else '(none)'}  # {origin}")
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
