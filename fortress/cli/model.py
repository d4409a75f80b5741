# SPDX-License-Identifier: Apache-2.0
"""`fortress model`: the models, what they are worth, and making them anew."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from fortress.cli import model_judging, model_registry
from fortress.cli.options import Commands, add_command, add_config, add_json

TRAIN = """\
Train a model anew from labelled captures, evaluate it on captures and tools it has
not seen, export it to ONNX, check that the export agrees, and publish it with its
recipe and card. It takes minutes and needs the extra `train` (./dev setup has it)."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "model", "make, judge, publish and promote the models", None)
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
        "--out", metavar="DIR", type=Path, help="where drafts go; default: the checkout's models"
    )
    add_json(verb, "print the steps and the result as JSON objects")
    add_config(verb)
    model_judging.add(verbs)
    model_registry.add(verbs)


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

    out = arguments.out or shipped_models()
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
