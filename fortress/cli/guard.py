# SPDX-License-Identifier: Apache-2.0
"""`fortress guard`: the one privileged process, which blocks and hands out sockets."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fortress.cli.options import Commands, add_command, add_json

if TYPE_CHECKING:
    from fortress.respond.answers import GuardStatus

RUN = """\
Run the guard: it owns the nftables tables `fortress`, keeps what is blocked in
its state folder, and answers `fortress block` and the agent on a unix socket. It
gives up every privilege but CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "guard", "the privileged process that blocks", None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verb = add_command(verbs, "run", "block, and keep what is blocked", run, RUN)
    add_guard_config(verb)
    stop = verb.add_mutually_exclusive_group()
    stop.add_argument(
        "--keep",
        dest="on_stop",
        action="store_const",
        const="keep",
        help="on stop leave blocks in the kernel until they expire (default: guard.toml)",
    )
    stop.add_argument(
        "--remove",
        dest="on_stop",
        action="store_const",
        const="remove",
        help="on stop remove everything from the kernel",
    )
    verb = add_command(verbs, "status", "say how the guard is", show_status)
    add_guard_config(verb)
    add_json(verb, "print the status as one JSON object")


def add_guard_config(parser: argparse.ArgumentParser) -> None:
    """The options that say which guard is meant."""
    parser.add_argument(
        "--guard-config",
        metavar="FILE",
        type=Path,
        help="the guard's configuration; default: /etc/fortress/guard.toml",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from fortress.respond.guard_settings import load_settings
    from fortress.respond.run import run_guard

    settings = load_settings(arguments.guard_config)
    if arguments.on_stop:
        settings = replace(settings, on_stop=arguments.on_stop)
    run_guard(settings)
    return 0


def show_status(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from fortress.respond.client import GuardClient
    from fortress.respond.guard_settings import load_settings
    from fortress.respond.plain import plain

    with GuardClient(load_settings(arguments.guard_config).socket) as guard:
        status = guard.status()
    if arguments.json:
        print(json.dumps(plain(status), ensure_ascii=False))
    else:
        sys.stdout.writelines(f"{line}\n" for line in _told(status))
    return 0


def _told(status: GuardStatus) -> list[str]:
    feeds = ", ".join(f"{name} {count:,}" for name, count in status.feeds.items()) or "none"
    lines = [
        f"guard     process {status.pid}, up {status.uptime_s:.0f} s",
        f"holds     {', '.join(status.confined)}",
        f"backends  {', '.join(status.backends)}",
        f"ports     {', '.join(status.ports) or 'none'}",
        f"blocks    {status.blocks:,} stand, {status.acts:,} acts, {status.refusals:,} refused",
        f"lists     {feeds}",
        f"restored  {status.restored} times after others changed our tables",
        f"automatic {status.automatic_left} more this minute",
    ]
    if status.ports_absent:
        lines.append(f"absent    {', '.join(status.ports_absent)}")
    lines += [f"trouble   {one}" for one in status.troubles]
    lines += [f"spares    {one}" for one in status.spared]
    return lines
