"""Who reads a live interface in the bench: how each is started, known to be ready, and asked."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.versus import PROGRAMS, RIVALS_PYTHON
from tests.core.frames import Packet
from tests.net.namespace import Namespace

SETTLE_S = 20.0  # at most, until a reader has seen what was sent


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reader says that it saw, and that it knows it lost."""

    packets: int
    lost: int


@dataclass(frozen=True, slots=True)
class Reader:
    """How a reader is started on an interface, known to be ready, and asked what it saw."""

    name: str
    command: Callable[[str], list[str | Path]]
    ready: str  # what a line of its output or errors holds when it reads
    stop: signal.Signals
    seen: Callable[[str], Seen]
    tells_s: float = 0  # how often it tells its counters meanwhile; 0 = at its end
    lags_s: float = 0.3  # how long it may take to look at the last packets
    takes_all: bool = False  # the kernel gets nothing: there are no transfers to its host


def _of_json(told: str) -> Seen:
    values = json.loads(told.strip().splitlines()[-1])
    return Seen(values["packets"], values["lost"])


def _of_tcpdump(told: str) -> Seen:
    counts = {line.split(" ", 1)[1]: int(line.split()[0]) for line in told.splitlines()
              if line.endswith(("captured", "dropped by kernel"))}  # fmt: skip
    names = {key.split(" ", 1)[1]: value for key, value in counts.items()}
    return Seen(names["captured"], names["dropped by kernel"])


def _of_nfstream(told: str) -> Seen:
    lines = [line for line in told.splitlines() if line.startswith("{") and line.endswith("}")]
    values = json.loads(lines[-1])
    processed = values["packets_processed"] + values["packets_ignored"]
    return Seen(processed, values["packets_dropped_filtered_by_kernel"])


READERS = {
    reader.name: reader
    for reader in (
        Reader(
            "packet",
            lambda interface: [sys.executable, PROGRAMS / "live_flows.py", interface],
            "ready",
            signal.SIGTERM,
            _of_json,
        ),
        Reader(
            "packet with tap",
            lambda interface: [sys.executable, PROGRAMS / "live_tapped.py", interface],
            "ready",
            signal.SIGTERM,
            _of_json,
        ),
        Reader(
            "af_xdp",
            lambda interface: [sys.executable, PROGRAMS / "live_xdp.py", interface],
            "ready",
            signal.SIGTERM,
            _of_json,
            takes_all=True,
        ),
        Reader(
            "tcpdump",
            lambda interface: [
                *("tcpdump", "-i", interface, "-w", "/dev/null", "-n", "-B", "65536"),
            ],
            "listening on",
            signal.SIGINT,
            _of_tcpdump,
            lags_s=2.5,  # libpcap lets the kernel keep packets for a second, and twice that
        ),
        Reader(
            "nfstream",
            lambda interface: [RIVALS_PYTHON, "-u", PROGRAMS / "nfstream_live.py", interface],
            "packets_processed",
            signal.SIGINT,
            _of_nfstream,
            tells_s=1.0,
        ),
    )
}


class Running:
    """A reader at work."""

    def __init__(self, reader: Reader, place: Namespace, scratch: Path) -> None:
        self.reader = reader
        self.place, self.nudges = place, 0
        self.told = scratch / f"{reader.name}.told"
        with self.told.open("w") as out:
            words = place.command(*reader.command("right"))
            self.process = subprocess.Popen(
                words, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + SETTLE_S
        while reader.ready not in self.told.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{reader.name}: {self.told.read_text()[-2000:]}")
            time.sleep(0.05)

    def settle(self) -> None:
        """Wait until it has gone through what was sent: one that lags is not done yet."""
        time.sleep(self.reader.lags_s)
        told: list[Seen] = []
        while (
            self.reader.tells_s and len(told) < SETTLE_S and (len(told) < 3 or told[-1] != told[-2])
        ):
            self._nudge()
            time.sleep(2.2 * self.reader.tells_s)
            told.append(self._told(self.reader.seen(self.told.read_text())))

    def _told(self, seen: Seen) -> Seen:
        """Without our own packets."""
        return Seen(seen.packets - self.nudges, seen.lost)

    def _nudge(self) -> None:
        """A packet of our own: some readers know that time passes by packets alone."""
        with self.place.sender("right") as sender:
            sender.send(Packet(proto=17).frame())
        self.nudges += 1

    def finish(self) -> Seen:
        """End the reader: what it saw."""
        self.process.send_signal(self.reader.stop)
        try:
            self.process.wait(timeout=SETTLE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return self._told(self.reader.seen(self.told.read_text()))

    def kill(self) -> None:
        """End it and its children at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
