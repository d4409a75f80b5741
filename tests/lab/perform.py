"""Performing: the steps of a scenario, each in time, each command bounded, each complaint kept."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from tests.lab.furnish import PAGES, PASSWORD, USER
from tests.lab.network import Network, placeholders
from tests.lab.sandbox import ROOM
from tests.lab.scenario import Scenario, Step

_LOOK_SECONDS = 0.5
_QUOTED = 1_500  # characters of a failed tool's last words
_POLITE_SECONDS = 10.0  # arpspoof puts the victims' ARP tables right after the interrupt


@dataclass(slots=True)
class Performance:
    """What became of a step: its command, start and end of each run (epoch ns), first complaint."""

    step: Step
    command: str
    runs: list[tuple[int, int]] = field(default_factory=list)
    complaint: str = ""


def perform(network: Network, scenario: Scenario) -> list[Performance]:
    """What became of each step, once all are done or the first has a complaint."""
    clock = _Clock(time.monotonic() + scenario.lead, scenario.max_seconds)
    performances = [Performance(step, fill(step.command)) for step in scenario.steps]
    threads = [
        threading.Thread(target=_perform_step, args=(network, scenario.name, one, clock))
        for one in performances
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.is_over.wait(scenario.tail)
    return performances


def fill(text: str, page: str = "PAGE") -> str:
    """A command or filter with its placeholders replaced."""
    return text.format(**placeholders(), page=page, room=ROOM, user=USER)


class _Clock:
    """The time of a recording, which ends for all when one step has a complaint."""

    def __init__(self, started: float, max_seconds: float) -> None:
        self.started, self._deadline = started, started + max_seconds
        self.is_over = threading.Event()

    def left(self) -> float:
        """Seconds that the scenario's bound leaves."""
        return max(0.0, self._deadline - time.monotonic())

    def sleep_until(self, due: float) -> bool:
        """Whether the time has come; False when the recording is over."""
        self.is_over.wait(max(0.0, due - time.monotonic()))
        return not self.is_over.is_set()


def _perform_step(network: Network, name: str, one: Performance, clock: _Clock) -> None:
    step = one.step
    chance = random.Random(f"{name} {step.actor} {step.command} {step.at}")
    due = clock.started + step.at
    for number in range(step.times):
        if not clock.sleep_until(due):
            return
        if number == 0:
            again = f" (×{step.times})" if step.times > 1 else ""
            _tell(f"{step.at:5g} s  {step.actor}: {one.command}{again}")
        page = f"{ROOM}/etc/page{chance.randrange(PAGES)}"
        begin = time.time_ns()
        one.complaint = _run(network, step, fill(step.command, page), clock)
        one.runs.append((begin, time.time_ns()))
        if one.complaint:
            clock.is_over.set()
            return
        due += step.every * (1 + step.jitter * chance.uniform(-1, 1))


def _run(network: Network, step: Step, command: str, clock: _Clock) -> str:
    """A complaint about one run of a command, empty if there is none."""
    environment = {
        **os.environ,
        "LAB_PASSWORD": PASSWORD,
        "SSH_ASKPASS": str(ROOM / "askpass"),
        "SSH_ASKPASS_REQUIRE": "force",
    }
    log = ROOM / "logs" / f"step-{threading.get_ident()}"
    with log.open("wb") as out:
        tool = subprocess.Popen(
            [*network.prefix(step.actor), *shlex.split(command)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            cwd=ROOM,
        )
    status = _wait(tool, min(step.seconds, clock.left()), clock.is_over)
    if clock.is_over.is_set() or (status is None and step.endless):
        return ""
    if status is None:
        return f"{command}: not done in time"
    if status in step.exits and not step.endless:
        return ""
    said = log.read_text(errors="replace")[-_QUOTED:].strip()
    return f"{command}: ended with {status}: {said}"


def _wait(tool: subprocess.Popen[bytes], seconds: float, is_over: threading.Event) -> int | None:
    """The tool's exit status; None when it had to be stopped."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not is_over.is_set():
        try:
            return tool.wait(timeout=min(_LOOK_SECONDS, max(0.01, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            continue
    _stop(tool)
    return None


def _stop(tool: subprocess.Popen[bytes]) -> None:
    tool.send_signal(signal.SIGINT)
    try:
        tool.wait(timeout=_POLITE_SECONDS)
    except subprocess.TimeoutExpired:
        tool.kill()
        tool.wait()


def _tell(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)
