# SPDX-License-Identifier: Apache-2.0
"""`fortress model train|list|card`: the models, what they are worth, and making them anew."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from fortress.cli.options import Commands, add_command, add_config, add_json, load_config
from fortress.errors import ModelError

TRAIN = """\
Train a model anew from labelled captures, evaluate it on captures and tools it has
not seen, export it to ONNX, check that the export agrees, and publish it with its
recipe and card. It takes minutes and needs the extra `train` (./dev setup has it)."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "model", "train, list and describe the models", None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verb = add_command(verbs, "train", "train a model anew and publish it", train, TRAIN)
    verb.add_argument("name", nargs="?", help="default: every model")
    verb.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        default=Path(os.environ.get("FORTRESS_SHARED", "../shared")),
        help="folder of labelled captures; default: $FORTRESS_SHARED, else ../shared",
    )
    verb.add_argument(
        "--samples", metavar="DIR", type=Path, help="labelled captures of the lab; default: samples"
    )
    verb.add_argument(
        "--out", metavar="DIR", type=Path, help="where models go; default: the registry's folder"
    )
    add_json(verb, "print the steps and the result as JSON objects")
    add_config(verb)
    verb = add_command(verbs, "list", "list the models, and why one is refused", list_models)
    add_json(verb, "print one JSON object for each model")
    add_config(verb)
    verb = add_command(verbs, "card", "print what a model is worth and what it cannot do", card)
    verb.add_argument("name", nargs="?", help="default: the model of the configuration")
    add_json(verb, "print the card as one JSON object")
    add_config(verb)


def train(arguments: argparse.Namespace) -> int:
    """Run `model train`."""
    from fortress.inference.registry import shipped_models
    from fortress.training import MODELS
    from fortress.training import train as train_model

    def tell(step: str, share: float) -> None:
        if arguments.json:
            print(json.dumps({"step": step, "done": round(share, 4)}), flush=True)
        else:
            print(f"{share:4.0%}  {step}", file=sys.stderr, flush=True)

    out = arguments.out or load_config(arguments).settings.model.folder or shipped_models()
    for name in [arguments.name] if arguments.name else MODELS:
        entry = train_model(
            name, data=arguments.data, out=out, samples=arguments.samples, progress=tell
        )
        trained = {"name": entry.recipe.name, "version": entry.recipe.version}
        if arguments.json:
            print(json.dumps(trained | {"folder": str(entry.folder)}, ensure_ascii=False))
        else:
            print(f"{trained['name']} {trained['version']} → {entry.folder}")
    return 0


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
