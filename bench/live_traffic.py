"""Traffic of the live bench on a wire of its own, and the CPU of all who work for it.

CPU is of everything that works for a packet: the generator (in whose context the kernel delivers
it), the reader with its children, and the kernel's softirq threads.
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.build import BENCH, OUT, compiled
from bench.live_readers import SETTLE_S, Reader, Running, Seen
from tests.net.namespace import Namespace, new_namespace

SECONDS = 8.0  # of traffic in each run: more than what fits into a buffer
AT_RATE = 300_000  # where CPU is compared
RATES = (100_000, 200_000, 300_000, 450_000, 700_000, 1_000_000)
SMALL_BYTES = 64
LONG_BYTES, LONG_FLOWS, LONG_RATE = 1500, 8, 150_000
ELEPHANT_BYTES = 2 << 30
LONG, ELEPHANTS = "1,500 bytes, long flows", "elephants"


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


def small_packets(
    reader: Reader | None, per_second: int, scratch: Path, seconds: float = SECONDS
) -> Run:
    """Packets of 64 bytes, ten a flow, a thousand flows at a time."""
    frames = int((per_second or RATES[-1]) * seconds)
    send = [*generator(), "left", str(frames), str(SMALL_BYTES), str(per_second)]
    return _made(reader, send, f"small, {per_second or 'unpaced'}", scratch)


def long_flows(reader: Reader | None, scratch: Path, seconds: float = SECONDS) -> Run:
    """Packets of 1,500 bytes in a few flows that do not end: elephants without super-frames."""
    flags = (f"-DACTIVE_FLOWS={LONG_FLOWS}", "-DFLOW_PACKETS=1000000000")
    words = (str(int(LONG_RATE * seconds)), str(LONG_BYTES), str(LONG_RATE))
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

        return _measure(reader, place, traffic, ELEPHANTS, scratch)


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
