# SPDX-License-Identifier: Apache-2.0
"""Reads the command line, runs the command, and turns errors into a message and an exit code."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from importlib import import_module

from fortress.cli.options import Formatter, ask_for_more
from fortress.cli.running import INTERRUPTED
from fortress.errors import FortressError

COMMANDS = (  # each a file of this folder, imported when it is run or its help is wanted
    *("up", "replay", "flows", "agent", "guard", "block", "devices", "powercap"),
    *("model", "trainer", "config", "doctor", "columns"),
)

GARBAGE_AFTER = 50_000  # containers more than before

DESCRIPTION = """\
Fortress watches the traffic of a small network, finds attacks, and condenses
what it knows into one explained score: GREEN, AMBER or RED."""

EPILOG = """\
start here:
  fortress up --replay CAPTURE --once   everything, on a capture file
  fortress replay CAPTURE --json        the events of a capture as JSON lines
  fortress flows CAPTURE -o X.parquet   its flows as columns
  fortress doctor                       what works on this machine

exit codes:
  0 done · 1 error · 2 wrong usage or configuration · 3 input was damaged or some
  of it missing, what could be read was analysed · 130 interrupted"""


def build_parser(names: Iterable[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the whole command line, or of some of its commands."""
    parser = argparse.ArgumentParser(
        prog="fortress", description=DESCRIPTION, epilog=EPILOG, formatter_class=Formatter
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    parser.set_defaults(run=partial(ask_for_more, parser))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name in names:
        import_module(f"fortress.cli.{name}").add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; what a user can cause ends in a message."""
    words = sys.argv[1:] if argv is None else argv
    alone = words[:1] if words and words[0] in COMMANDS else COMMANDS
    arguments = build_parser(alone).parse_args(words)
    # numpy's BLAS starts a thread a core when it is imported; nothing here multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imports make objects by the hundred thousand and no garbage: look for it less often.
    gc.set_threshold(GARBAGE_AFTER)
    # pydantic would look through every installed package for plugins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except FortressError as error:
        for line in str(error).splitlines():
            print(f"fortress: {line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of standard output has gone: nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FortressError.exit_code
    finally:
        gc.enable()  # commands that switch it off while they import may have failed there
    return code


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, **known: object) -> None:
        super().__init__(nargs=0, **known)  # type: ignore[arg-type]

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"fortress {version('fortress')}")
        parser.exit()
