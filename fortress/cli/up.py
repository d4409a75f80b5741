# SPDX-License-Identifier: Apache-2.0
"""`fortress up`: every service as a child process, on embedded defaults."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import fortress
from fortress.cli.options import Commands, add_command, add_config, load_config
from fortress.cli.replay import add_replay_options, refuse_replay_options
from fortress.errors import UsageError

if TYPE_CHECKING:
    from fortress.config import Settings

DESCRIPTION = """\
Start everything on this machine: SQLite, no other servers, no root needed.
Without --replay it watches --interface, else capture.interfaces, else the one with
the default route, where it may capture; where it may not (or with --once) the
capture that ships with Fortress is replayed once. It serves until Ctrl-C unless
--once says otherwise."""

SAMPLES = "attack_day.*"
STOP_SECONDS = 10.0  # how long a service may take to end before it is killed

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "up", "start everything on embedded defaults", run, DESCRIPTION)
    parser.add_argument(
        "--replay", metavar="FILE", nargs="+", default=[], help="captures to replay"
    )
    parser.add_argument(
        "--interface",
        metavar="IF",
        action="append",
        default=[],
        help="interface to watch; may be given several times",
    )
    parser.add_argument("--once", action="store_true", help="exit when the replay is over")
    add_replay_options(parser)
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    # a wrong configuration is told once, before anything is started
    settings = load_config(arguments).settings
    if arguments.replay:
        if arguments.interface:
            raise UsageError("--replay and --interface: choose one")
        return _supervise([_agent(arguments, arguments.replay)])
    if arguments.interface:
        refuse_replay_options(arguments, "--interface is watched: leave one of them")
        return _supervise([_watching(arguments, arguments.interface)])
    interfaces, why_not = _to_watch(settings)
    if interfaces and not arguments.once:
        why = f"{', '.join(interfaces)} would be watched: add --once, or --replay FILE"
        refuse_replay_options(arguments, why)
        return _supervise([_watching(arguments, interfaces)])
    sample = str(shipped_sample())
    note = f"{why_not or '--once'}: replaying the sample {sample} once instead of watching"
    print(f"fortress: {note}", file=sys.stderr)
    return _supervise([_agent(arguments, [sample])])


def _to_watch(settings: Settings) -> tuple[Sequence[str], str]:
    """The interfaces to watch, or none and why."""
    from fortress.kernel.routes import default_interfaces
    from fortress.services.agent.ports import CaptureError, choose

    try:
        choose(Path(settings.respond.guard) if settings.respond.guard else None)
    except CaptureError as error:
        return (), str(error).partition(";")[0]
    if settings.capture.interfaces:
        return settings.capture.interfaces, ""
    routed = default_interfaces()
    return (routed[:1], "") if routed else ((), "no interface has a default route")


def shipped_sample() -> Path:
    """The capture that ships with a checkout of Fortress."""
    folder = Path(fortress.__file__).parent.parent / "samples"
    found = sorted(path for path in folder.glob(SAMPLES) if ".pcap" in path.name)
    if not found:
        raise UsageError(f"no capture {folder / SAMPLES}; name one with --replay FILE")
    return found[0]


def _agent(arguments: argparse.Namespace, captures: Sequence[str]) -> list[str]:
    # -P: what lies in the current folder is not imported
    command = [sys.executable, "-P", "-m", "fortress", "agent", "run"]
    for option in ("once", "json", "flows"):
        command += [f"--{option}"] * getattr(arguments, option)
    for option in ("config", "speed", "batch_packets"):
        value = getattr(arguments, option)
        command += [f"--{option.replace('_', '-')}", str(value)] * (value is not None)
    return [*command, "--replay", *captures]


def _watching(arguments: argparse.Namespace, interfaces: Sequence[str]) -> list[str]:
    command = [sys.executable, "-P", "-m", "fortress", "agent", "run"]
    for option in ("json", "flows"):
        command += [f"--{option}"] * getattr(arguments, option)
    command += ["--config", str(arguments.config)] * (arguments.config is not None)
    for name in interfaces:
        command += ["--interface", name]
    return command


def _supervise(commands: Sequence[Sequence[str]]) -> int:
    """Run the services until the first one ends, then end the others; its exit code."""
    # Each service is a group of its own, so that Ctrl-C comes to it once, from us.
    services = [subprocess.Popen(command, process_group=0) for command in commands]

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for service in services:
            service.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)

    before = {number: signal.signal(number, pass_on) for number in _SIGNALS}
    try:
        return services[0].wait()
    finally:
        for service in services:
            _end(service)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(service: subprocess.Popen[bytes]) -> None:
    if service.poll() is None:
        service.terminate()
        try:
            service.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()
