# SPDX-License-Identifier: Apache-2.0
"""`fortress agent run`: the service that watches."""

from __future__ import annotations

import argparse

from fortress.cli.options import Commands, add_command, add_config, load_config
from fortress.cli.replay import add_replay_options
from fortress.errors import UsageError

DESCRIPTION = """\
Run the agent alone, as a container does. It writes the EVE file and the store of
the configuration. Without --once it goes on serving metrics after the replay,
until it is asked to stop."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "agent", "the service that watches (fortress agent run)", None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verb = add_command(verbs, "run", "watch, judge and tell", run, DESCRIPTION)
    verb.add_argument("--replay", metavar="FILE", nargs="+", default=[], help="captures to replay")
    verb.add_argument("--once", action="store_true", help="exit when the replay is over")
    add_replay_options(verb)
    add_config(verb)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    if not arguments.replay:
        raise UsageError("live capture is not built in yet; name captures with --replay FILE")
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
