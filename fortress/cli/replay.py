# SPDX-License-Identifier: Apache-2.0
"""`fortress replay`: a capture through everything, events or a summary out."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path
from typing import Any

from fortress.cli.options import Commands, add_command, add_config, add_json, load_config
from fortress.errors import UsageError

DESCRIPTION = """\
Replay captures through flows, detectors, model and score, and print a summary.
Nothing is written unless --out says where."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "replay", "analyse captures and print what was found", run, DESCRIPTION
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="pcap or pcapng, plain, gzip or zstd; - is standard input; several are one stream",
    )
    add_replay_options(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="write eve.json and fortress.sqlite into this folder (they are continued)",
    )
    add_config(parser)


def add_replay_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that replays."""
    add_json(parser, "print events as JSON lines (docs/events.md) instead of the summary")
    parser.add_argument(
        "--flows", action="store_true", help="with an event for each flow that ended"
    )
    parser.add_argument(
        "--speed",
        choices=("max", "real"),
        help="as fast as it goes (max, default), or as it happened; silences are cut to a minute",
    )
    parser.add_argument("--batch-packets", type=batch_packets, help=argparse.SUPPRESS)


def refuse_replay_options(arguments: argparse.Namespace, why: str) -> None:
    """UsageError that names what was given and concerns only replays, in words of `why`."""
    for option in ("once", "speed", "batch_packets"):
        if getattr(arguments, option):
            raise UsageError(f"--{option.replace('_', '-')} concerns a replay, and {why}")


def batch_packets(text: str) -> int:
    """A batch size: results do not depend on it, tests try several."""
    number = int(text)
    if not 1 <= number <= 1 << 20:
        raise argparse.ArgumentTypeError("must lie in 1 … 1048576")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    gc.disable()  # until everything is imported
    out: Path | None = arguments.out
    overrides: dict[str, Any] = {}
    if out is not None:
        overrides = {"state_dir": out, "eve.path": Path("eve.json"), "eve.enabled": True}
        overrides |= {"store.url": "sqlite:///fortress.sqlite", "store.enabled": True}
    settings = load_config(arguments, overrides).settings

    from fortress.cli.running import Telling, run_replay
    from fortress.services.agent import BATCH_PACKETS, Replay

    replay = Replay(
        paths=tuple(arguments.files),
        speed=arguments.speed or "max",
        batch_packets=arguments.batch_packets or BATCH_PACKETS,
        flow_lines=arguments.flows,
    )
    return run_replay(replay, settings, Telling(arguments.json, keep=out is not None))
