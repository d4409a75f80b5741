# SPDX-License-Identifier: Apache-2.0
"""`fortress agent run`: the service that watches."""

from __future__ import annotations

import argparse
import sys

from fortress.cli.options import Commands, add_command, add_config, load_config
from fortress.cli.replay import add_replay_options, refuse_replay_options
from fortress.errors import InputError, UsageError

DESCRIPTION = """\
Run the agent alone, as a container does. It watches interfaces, or replays
captures; writes the EVE file and the store of the configuration, and answers on
its socket and port. It runs until it is asked to stop (a replay with --once
until it is over); SIGHUP makes it read the configuration again."""

HEALTH = """\
Ask the agent that runs with this configuration, on its unix socket, whether it
moves. Exits with 0 when it does, else with 1 and the reason: made for a
container's health check."""
_WAIT_S = 5.0


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
    verb = add_command(verbs, "health", "say whether the agent moves", health, HEALTH)
    add_config(verb)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    if arguments.replay and arguments.interface:
        raise UsageError("--replay and --interface: choose one")
    if not arguments.replay:
        refuse_replay_options(arguments, "an interface is watched: name --replay FILE, or leave it")
        return _watch(arguments)
    if arguments.source:
        raise UsageError("--source concerns an interface, and --replay reads captures: choose one")
    settings = load_config(arguments).settings

    from fortress.cli.running import Telling, run_replay, serve
    from fortress.services.agent import BATCH_PACKETS, Replay

    replay = Replay(
        paths=tuple(arguments.replay),
        speed=arguments.speed or "max",
        batch_packets=arguments.batch_packets or BATCH_PACKETS,
        flow_lines=arguments.flows or settings.eve.flows,
    )
    if arguments.once:
        return run_replay(replay, settings, Telling(arguments.json, keep=True))
    return serve(replay, settings, json=arguments.json)


def health(arguments: argparse.Namespace) -> int:
    """Run the command."""
    import json
    import socket
    from contextlib import closing
    from http.client import HTTPConnection, HTTPException

    path = load_config(arguments).settings.control_path()
    if path is None:
        raise UsageError("control.socket is empty: the agent has no socket that could be asked")
    with closing(HTTPConnection("localhost")) as agent:
        agent.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        agent.sock.settimeout(_WAIT_S)
        try:
            agent.sock.connect(str(path))
            agent.request("GET", "/health")
            told = json.loads(agent.getresponse().read())
        except (OSError, HTTPException, ValueError) as error:
            raise InputError(f"{path}: no agent answers ({error}); see its log") from error
    print(": ".join(filter(None, (told["state"], told["reason"]))))
    return 0 if told["ok"] else 1


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
            flow_lines=arguments.flows,
        ),
        loaded.settings,
    )
    return 0
