"""The tap: tcpdump on the gateway's LAN bridge, and questions asked of the file it wrote."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.network import TAP, TAP_HOST, Network
from tests.lab.sandbox import SandboxError, run

_RING_KIB = 65_536


@dataclass(slots=True)
class Tap:
    """A running capture; ``dropped`` is what the kernel lost, known once it has stopped."""

    tcpdump: subprocess.Popen[str]
    dropped: int = -1

    @property
    def is_full(self) -> bool:
        """Whether the packet bound has ended the capture."""
        return self.tcpdump.poll() is not None


@contextmanager
def tap(network: Network, path: Path, snaplen: int, max_packets: int) -> Iterator[Tap]:
    """A capture with nanosecond stamps of all frames on the LAN bridge, at most ``max_packets``."""
    options = ["-i", TAP, "-w", str(path), "-s", str(snaplen), "-c", str(max_packets), "-n"]
    options += ["-B", str(_RING_KIB), "--time-stamp-precision=nano", "-Z", "root"]
    words = [*network.prefix(TAP_HOST), "tcpdump", *options]
    tcpdump = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert tcpdump.stderr is not None
    greeting = tcpdump.stderr.readline()
    while greeting and "listening on" not in greeting:
        greeting = tcpdump.stderr.readline()
    if not greeting:
        raise SandboxError(f"tcpdump ended with {tcpdump.wait()} before it listened")
    running = Tap(tcpdump)
    try:
        yield running
        time.sleep(0.5)  # the ring's last block
    finally:
        tcpdump.terminate()
        last_words = tcpdump.communicate(timeout=20)[1]
    for line in last_words.splitlines():
        if "dropped by kernel" in line:
            running.dropped = int(line.split()[0])


def bounds(path: Path) -> tuple[int, int, int, int]:
    """First and last stamp (epoch ns), number and wire bytes of all packets."""
    stamps, lengths = zip(*_packets(path, ""), strict=True)
    return min(stamps), max(stamps), len(stamps), sum(lengths)


def within(path: Path, expression: str, start: int, end: int) -> tuple[int, int, int]:
    """First and last stamp and number of the packets in that time that a pcap filter matches."""
    stamps = [stamp for stamp, _ in _packets(path, expression) if start <= stamp <= end]
    return (min(stamps), max(stamps), len(stamps)) if stamps else (0, 0, 0)


def _packets(path: Path, expression: str) -> Iterator[tuple[int, int]]:
    """Stamp (epoch ns) and wire length of each packet, as tcpdump prints them."""
    words = ["tcpdump", "-r", str(path), "-n", "-tt", "-e", "-q", "--time-stamp-precision=nano"]
    for line in run(*words, *filter(None, [expression])).splitlines():
        seconds, dot, rest = line.partition(".")
        if dot and seconds.isdigit():  # else it is a continuation line
            yield (
                int(seconds) * 10**9 + int(rest[:9]),
                int(rest.split(" length ", 1)[1].split(":")[0]),
            )
