"""What capture costs on a wire: packets a second without loss, CPU added to no capture at all.

`python -m bench.live [--rounds N] [--reader NAME …]`; needs root, for a network namespace of its
own. The readers take turns. CPU is of everything that works for a packet: the generator (in whose
context the kernel delivers it), the reader with its children, and the kernel's softirq threads.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.build import BENCH, OUT, ROOT, compiled
from bench.versus import PROGRAMS, RIVALS_PYTHON
from tests.core.frames import Packet
from tests.net.namespace import Namespace, new_namespace

STORED = ROOT / ".cache" / "bench" / "live.json"
AT_RATE = 300_000  # where CPU is compared
RATES = (100_000, 200_000, 300_000, 450_000, 700_000, 1_000_000)
SECONDS = 8.0  # of traffic in each run: more than what fits into a buffer
SMALL_BYTES = 64
LONG_BYTES, LONG_FLOWS, LONG_RATE = 1500, 8, 150_000
ELEPHANT_BYTES = 2 << 30
LONG = "1,500 bytes, long flows"
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


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what was sent, what arrived, and CPU seconds of all that took part."""

    reader: str
    traffic: str
    sent: int
    seconds: float
    seen: int
    lost: int
    cpu_s: float


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


def _family(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*"):
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def _cpu_ns(pid: int) -> int:
    """Nanoseconds on a CPU of all threads of the process."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total


def _softirq_threads() -> list[int]:
    """The kernel's threads that deliver what an interrupted task does not."""
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/comm")
        if _text(path).startswith("ksoftirqd/")
    ]


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


@contextlib.contextmanager
def wire() -> Iterator[Namespace]:
    """A namespace with a pair of interfaces that delivers what the generator makes."""
    with new_namespace() as place:
        place.veth("left", "right", gro=True)
        yield place


def generator(*flags: str) -> list[str | Path]:
    """The command that sends, up to its interface; `flags` are of the compiler."""
    out = OUT / f"wire{'-long' if flags else ''}.bpf.o"
    OUT.mkdir(parents=True, exist_ok=True)
    include = f"-I/usr/include/{_machine()}-linux-gnu"
    words = ["clang-14", "-O2", "-g", "-Wall", "-Werror", "-target", "bpf", include]
    subprocess.run([*words, *flags, "-c", BENCH / "wire.bpf.c", "-o", out], check=True)
    return [compiled("wire", "-lbpf", "-lelf", "-lz"), out]


def _machine() -> str:
    return subprocess.run(
        ["uname", "-m"], check=True, capture_output=True, text=True
    ).stdout.strip()


def small_packets(reader: Reader | None, per_second: int, scratch: Path) -> Run:
    """Packets of 64 bytes, ten a flow, a thousand flows at a time."""
    frames = int((per_second or RATES[-1]) * SECONDS)
    send = [*generator(), "left", str(frames), str(SMALL_BYTES), str(per_second)]
    return _made(reader, send, f"small, {per_second or 'unpaced'}", scratch)


def long_flows(reader: Reader | None, scratch: Path) -> Run:
    """Packets of 1,500 bytes in a few flows that do not end: elephants without super-frames."""
    flags = (f"-DACTIVE_FLOWS={LONG_FLOWS}", "-DFLOW_PACKETS=1000000000")
    words = (str(int(LONG_RATE * SECONDS)), str(LONG_BYTES), str(LONG_RATE))
    return _made(reader, [*generator(*flags), "left", *words], LONG, scratch)


def _made(reader: Reader | None, send: list[str | Path], name: str, scratch: Path) -> Run:
    def traffic(place: Namespace) -> Sent:
        used, told = _spent(place.command(*send), scratch)
        return Sent(int(told.split()[0]), float(told.split()[1]), used)

    with wire() as place:
        return _measure(reader, place, traffic, name, scratch)


def elephants(reader: Reader | None, scratch: Path) -> Run:
    """A TCP transfer by iperf3 that both hosts' offloads carry in super-frames."""
    with street() as (host, place):

        def traffic(place: Namespace) -> Sent:
            report = scratch / "server.usage"
            serve = [compiled("launch"), report, *place.command("iperf3", "-s", "-1")]
            with subprocess.Popen(serve, stdout=subprocess.DEVNULL) as server:
                time.sleep(0.3)
                words = host.command("iperf3", "-c", "10.7.0.2", "-n", str(ELEPHANT_BYTES), "-J")
                used, told = _spent(words, scratch)
                server.wait(timeout=SETTLE_S)
            sent = json.loads(told)["end"]["sum_sent"]
            return Sent(sent["bytes"] // 1448, sent["seconds"], used + _usage(report))

        return _measure(reader, place, traffic, "elephants", scratch)


@dataclass(frozen=True, slots=True)
class Sent:
    """Packets that were on the wire at least, how long it took, CPU seconds of who sent."""

    packets: int
    seconds: float
    cpu_s: float


def _measure(
    reader: Reader | None,
    place: Namespace,
    traffic: Callable[[Namespace], Sent],
    name: str,
    scratch: Path,
) -> Run:
    running = Running(reader, place, scratch) if reader else None
    try:
        return _watched(running, place, traffic, name)
    finally:
        if running:
            running.kill()


def _watched(
    running: Running | None, place: Namespace, traffic: Callable[[Namespace], Sent], name: str
) -> Run:
    watched = [*(_family(running.process.pid) if running else []), *_softirq_threads()]
    before = {pid: _cpu_ns(pid) for pid in watched}
    sent = traffic(place)
    if running:
        running.settle()
    cpu = sent.cpu_s + sum(_cpu_ns(pid) - before[pid] for pid in watched) / 1e9
    seen = running.finish() if running else Seen(0, 0)
    return Run(
        running.reader.name if running else "none", name, sent.packets, sent.seconds,
        seen.packets, seen.lost, cpu,
    )  # fmt: skip


def _spent(words: list[str], scratch: Path) -> tuple[float, str]:
    """CPU seconds that the command used, and what it printed."""
    report = scratch / "send.usage"
    done = subprocess.run(
        [compiled("launch"), report, *words], capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return _usage(report), done.stdout


def _usage(report: Path) -> float:
    user, system, *_ = map(int, report.read_text().split())
    return (user + system) / 1e6


@contextlib.contextmanager
def street() -> Iterator[tuple[Namespace, Namespace]]:
    """Two hosts with a wire between them that carries super-frames; the second one is captured."""
    with new_namespace() as place, new_namespace() as host:
        place.veth("left", "right", gro=True)
        place.ip(f"link set left netns {host.name}")
        for side, name, address in ((host, "left", "10.7.0.1"), (place, "right", "10.7.0.2")):
            side.ip(f"addr add {address}/24 dev {name}")
            side.ip(f"link set {name} up")
        yield host, place


def without_loss(reader: Reader, scratch: Path) -> tuple[int, list[Run]]:
    """The highest rate that came about without a loss in one of two tries, and all runs."""
    runs: list[Run] = []
    best = 0
    for rate in RATES:
        tried = []
        for _ in range(2):
            tried.append(small_packets(reader, rate, scratch))
            if tried[-1].seen == tried[-1].sent:
                best = max(best, round(tried[-1].sent / tried[-1].seconds))
                break
        runs += tried
        if tried[-1].seen != tried[-1].sent:
            break
    return best, runs


def measure(names: list[str], rounds: int) -> dict[str, object]:
    """All readers in turns: their runs, and the highest rate of each without loss."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        lossless = {name: without_loss(READERS[name], scratch) for name in names}
        runs = [run for _, tried in lossless.values() for run in tried]
        for _ in range(rounds):
            for reader in (None, *(READERS[name] for name in names)):
                runs.append(small_packets(reader, AT_RATE, scratch))
                runs.append(long_flows(reader, scratch))
                if not (reader and reader.takes_all):
                    runs.append(elephants(reader, scratch))
    return {
        "lossless": {name: best for name, (best, _) in lossless.items()},
        "runs": [asdict(run) for run in runs],
    }


def added_us(runs: list[Run], reader: str, traffic: str) -> tuple[float, float]:
    """CPU microseconds a packet over no capture: of the medians, and of the least of all runs."""

    def spent(name: str) -> list[float]:
        return [r.cpu_s / r.sent * 1e6 for r in runs if (r.reader, r.traffic) == (name, traffic)]

    with_it, without = spent(reader), spent("none")
    return median(with_it) - median(without), min(with_it) - min(without)


def table(found: dict[str, Any]) -> str:
    """What was found, as Markdown."""
    runs = [Run(**run) for run in found["runs"]]
    lines = [
        (
            "| reader | packets/s without loss | added CPU s a million small ones "
            "| … of 1,500 bytes in long flows | … of TCP in super-frames |"
        ),
        "| --- | --- | --- | --- | --- |",
    ]
    for name, best in found["lossless"].items():
        small = added_us(runs, name, f"small, {AT_RATE}")
        spent = [small, added_us(runs, name, LONG)]
        if not READERS[name].takes_all:
            spent.append(added_us(runs, name, "elephants"))
        told = [f"{least:.2f} ({middle:.2f})" for middle, least in spent]
        cells = " | ".join([*told, "not its traffic"][:3])
        lost = any(run.seen != run.sent for run in runs if run.reader == name and _is_small(run))
        reached = f"{best:,}" if lost else f"≥ {best:,}"  # else the generator was the limit
        lines.append(f"| {name} | {reached} | {cells} |")
    return "\n".join(lines)


def _is_small(run: Run) -> bool:
    return run.traffic.startswith("small")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reader", action="append", choices=list(READERS))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and clean up
    found = measure(options.reader or list(READERS), options.rounds)
    STORED.parent.mkdir(parents=True, exist_ok=True)
    STORED.write_text(json.dumps(found, indent=1))
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
