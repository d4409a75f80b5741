# SPDX-License-Identifier: Apache-2.0
"""What commands share on the command line: layout of help, common options, the configuration."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fortress.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fortress.config import Loaded

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help of a fixed width, so that what is printed does not depend on the terminal."""

    def __init__(self, prog: str, **known: Any) -> None:
        super().__init__(prog, max_help_position=26, width=88)


def add_command(
    commands: Commands,
    name: str,
    sentence: str,
    run: Callable[[argparse.Namespace], int] | None,
    description: str = "",
) -> argparse.ArgumentParser:
    """A command with the layout, `--config` and (where it runs) its function."""
    parser = commands.add_parser(
        name,
        help=sentence,
        description=description or f"{sentence[0].upper()}{sentence[1:]}.",
        formatter_class=Formatter,
    )
    parser.set_defaults(run=run or partial(ask_for_more, parser))
    return parser


def ask_for_more(parser: argparse.ArgumentParser, _: argparse.Namespace) -> int:
    """Print the help of a command that does nothing by itself: wrong usage."""
    parser.print_help(sys.stderr)
    return UsageError.exit_code


def add_config(parser: argparse.ArgumentParser) -> None:
    """The option that names the configuration file."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="configuration file; default: $FORTRESS_CONFIG, else /etc/fortress/fortress.toml",
    )


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """The option for output that programs read."""
    parser.add_argument("--json", action="store_true", help=what)


def counted(count: int, words: str) -> str:
    """The count with the words for one or for many, which a / parts: "flow/flows"."""
    one, _, many = words.partition("/")
    return f"{count:,} {one if count == 1 else many}"


def load_config(
    arguments: argparse.Namespace, overrides: Mapping[str, Any] | None = None
) -> Loaded:
    """The configuration that the options name, with what the command line changes in it."""
    from fortress.config import load

    loaded = load(arguments.config, overrides)
    if loaded.settings.qsecbit or loaded.settings.detectors:
        _check_pipeline(loaded)
    return loaded


def _check_pipeline(loaded: Loaded) -> None:
    """Settings of score and detectors, checked by those who read them, named with their file."""
    from fortress.errors import ConfigError
    from fortress.qsecbit import Pipeline, PipelineSettings

    try:
        Pipeline(PipelineSettings(loaded.settings.qsecbit, loaded.settings.detectors))
    except ConfigError as error:
        key = str(error).partition(":")[0]
        raise ConfigError(f"{loaded.origin(key)}: {error}") from error
