# SPDX-License-Identifier: Apache-2.0
"""`fortress model train|list|card`: the models, what they are worth, and making them anew."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from fortress.cli.options import Commands, add_command, add_config, add_json, load_config
from fortress.errors import ModelError


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "model", "train, list and describe the models", None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
    verb = add_command(verbs, "list", "list the models, and why one is refused", list_models)
    add_json(verb, "print one JSON object for each model")
    add_config(verb)
    verb = add_command(verbs, "card", "print what a model is worth and what it cannot do", card)
    verb.add_argument("name", nargs="?", help="default: the model of the configuration")
    add_json(verb, "print the card as one JSON object")
    add_config(verb)


def list_models(arguments: argparse.Namespace) -> int:
    """Run `model list`; a refused model makes the exit code 1."""
    from fortress.inference import Registry

    registry = Registry(load_config(arguments).settings.model.folder)
    listings = registry.list()
    for listing in listings:
        if arguments.json:
            fields = asdict(listing) | {"folder": str(listing.folder)}
            print(json.dumps(fields, ensure_ascii=False))
        else:
            state = f"refused: {listing.problem}" if listing.problem else "verified"
            size = f"{listing.size_bytes / 1000:,.0f} kB"
            print(f"{listing.name}  {listing.version}  {size}  {state}")
    if not listings:
        print(f"fortress: no models in {registry.root}", file=sys.stderr)
    return ModelError.exit_code if any(listing.problem for listing in listings) else 0


def card(arguments: argparse.Namespace) -> int:
    """Run `model card`."""
    from fortress.inference import Registry

    settings = load_config(arguments).settings
    name = arguments.name or settings.model.name
    text = Registry(settings.model.folder).card(name)
    if arguments.json:
        print(json.dumps({"name": name, "card": text}, ensure_ascii=False))
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(text))
    else:
        print(text)
    return 0
