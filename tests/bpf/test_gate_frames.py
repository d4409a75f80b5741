"""Frames nobody would send: the gate takes one of two actions and reads what can be read."""

from collections.abc import Iterator

import numpy as np
import pytest
from fortress_core import Gate, GateEntry, GateKey

from tests.bpf.gate_frames import (
    MAC,
    PING6,
    SYN6,
    TCP_SYN,
    UDP,
    UDP6,
    arp,
    extended,
    pppoe,
    tagged,
)
from tests.bpf.gate_runs import SMALLEST, XDP_DROP, XDP_PASS, Facts, facts, need_gate, run

SHAPES = [
    UDP.frame(),
    TCP_SYN.frame(),
    UDP6.frame(),
    SYN6.frame(),
    PING6.frame(),
    arp(),
    tagged(UDP.frame(), (0x88A8, 7), (0x8100, 5)),
    pppoe(UDP.frame()),
    pppoe(UDP6.frame()),
    tagged(pppoe(TCP_SYN.frame()), (0x8100, 7)),
    extended(UDP6.frame(), 0, 43, 44, 60),
    UDP.frame()[:12] + b"\0\x30\xaa\xaa\x03\0\0\0\x08\0" + UDP.frame()[14:],
]
TAGS = (0x8100, 0x88A8, 0x9100)
EVERYONE = [GateEntry(GateKey.parse(text)) for text in ("0.0.0.0/0", "::/0")]
FRAMES = 10_000


@pytest.fixture
def gate() -> Iterator[Gate]:
    need_gate()
    with Gate.load(entries=64, prefixes=64) as loaded:
        yield loaded


def strange_frames(rng: np.random.Generator, count: int) -> Iterator[bytes]:
    """Frames of every shape with octets changed, cut anywhere; some of noise alone."""
    for number in range(count):
        frame = bytearray(SHAPES[number % len(SHAPES)])
        if number % 7 == 0:
            frame[12:] = rng.bytes(int(rng.integers(2, 100)))
        for _ in range(int(rng.integers(0, 4))):
            frame[int(rng.integers(0, len(frame)))] = int(rng.integers(0, 256))
        yield bytes(frame[: int(rng.integers(SMALLEST, len(frame) + 1))])


def has_address(frame: bytes) -> bool:
    """Whether an IP packet with a whole address header can be found: by hand, octet by octet."""
    at, kind = 14, int.from_bytes(frame[12:14], "big")
    for _ in range(4):
        if kind in TAGS and len(frame) >= at + 4:
            kind = int.from_bytes(frame[at + 2 : at + 4], "big")
            at += 4
    if kind < 0x600 and frame[at : at + 6] == b"\xaa\xaa\x03\0\0\0" and len(frame) >= at + 8:
        kind = int.from_bytes(frame[at + 6 : at + 8], "big")
        at += 8
        if kind == 0x8864 or kind in TAGS:
            return False if kind in TAGS else session_has_address(frame, at)
    if kind == 0x8864:
        return session_has_address(frame, at)
    return is_ip(frame, at, kind)


def session_has_address(frame: bytes, at: int) -> bool:
    """The same for a PPPoE session header at `at`."""
    if len(frame) < at + 8 or frame[at : at + 2] != b"\x11\0":
        return False
    if int.from_bytes(frame[at + 4 : at + 6], "big") < 2:
        return False
    number = int.from_bytes(frame[at + 6 : at + 8], "big")
    return is_ip(frame, at + 8, {0x21: 0x0800, 0x57: 0x86DD}.get(number, 0))


def is_ip(frame: bytes, at: int, kind: int) -> bool:
    version, size = {0x0800: (4, 20), 0x86DD: (6, 40)}.get(kind, (0, 0))
    return bool(version) and len(frame) >= at + size and frame[at] >> 4 == version


@pytest.mark.parametrize("destinations", [False, True])
def test_strange_frames_pass_or_drop_and_each_counts_once(
    gate: Gate, rng: np.random.Generator, destinations: bool
) -> None:
    gate.add([GateEntry(GateKey.parse(text)) for text in (MAC, "203.0.113.66", "2001:db8::/33")])
    program = gate.program_fd(destinations=destinations)
    actions = [run(program, frame).action for frame in strange_frames(rng, FRAMES)]
    assert set(actions) == {XDP_DROP, XDP_PASS}
    told = gate.counters()
    assert sum(told.values()) == FRAMES
    refused = sum(count for name, count in told.items() if name.startswith("drop"))
    assert refused == actions.count(XDP_DROP)
    assert refused == sum(hits for _, hits in gate.entries())


def test_an_address_is_read_where_one_is(gate: Gate, rng: np.random.Generator) -> None:
    gate.add(EVERYONE)
    wrong = [
        frame.hex()
        for frame in strange_frames(rng, FRAMES)
        if (run(gate.program_fd(), frame).action == XDP_DROP) != has_address(frame)
    ]
    assert wrong == []


def test_the_programs_stay_as_small_as_they_are(gate: Gate) -> None:
    # Counted with clang 14 on Linux 6.18; another compiler or kernel may differ by some per cent.
    one_way, both_ways = (
        facts(gate.program_fd(destinations=destinations)) for destinations in (False, True)
    )
    assert within(one_way, Facts(instructions=1037, verified=38_336)), one_way
    assert within(both_ways, Facts(instructions=1458, verified=45_922)), both_ways


def within(measured: Facts, recorded: Facts) -> bool:
    """Neither program nor the verifier's work on it grew by more than a tenth."""
    return (
        10 * measured.instructions <= 11 * recorded.instructions
        and 10 * measured.verified <= 11 * recorded.verified
    )
