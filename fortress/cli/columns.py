# SPDX-License-Identifier: Apache-2.0
"""`fortress columns`: the data dictionary."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from fortress.cli.options import Commands, add_command, add_json

if TYPE_CHECKING:
    from fortress_core import Column

TABLES = ("packets", "flows", "intervals")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "columns", "print the data dictionary: every column, its unit and meaning", run
    )
    parser.add_argument("--table", choices=TABLES, help="only this table")
    add_json(parser, "print one JSON object for each column")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from fortress.archive.arrow import dictionary

    for table in (arguments.table,) if arguments.table else TABLES:
        columns = dictionary(table)
        if arguments.json:
            for column in columns:
                print(json.dumps({"table": table} | _fields(column), ensure_ascii=False))
        else:
            _print(table, columns)
    return 0


def _fields(column: Column) -> dict[str, str]:
    return {
        "name": column.name,
        "type": column.type,
        "unit": column.unit,
        "meaning": column.meaning,
    }


def _print(table: str, columns: tuple[Column, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=f"{table}: {len(columns)} columns", title_justify="left", box=None)
    for heading in ("column", "type", "unit", "meaning"):
        grid.add_column(heading, no_wrap=heading != "meaning")
    for column in columns:
        grid.add_row(column.name, column.type, column.unit, Text(column.meaning))
    Console(highlight=False).print(grid)
