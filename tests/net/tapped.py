"""Two captures of one interface at once: a plain ring, and one with the tap before it."""

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from fortress_core import Port, ShuntStats, StreamOptions, Tap, attach_tap

from tests.core.frames import Outcome, Packet
from tests.net.capturing import Capture, capturing, ports_on
from tests.net.namespace import Namespace, stamped_once

TAPPED = StreamOptions(tick_ns=100_000_000)
BLOCK_S = 0.03  # when a burst is read, and its directions are shunted


@dataclass(slots=True)
class Beside:
    """What both captures made of the same traffic; there when the body is over."""

    tap: Tap
    plain_port: Port
    tapped_port: Port
    plain: Capture | None = None
    tapped: Capture | None = None
    shunted: ShuntStats | None = None
    outcomes: list[Outcome] = field(default_factory=list)


@contextlib.contextmanager
def side_by_side(
    place: Namespace, interface: str, *, shunted: int = 1024, options: StreamOptions = TAPPED
) -> Iterator[Beside]:
    """Capture an interface twice while the body makes traffic."""
    with (
        Tap.load(shunted) as tap,
        ports_on(place, interface, interface) as (first, second),
        stamped_once(),
    ):
        attach_tap(second, tap.program_fd)
        beside = Beside(tap, first, second)
        with capturing([first], options) as plain, tapping([second], tap, options) as tapped:
            beside.plain, beside.tapped = plain, tapped
            yield beside
        assert plain.outcome is not None
        assert tapped.outcome is not None
        beside.outcomes += [plain.outcome, tapped.outcome]
        beside.shunted = tapped.shunted


@contextlib.contextmanager
def tapping(ports: Sequence[Port], tap: Tap, options: StreamOptions) -> Iterator[Capture]:
    """As capturing(), with the tap's maps in the stream's hands before it reads."""
    with capturing(ports, options, before=lambda stream: stream.shunt(tap.map_fds)) as capture:
        yield capture


def send_in_bursts(out: socket.socket, flows: Sequence[Sequence[Packet]], burst: int) -> None:
    """Send so many packets of every flow in turn, and wait until they have been read."""
    longest = max(map(len, flows))
    for start in range(0, longest, burst):
        for flow in flows:
            for packet in flow[start : start + burst]:
                out.send(packet.frame())
        time.sleep(BLOCK_S)


def elephant(number: int, count: int, *, proto: int = 6, payload: int = 600) -> list[Packet]:
    """A flow of so many packets: three of four are the originator's, every one with payload."""
    ask = Packet(proto=proto, sport=20000 + number, dport=8000, flags=0x10, payload=b"e" * payload)
    answer = ask.turned(payload=b"r" * 100)
    packets = [answer if i % 4 == 3 else ask for i in range(count)]
    return [
        replace(packet, seq=1000 + i * payload, payload=packet.payload + bytes(i % 97))
        for i, packet in enumerate(packets)
    ]
