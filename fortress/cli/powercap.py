# SPDX-License-Identifier: Apache-2.0
"""`fortress powercap run`: the small process that may read what the processor draws."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fortress.cli.options import Commands, add_command, add_config, load_config
from fortress.errors import UsageError

DESCRIPTION = """\
Read RAPL's energy counters as root, give up every privilege, and tell averages
of a second on a unix socket, where the agent listens. Without it the agent
estimates, and says so."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "powercap", "the energy reader (fortress powercap run)", None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verb = add_command(verbs, "run", "read energy counters and tell them", run, DESCRIPTION)
    verb.add_argument(
        "--socket", metavar="PATH", type=Path, help="where to tell; default: energy.socket"
    )
    verb.add_argument(
        "--powercap", metavar="FOLDER", type=Path, help="default: /sys/class/powercap"
    )
    verb.add_argument("--group", metavar="NAME", help="group that may listen; default: none")
    verb.add_argument(
        "--user", metavar="NAME", default="nobody", help="who root becomes (default: nobody)"
    )
    add_config(verb)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    import grp
    import os

    from fortress.cli.running import stop_on_signals
    from fortress.notify import Notifier
    from fortress.services.powercap.rapl import POWERCAP
    from fortress.services.powercap.reader import Reader
    from fortress.services.powercap.reader import run as read

    path = arguments.socket or load_config(arguments).settings.energy_path()
    if path is None:
        raise UsageError("energy.socket is empty: name the socket with --socket PATH")
    try:
        gid = grp.getgrnam(arguments.group).gr_gid if arguments.group else -1
    except KeyError:
        raise UsageError(f"--group {arguments.group}: there is no such group") from None
    reader = Reader(path, arguments.powercap or POWERCAP, gid, arguments.user)
    with stop_on_signals() as stop:
        read(reader, stop, Notifier(os.environ), lambda text: print(text, file=sys.stderr))
    return 0
