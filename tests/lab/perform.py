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

_POLITE_SECONDS = 10.0  # arpspoof puts the victims' ARP tables right after the interrupt


@dataclass(slots=True)
class Performance:
    """What became of a step: its command, start and end of each run (epoch ns), first complaint."""

    step: Step
    command: str
    runs: list[tuple[int, int]] = field(default_factory=list)
    complaint: str = ""


def perform(network: Network, scenario: Scenario) -> list[Performance]:
    """What became of each step, once all are done or out of time."""
    started = time.monotonic() + scenario.lead
    performances = [Performance(step, fill(step.command)) for step in scenario.steps]
    threads = [
        threading.Thread(target=_perform_step, args=(network, scenario, one, started))
        for one in performances
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(scenario.tail)
    return performances


def fill(text: str, page: str = "PAGE") -> str:
    """A command or filter with its placeholders replaced."""
    return text.format(**placeholders(), page=page, room=ROOM, user=USER)


def _perform_step(network: Network, scenario: Scenario, one: Performance, started: float) -> None:
    step, deadline = one.step, started + scenario.max_seconds
    chance = random.Random(f"{scenario.name} {step.actor} {step.command} {step.at}")
    due = started + step.at
    for number in range(step.times):
        time.sleep(max(0.0, due - time.monotonic()))
        if time.monotonic() >= deadline:
            one.complaint = one.complaint or f"{one.command}: out of time at run {number + 1}"
            return
        if number == 0:
            _tell(
                f"{step.at:5g} s  {step.actor}: {one.command}"
                + f" (×{step.times})" * (step.times > 1)
            )
        begin = time.time_ns()
        page = f"{ROOM}/etc/page{chance.randrange(PAGES)}"
        complaint = _run(network, step, fill(step.command, page), deadline)
        one.runs.append((begin, time.time_ns()))
        one.complaint = one.complaint or complaint
        due += step.every * (1 + step.jitter * chance.uniform(-1, 1))


def _run(network: Network, step: Step, command: str, deadline: float) -> str:
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
    allowed = min(step.seconds, deadline - time.monotonic())
    try:
        status = tool.wait(timeout=max(0.1, allowed))
    except subprocess.TimeoutExpired:
        _stop(tool)
        return "" if step.endless else f"{command}: not done in {allowed:.0f} s"
    if status in step.exits and not step.endless:
        return ""
    said = log.read_text(errors="replace")[-1500:].strip()
    return f"{command}: ended with {status}: {said}"


def _stop(tool: subprocess.Popen[bytes]) -> None:
    tool.send_signal(signal.SIGINT)
    try:
        tool.wait(timeout=_POLITE_SECONDS)
    except subprocess.TimeoutExpired:
        tool.kill()
        tool.wait()


def _tell(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)
