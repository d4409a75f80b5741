"""The tap: tcpdump on the gateway's LAN bridge, and questions asked of the file it wrote."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.network import TAP, TAP_HOST, Network
from tests.lab.sandbox import SandboxError, run, search_path

_RING_KIB = 65_536


@dataclass(slots=True)
class Tap:
    """A running capture; ``dropped`` is what the kernel lost, known once it has stopped."""

    path: Path
    tcpdump: subprocess.Popen[str]
    dropped: int = -1

    @property
    def is_full(self) -> bool:
        """Whether the packet bound has ended the capture."""
        return self.tcpdump.poll() is not None


@contextmanager
def tap(network: Network, path: Path, snaplen: int, max_packets: int) -> Iterator[Tap]:
    """A capture with nanosecond stamps of everything on the LAN bridge, at most ``max_packets``."""
    words = [
        *network.prefix(TAP_HOST), "tcpdump", "-i", TAP, "-w", str(path), "-s", str(snaplen), "-n",
        "-c", str(max_packets), "-B", str(_RING_KIB), "--time-stamp-precision=nano", "-Z", "root",
    ]  # fmt: skip
    environment = {"PATH": search_path(), "LC_ALL": "C"}
    tcpdump = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
    assert tcpdump.stderr is not None
    greeting = tcpdump.stderr.readline()
    while greeting and "listening on" not in greeting:
        greeting = tcpdump.stderr.readline()
    if not greeting:
        raise SandboxError(f"tcpdump ended with {tcpdump.wait()} before it listened")
    running = Tap(path, tcpdump)
    try:
        yield running
        time.sleep(0.5)
    finally:
        tcpdump.terminate()
        last_words = tcpdump.communicate(timeout=20)[1]
    for line in last_words.splitlines():
        if "dropped by kernel" in line:
            running.dropped = int(line.split()[0])


def bounds(path: Path, expression: str) -> tuple[int, int, int, int]:
    """First and last stamp (epoch ns), number and wire bytes of the packets that match a pcap filter."""
    first = last = packets = wire_bytes = 0
    for stamp, length in _matches(path, expression):
        first, last = first or stamp, stamp
        packets, wire_bytes = packets + 1, wire_bytes + length
    return first, last, packets, wire_bytes


def within(path: Path, expression: str, start: int, end: int) -> tuple[int, int, int]:
    """First and last stamp and number of the matching packets stamped from ``start`` to ``end``."""
    stamps = [stamp for stamp, _ in _matches(path, expression) if start <= stamp <= end]
    return (stamps[0], stamps[-1], len(stamps)) if stamps else (0, 0, 0)


def _matches(path: Path, expression: str) -> Iterator[tuple[int, int]]:
    words = ["tcpdump", "-r", str(path), "-n", "-tt", "-e", "-q", "--time-stamp-precision=nano"]
    for line in run(*words, *([expression] if expression else [])).splitlines():
        seconds, dot, rest = line.partition(".")
        if dot and seconds.isdigit():
            length = rest.split(" length ", 1)[1].split(":", 1)[0]
            yield int(seconds) * 10**9 + int(rest[:9]), int(length)
