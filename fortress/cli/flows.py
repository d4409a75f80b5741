# SPDX-License-Identifier: Apache-2.0
"""`fortress flows`: the flows of captures as a file of columns."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fortress.cli.options import Commands, add_command, add_config, add_json, counted, load_config

if TYPE_CHECKING:
    from fortress.archive.export import Exported

DESCRIPTION = """\
Write every flow of the captures into one file. Its name says the format:
.parquet (with units and meanings in the schema), .csv or .jsonl. Addresses,
conn_state and end_reason are text there (dictionary-encoded in Parquet)."""

EPILOG = "The columns are those of `fortress columns --table flows`; they are in docs/columns.md."


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "flows", "write the flows of captures as columns", run, DESCRIPTION
    )
    parser.epilog = EPILOG
    parser.add_argument("files", nargs="+", metavar="FILE", help="captures, as in replay")
    parser.add_argument(
        "-o", "--out", metavar="X", type=Path, required=True, help="X.parquet, X.csv or X.jsonl"
    )
    parser.add_argument(
        "--columns",
        metavar="A,B,…",
        help="these columns in this order; default: all but the packet sequences",
    )
    add_json(parser, "print what was written as one JSON object")
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    settings = load_config(arguments).settings

    from fortress.archive.export import Limits, export
    from fortress.cli.running import INTERRUPTED, PARTIAL_INPUT, stop_on_signals

    names = [name.strip() for name in arguments.columns.split(",")] if arguments.columns else None
    limits = Limits(
        flow_budget_bytes=settings.flows.budget_mib << 20,
        idle_timeout_ns=round(settings.flows.idle_timeout_s * 1e9),
        active_timeout_ns=round(settings.flows.active_timeout_s * 1e9),
    )
    with stop_on_signals() as stop:
        done = export(arguments.files, arguments.out, names, limits, stop)
    for damage in done.damages:
        print(f"fortress: {damage}", file=sys.stderr)
    print(_told(done, arguments.out, arguments.json))
    if done.interrupted:
        return INTERRUPTED
    return PARTIAL_INPUT if done.damages else 0


def _told(done: Exported, out: Path, as_json: bool) -> str:
    if not as_json:
        return (
            f"{counted(done.flows, 'flow/flows')} of {counted(done.packets, 'packet/packets')},"
            f" {counted(len(done.columns), 'column/columns')} → {out}"
        )
    return json.dumps(
        {
            "file": str(out),
            "flows": done.flows,
            "packets": done.packets,
            "columns": list(done.columns),
            "damages": list(done.damages),
            "interrupted": done.interrupted,
        },
        ensure_ascii=False,
    )
