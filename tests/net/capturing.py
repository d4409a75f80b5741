"""What live streams make of frames that a test sends, beside what the same frames are in a file."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from fortress_core import (
    Batch,
    Port,
    PortState,
    ShuntStats,
    Stream,
    StreamOptions,
    StreamStats,
    open_live,
    open_port,
    ring_share,
)

from tests.core.frames import Outcome, Table, collect
from tests.net.namespace import Namespace
from tests.patience import patient

OPTIONS = StreamOptions(tick_ns=100_000_000, packet_rows="all", keep_sequences=True)
SETTLE_S = 0.05  # a frame that was sent is in every ring by then


class _StaysOpen:
    """A stream whose end of a `with` does not close it: its ports are asked afterwards."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.stream)

    def stats(self) -> StreamStats:
        return self.stream.stats()


@dataclass(slots=True)
class Capture:
    """A capture that goes on in a thread; the rest is there when it has ended."""

    stream: Stream
    outcome: Outcome | None = None
    ports: tuple[PortState, ...] = ()
    shunted: ShuntStats | None = None


@contextlib.contextmanager
def capturing(
    ports: Sequence[Port],
    options: StreamOptions = OPTIONS,
    *,
    before: Callable[[Stream], None] = lambda stream: None,
) -> Iterator[Capture]:
    """Capture on the ports while the body sends; what was sent is in the outcome afterwards.

    `before` gets the stream before it is read.
    """
    capture = Capture(open_live(ports, options=options))
    before(capture.stream)

    def read() -> None:
        capture.outcome = collect(_StaysOpen(capture.stream))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield capture
        time.sleep(SETTLE_S)
    finally:
        capture.stream.stop()
        reader.join(timeout=patient(30))
        assert not reader.is_alive(), "the stream did not stop"
        capture.ports = capture.stream.ports()
        capture.shunted = capture.stream.shunt_stats()
        capture.stream.close()


@contextlib.contextmanager
def ports_on(namespace: Namespace, *interfaces: str, rings: int = 1) -> Iterator[list[Port]]:
    """A port on each interface, or several rings on each, within the budget of all."""
    opened: list[Port] = []
    share = ring_share(len(interfaces) * rings)
    with contextlib.ExitStack() as stack:
        with namespace.entered():
            for interface in interfaces:
                first = 0 if rings > 1 else None
                for number in range(rings):
                    fanout = first if number == 0 else opened[-1].fanout
                    port = open_port(interface, ring_bytes=share, fanout=fanout)
                    opened.append(stack.enter_context(port))
        yield opened


@contextlib.contextmanager
def recording(namespace: Namespace, interface: str, path: Path, frames: int) -> Iterator[None]:
    """Record with tcpdump so many frames that the interface sees; the body sends them."""
    words = namespace.command(
        *("tcpdump", "-i", interface, "-w", path, "--time-stamp-precision=nano", "-n"),
        *("-c", str(frames), "-B", "65536", "-s", "0", "-Z", "root"),
    )
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as tcpdump:
        assert tcpdump.stderr is not None
        line = tcpdump.stderr.readline()
        while "listening on" not in line:
            assert line, "tcpdump ended"
            line = tcpdump.stderr.readline()
        try:
            yield
            tcpdump.wait(timeout=patient(20))
        finally:
            tcpdump.terminate()
        told = tcpdump.stderr.read()
    assert "0 packets dropped by kernel" in told, told


def in_order(table: Table, *names: str) -> Table:
    """The rows in order of the columns."""
    order = np.lexsort([table[name] for name in reversed(names)])
    return {name: values[order] for name, values in table.items()}


def differing(a: Table, b: Table, *, but: Sequence[str] = ()) -> list[str]:
    """The columns that are not the same, value by value and bit by bit."""
    assert a.keys() == b.keys()
    return [name for name in a if name not in but and a[name].tobytes() != b[name].tobytes()]
