"""Recording: a scenario carried out in its own network, written as a capture with its labels."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.lab.capture import bounds, tap, within
from tests.lab.furnish import furnish
from tests.lab.labels import SUFFIX, Label, write_labels
from tests.lab.network import HOSTS, TAP, build, placeholders
from tests.lab.perform import Performance, fill, perform
from tests.lab.sandbox import ROOM, SandboxError, missing_tools, run, run_inside, search_path
from tests.lab.scenario import Scenario
from tests.lab.services import SERVICES, started

_BASE_TOOLS = ("ethtool", "ip", "nsenter", "openssl", "ss", "ssh-keygen", "tcpdump", "zstd")


def tools_of(scenario: Scenario) -> tuple[str, ...]:
    """Programs that a recording of the scenario starts, sorted."""
    services = [service for name in scenario.services for service in SERVICES[name]]
    daemons = {tool for service in services for tool in (service.tool, *service.needs)}
    steps = {_program(shlex.split(step.command)) for step in scenario.steps}
    return tuple(sorted({*_BASE_TOOLS, *daemons, *steps, *_named_in_scripts(scenario)}))


def record(scenario: Scenario, folder: Path) -> Path:
    """The capture file, recorded into ``folder`` with its labels beside it: whole or not at all."""
    missing = missing_tools(tools_of(scenario))
    if missing:
        raise SandboxError(f"{scenario.name} needs tools that are missing: {', '.join(missing)}")
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    if run_inside(lambda: _carry_out(scenario, folder)) != 0:
        raise SandboxError(f"{scenario.name} was not recorded")
    return folder / f"{scenario.name}.pcap.zst"


def _named_in_scripts(scenario: Scenario) -> set[str]:
    """Tools that a step's ``bash -c`` ends up being."""
    scripts = [step.command for step in scenario.steps if "bash -c" in step.command]
    return {script.split("exec ", 1)[1].split()[0] for script in scripts if "exec " in script}


def _program(words: list[str]) -> str:
    """The program that a command runs: the word after the duration where `timeout` runs it."""
    if words[0] != "timeout":
        return words[0]
    durations = [at for at, word in enumerate(words) if word.replace(".", "").isdigit()]
    last = 1 if words[1:2] == ["-k"] or "-k" in words[1:4] else 0  # -k has a duration of its own
    return words[durations[last] + 1]


def _carry_out(scenario: Scenario, folder: Path) -> int:
    plain = ROOM / f"{scenario.name}.pcap"
    furnish()
    with (
        build(scenario.offloads) as network,
        started(network, scenario.services),
        tap(network, plain, scenario.snaplen, scenario.max_packets) as listening,
    ):
        performances = perform(network, scenario)
        full = listening.is_full
    complaints = [one.complaint for one in performances if one.complaint]
    if full:
        complaints.append(f"more than the {scenario.max_packets} packets that its file allows")
    if listening.dropped != 0:
        complaints.append(f"the kernel dropped {listening.dropped} packets")
    if complaints:
        raise SandboxError(f"{scenario.name}: " + "; ".join(complaints))
    _publish(scenario, plain, folder, performances)
    return 0


def _publish(
    scenario: Scenario, plain: Path, folder: Path, performances: list[Performance]
) -> None:
    labels = tuple(_label(one, plain) for one in performances if one.step.truth is not None)
    start, end, packets, wire_bytes = bounds(plain)
    whole, partial = folder / f"{plain.name}.zst", folder / f".{plain.name}.zst.partial"
    try:
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
            "dropped": 0,
            "hosts": {
                host.name: {"ipv4": host.ipv4, "ipv6": host.ipv6, "mac": host.mac}
                for host in HOSTS.values()
            },
            "tools": {Path(tool).name: _version(tool) for tool in tools_of(scenario)},
            "commands": [_command(one) for one in performances],
        }
        write_labels(folder / (scenario.name + SUFFIX), facts, labels)
        partial.rename(whole)
    finally:
        partial.unlink(missing_ok=True)


def _label(one: Performance, plain: Path) -> Label:
    truth = one.step.truth
    assert truth is not None
    begin, end = one.runs[0][0], one.runs[-1][1]
    first, last, packets = within(plain, fill(truth.packets), begin, end)
    if not packets:
        raise SandboxError(f"{one.command}: no packet of it matches {truth.packets!r}")
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
        notice=truth.notice,
        kind=truth.kind,
        tool=truth.tool,
    )


def _address(name: str | None) -> str | None:
    return None if name is None else placeholders().get(name, name)


def _command(one: Performance) -> dict[str, Any]:
    times = len(one.runs)
    return {
        "at": one.runs[0][0],
        "actor": one.step.actor,
        "command": one.command,
        "times": times,
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
