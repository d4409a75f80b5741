"""Recording: carry out a scenario in its own network, and write the capture with its labels."""

from __future__ import annotations

import hashlib
import os
import random
import shlex
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.capture import bounds, tap, within
from tests.lab.labels import SUFFIX, Label, write_labels
from tests.lab.network import HOSTS, TAP, Network, build, placeholders
from tests.lab.sandbox import ROOM, SandboxError, missing_tools, run, run_inside, search_path
from tests.lab.scenario import Scenario, Step
from tests.lab.services import PAGES, PASSWORD, SERVICES, USER, started

_BASE_TOOLS = ("ip", "nsenter", "ethtool", "tcpdump", "openssl", "ssh-keygen", "zstd")


@dataclass(slots=True)
class _Run:
    """What a step's commands did: start and end of each run (epoch ns) and the first complaint."""

    step: Step
    times: list[tuple[int, int]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    complaint: str = ""


def tools_of(scenario: Scenario) -> tuple[str, ...]:
    """Programs that a recording of the scenario starts, sorted."""
    daemons = {service.tool for name in scenario.services for service in SERVICES[name]}
    return tuple(sorted({*_BASE_TOOLS, *daemons, *map(_tool, scenario.steps)}))


def record(scenario: Scenario, folder: Path) -> Path:
    """The capture file, recorded now into ``folder`` with its labels beside it; both appear whole or not at all."""
    missing = missing_tools(tools_of(scenario))
    if missing:
        raise SandboxError(f"{scenario.name} needs tools that are missing: {', '.join(missing)}")
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    if run_inside(lambda: _carry_out(scenario, folder)) != 0:
        raise SandboxError(f"{scenario.name} was not recorded")
    return folder / f"{scenario.name}.pcap.zst"


def _tool(step: Step) -> str:
    return Path(shlex.split(step.command)[0]).name


def _carry_out(scenario: Scenario, folder: Path) -> int:
    plain = ROOM / f"{scenario.name}.pcap"
    runs = [_Run(step) for step in scenario.steps]
    with build(scenario.offloads) as network, started(network, scenario.services):
        with tap(network, plain, scenario.snaplen, scenario.max_packets) as listening:
            started_at = time.monotonic() + scenario.lead
            deadline = started_at + scenario.max_seconds
            threads = [
                threading.Thread(
                    target=_perform, args=(network, scenario, one, started_at, deadline)
                )
                for one in runs
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            time.sleep(scenario.tail)
            full = listening.is_full
        dropped = listening.dropped
    complaints = [one.complaint for one in runs if one.complaint]
    if full:
        complaints.append(f"more than the {scenario.max_packets} packets that its file allows")
    if dropped != 0:
        complaints.append(f"the kernel dropped {dropped} packets")
    if complaints:
        raise SandboxError(f"{scenario.name}: " + "; ".join(complaints))
    _publish(scenario, plain, folder, runs, dropped)
    return 0


def _perform(
    network: Network, scenario: Scenario, one: _Run, started_at: float, deadline: float
) -> None:
    step = one.step
    chance = random.Random(f"{scenario.name} {step.actor} {step.command} {step.at}")
    due = started_at + step.at
    for number in range(step.times):
        time.sleep(max(0.0, due - time.monotonic()))
        if time.monotonic() >= deadline:
            one.complaint = one.complaint or f"{step.command}: out of time at run {number}"
            return
        words = shlex.split(_fill(step.command, chance))
        one.words = one.words or words
        begin = time.time_ns()
        complaint = _run_bounded(network, step, words, deadline)
        one.times.append((begin, time.time_ns()))
        one.complaint = one.complaint or complaint
        due += step.every * (1 + step.jitter * chance.uniform(-1, 1))


def _fill(command: str, chance: random.Random) -> str:
    page = str(ROOM / "etc" / f"page{chance.randrange(PAGES)}")
    places = {"page": page, "room": str(ROOM), "user": USER, "password": PASSWORD}
    return command.format(**placeholders(), **places)


def _run_bounded(network: Network, step: Step, words: list[str], deadline: float) -> str:
    environment = {
        "PATH": search_path(), "LC_ALL": "C", "HOME": str(ROOM), "LAB_PASSWORD": PASSWORD,
        "SSH_ASKPASS": str(ROOM / "home" / "askpass"), "SSH_ASKPASS_REQUIRE": "force",
    }  # fmt: skip
    log = ROOM / "logs" / f"{step.actor}-{threading.get_ident()}"
    with log.open("wb") as out:
        tool = subprocess.Popen(
            [*network.prefix(step.actor), *words],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=ROOM,
        )  # fmt: skip
        try:
            status = tool.wait(timeout=max(0.1, min(step.seconds, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            tool.send_signal(signal.SIGINT)
            try:
                tool.wait(timeout=8)
            except subprocess.TimeoutExpired:
                tool.kill()
                tool.wait()
            return "" if step.endless else f"{' '.join(words)}: not done in {step.seconds} s"
    if status in step.exits and not step.endless:
        return ""
    return f"{' '.join(words)}: exit {status}: {log.read_text(errors='replace')[-400:].strip()}"


def _publish(scenario: Scenario, plain: Path, folder: Path, runs: list[_Run], dropped: int) -> None:
    labels = tuple(_label(one, plain) for one in runs if one.step.truth is not None)
    start, end, packets, wire_bytes = bounds(plain, "")
    whole, partial = folder / f"{plain.name}.zst", folder / f".{plain.name}.zst.partial"
    run("zstd", "-q", "-19", "-f", str(plain), "-o", str(partial))
    facts = {
        "scenario": scenario.name,
        "sentence": scenario.sentence,
        "capture": whole.name,
        "sha256": hashlib.sha256(partial.read_bytes()).hexdigest(),
        "packets": packets,
        "wire_bytes": wire_bytes,
        "start": start,
        "end": end,
        "snaplen": scenario.snaplen,
        "offloads": scenario.offloads,
        "interface": TAP,
        "dropped": dropped,
        "hosts": {
            host.name: {"ipv4": host.ipv4, "ipv6": host.ipv6, "mac": host.mac}
            for host in HOSTS.values()
        },
        "tools": {tool: _version(tool) for tool in tools_of(scenario)},
        "commands": [_command(one) for one in runs],
    }
    write_labels(folder / (scenario.name + SUFFIX), facts, labels)
    partial.rename(whole)


def _label(one: _Run, plain: Path) -> Label:
    truth = one.step.truth
    assert truth is not None
    begin, end = one.times[0][0], one.times[-1][1]
    first, last, packets = within(plain, truth.packets.format(**placeholders()), begin, end)
    if not packets:
        raise SandboxError(f"{' '.join(one.words)}: no packet of it matches {truth.packets!r}")
    source = HOSTS.get((truth.src or "").removesuffix("6"))
    return Label(
        start=first,
        end=last,
        src=_address(truth.src),
        dst=_address(truth.dst),
        src_mac=source.mac if source is not None and source.side == "lan" else None,
        technique=truth.technique,
        detector=truth.detector,
        note=truth.note,
        also=truth.also,
    )


def _address(name: str | None) -> str | None:
    return None if name is None else placeholders().get(name, name)


def _command(one: _Run) -> dict[str, Any]:
    return {
        "at": one.times[0][0],
        "actor": one.step.actor,
        "command": shlex.join(one.words).replace(PASSWORD, "PASSWORD"),
        "times": len(one.times),
    }


def _version(tool: str) -> str:
    """The Debian package and version that a tool is from."""
    path = os.path.realpath(shutil.which(tool, path=search_path()) or tool)
    for name in (path, path.removeprefix("/usr")):
        words = ["dpkg-query", "-S", name]
        owner = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        if owner:
            package = owner.split(":", 1)[0]
            return package + " " + run("dpkg-query", "-W", "-f", "${Version}", package)
    return "not from a Debian package"
