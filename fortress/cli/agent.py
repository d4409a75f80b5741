# SPDX-License-Identifier: Apache-2.0
"""`fortress agent run`: the service that watches."""

from __future__ import annotations

import argparse
import sys

from fortress.cli.options import Commands, add_command, add_config, load_config
from fortress.cli.replay import add_replay_options
from fortress.errors import UsageError

DESCRIPTION = """\
Run the agent alone, as a container does. It watches interfaces, or replays
captures; writes the EVE file and the store of the configuration, and answers on
its socket and port. It runs until it is asked to stop (a replay with --once
until it is over); SIGHUP makes it read the configuration again."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "agent", "the service that watches (fortress agent run)", None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verb = add_command(verbs, "run", "watch, judge and tell", run, DESCRIPTION)
    verb.add_argument(
        "--interface",
        metavar="IF",
        action="append",
        default=[],
        help="interface to watch; may be given several times (LAN and WAN)",
    )
    verb.add_argument(
        "--source",
        choices=("auto", "packet", "af_xdp"),
        help="how to capture; default: capture.source (auto: it says what it chose and why)",
    )
    verb.add_argument("--replay", metavar="FILE", nargs="+", default=[], help="captures to replay")
    verb.add_argument("--once", action="store_true", help="exit when the replay is over")
    add_replay_options(verb)
    add_config(verb)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    if arguments.replay and arguments.interface:
        raise UsageError("--replay and --interface: choose one")
    if not arguments.replay:
        return _watch(arguments)
    settings = load_config(arguments).settings

    from fortress.cli.running import Telling, run_replay, serve
    from fortress.services.agent import BATCH_PACKETS, Replay

    replay = Replay(
        paths=tuple(arguments.replay),
        speed=arguments.speed,
        batch_packets=arguments.batch_packets or BATCH_PACKETS,
        flow_lines=arguments.flows or settings.eve.flows,
    )
    if arguments.once:
        return run_replay(replay, settings, Telling(arguments.json, keep=True))
    return serve(replay, settings, json=arguments.json)


def _watch(arguments: argparse.Namespace) -> int:
    overrides = {"capture.source": arguments.source} if arguments.source else {}
    loaded = load_config(arguments, overrides)

    from fortress.services.agent.service import Watch
    from fortress.services.agent.service import run as watch
    from fortress.sinks.sink import Sink

    more: list[Sink] = []
    if arguments.json:
        from fortress.sinks.stream import LineStream

        more.append(LineStream(sys.stdout.fileno(), "standard output"))
    watch(
        Watch(
            interfaces=tuple(arguments.interface),
            load=lambda: load_config(arguments, overrides),
            more=tuple(more),
        ),
        loaded.settings,
    )
    return 0
