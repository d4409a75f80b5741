"""The tap in the kernel: what it copies of which packet, and what it counts instead."""

import errno
import ipaddress
import mmap
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from fortress_core import BpfError
from fortress_core.tap import Tap, TapSwitch

from tests.bpf import kernel
from tests.core.frames import ACK, FIN, PSH, RST, SYN, Packet
from tests.need import go_without, need

PASS, HEADERS, COUNT = 0, 1, 2
WHOLE = 2048
SLOT_BYTES = 64
SHUNTED = 128
TAIL_SHIFTS = (0, 16, 32, 40)  # source port, destination port, protocol, IP version

DATA = Packet(flags=PSH | ACK, payload=b"x" * 1000)
TIMESTAMPS = bytes.fromhex("0101080a0000000100000002")
V6 = replace(DATA, src="2001:db8::10", dst="2001:db8::20")
UDP = Packet(proto=17, sport=40000, dport=51820, payload=b"w" * 900)


def key_of(packet: Packet) -> bytes:
    """The direction's key: addresses and what tells flows apart besides, as fx/hash.h has it."""
    source, destination = ipaddress.ip_address(packet.src), ipaddress.ip_address(packet.dst)
    ends = b"".join(
        a.packed if a.version == 6 else bytes(10) + b"\xff\xff" + a.packed
        for a in (source, destination)
    )
    ports = (0, 0) if packet.fragment & 0x1FFF else (packet.sport, packet.dport)
    words = (*ports, packet.proto, source.version)
    return ends + struct.pack(
        "<Q", sum(word << shift for word, shift in zip(words, TAIL_SHIFTS, strict=True))
    )


class Shunted:
    """A loaded tap with the maps in hand."""

    def __init__(self, tap: Tap) -> None:
        self.tap = tap
        self.shunted_fd, self.slots_fd = tap.map_fds
        self.slots = mmap.mmap(self.slots_fd, SHUNTED * SLOT_BYTES)

    def add(self, packet: Packet, slot: int, mode: int = COUNT) -> None:
        struct.pack_into("<Q", self.slots, slot * SLOT_BYTES, mode)
        kernel.put(self.shunted_fd, key_of(packet), struct.pack("<I", slot))

    def clear(self) -> None:
        for key in kernel.keys(self.shunted_fd, 40):
            kernel.drop(self.shunted_fd, key)
        self.slots[:] = bytes(len(self.slots))

    def counted(self, slot: int) -> tuple[int, int, int, int]:
        """Packets, those with payload, IP bytes, payload bytes."""
        _, packets, octets, payload, _ = struct.unpack_from("<5Q", self.slots, slot * SLOT_BYTES)
        return packets & 0xFFFFFFFF, packets >> 32, octets, payload

    def last_ns(self, slot: int) -> int:
        return int(struct.unpack_from("<5Q", self.slots, slot * SLOT_BYTES)[4])

    def kept(self, frame: bytes, *, segment_bytes: int = 0) -> int:
        return kernel.run_filter(self.tap.program_fd, frame, segment_bytes=segment_bytes)[0]


@pytest.fixture(scope="module")
def loaded() -> Iterator[Shunted]:
    need("bpf")
    try:
        tap = Tap.load(SHUNTED)
    except BpfError as error:
        if error.code != errno.EPERM:  # what the verifier refuses is a failure everywhere
            raise
        go_without("bpf", f"cannot load the tap: {error}")
    with tap:
        yield Shunted(tap)


@pytest.fixture
def shunted(loaded: Shunted) -> Shunted:
    """A tap that has shunted nothing and counted nothing."""
    loaded.clear()
    return loaded


@dataclass(frozen=True, slots=True)
class Case:
    sentence: str
    packet: Packet
    kept: int  # of the frame
    counted: tuple[int, int, int, int] = (0, 0, 0, 0)
    mode: int = COUNT
    shunt: Packet | None = DATA  # the direction that has a slot
    segment_bytes: int = 0


CASES = (
    Case("a flow that nobody shunted is whole", DATA, WHOLE, shunt=None),
    Case("data of a shunted direction is counted, not copied", DATA, 0, (1, 1, 1040, 1000)),
    Case("an empty ACK is counted without payload", Packet(flags=ACK), 0, (1, 0, 40, 0)),
    Case("the other direction is whole", DATA.turned(), WHOLE),
    Case("another port is another flow", replace(DATA, sport=40001), WHOLE),
    Case("FIN passes up to its payload", replace(DATA, flags=FIN | ACK), 54),
    Case("RST passes", Packet(flags=RST), 54),
    Case("SYN passes with its options", Packet(flags=SYN, options=b"\2\4\5\xb4"), 58),
    Case("SYN+ACK passes", Packet(flags=SYN | ACK), 54),
    Case("headers only: cut before the payload", DATA, 54, mode=HEADERS),
    Case("headers only: nothing is counted", Packet(flags=ACK), 54, mode=HEADERS),
    Case("headers only: options are headers", replace(DATA, options=TIMESTAMPS), 66, mode=HEADERS),
    Case("a slot told to pass lets all through", DATA, WHOLE, mode=PASS),
    Case("options are counted as headers", replace(DATA, options=TIMESTAMPS), 0,
         (1, 1, 1052, 1000)),
    Case("IPv6 is counted", V6, 0, (1, 1, 1060, 1000), shunt=V6),
    Case("UDP is counted", UDP, 0, (1, 1, 928, 900), shunt=UDP),
    Case("a super-frame counts as the packets it was", replace(DATA, payload=b"x" * 2500), 0,
         (3, 3, 2500 + 3 * 40, 2500), segment_bytes=1000),
    Case("a full super-frame counts no packet more", replace(DATA, payload=b"x" * 2000), 0,
         (2, 2, 2000 + 2 * 40, 2000), segment_bytes=1000),
    Case("what the card cut of UDP counts so", replace(UDP, payload=b"w" * 2400), 0,
         (2, 2, 2400 + 2 * 28, 2400), shunt=UDP, segment_bytes=1200),
    Case("answers of DNS are whole however many", replace(UDP, sport=53), WHOLE,
         shunt=replace(UDP, sport=53)),
    Case("questions of DNS are whole", replace(UDP, dport=53), WHOLE, shunt=replace(UDP, dport=53)),
    Case("DHCP is whole", replace(UDP, sport=68, dport=67), WHOLE,
         shunt=replace(UDP, sport=68, dport=67)),
    Case("TCP to a port asked for of UDP alone is counted", replace(DATA, dport=5353), 0,
         (1, 1, 1040, 1000), shunt=replace(DATA, dport=5353)),
    Case("a first fragment is of its flow", replace(UDP, fragment=0x2000), 0, (1, 1, 928, 900),
         shunt=UDP),
    Case("a later fragment is of the flow without ports", replace(UDP, fragment=100), WHOLE,
         shunt=UDP),
    Case("ICMP has no ports to ask for and is counted by type and code",
         Packet(proto=1, sport=3, dport=1, payload=b"q" * 20), 0, (1, 1, 48, 20),
         shunt=Packet(proto=1, sport=3, dport=1)),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_the_tap_keeps_and_counts(case: Case, shunted: Shunted) -> None:
    if case.shunt is not None:
        shunted.add(case.shunt, 7, case.mode)
    frame = case.packet.frame()
    assert shunted.kept(frame, segment_bytes=case.segment_bytes) == case.kept
    assert shunted.counted(7) == case.counted


def test_tags_tunnels_and_pppoe_are_looked_through(shunted: Shunted) -> None:
    shunted.add(DATA, 3)
    frame = DATA.frame()
    tag, tags = b"\x81\x00\x00\x05", b"\x88\xa8\x00\x06\x81\x00\x00\x05"
    pppoe = b"\x88\x64\x11\x00\x00\x01" + struct.pack("!H", len(frame) - 12) + b"\x00\x21"
    outer = Packet(src="10.9.9.1", dst="10.9.9.2", proto=4, payload=frame[14:]).frame()
    for number, seen in enumerate(
        (frame[:12] + tag + frame[12:], frame[:12] + tags + frame[12:],
         frame[:12] + pppoe + frame[14:], outer), 1,
    ):  # fmt: skip
        assert shunted.kept(seen) == 0
        assert shunted.counted(3) == (number, number, 1040 * number, 1000 * number)


def test_what_is_not_understood_or_no_flow_is_whole(shunted: Shunted) -> None:
    shunted.add(DATA, 3)
    frame = DATA.frame()
    arp = b"\xff" * 6 + b"\x02" * 6 + b"\x08\x06" + bytes(28)
    long_way = frame[:14] + b"\x4f" + frame[15:34] + b"\x01" * 40 + frame[34:]
    strange = (frame[:14], frame[:30], frame[:40], arp, b"\0" * 60, long_way[:60], b"\x02")
    assert [shunted.kept(octets) for octets in strange] == [WHOLE] * len(strange)
    assert shunted.counted(3) == (0, 0, 0, 0)


def test_the_raw_program_reads_bare_ip(shunted: Shunted) -> None:
    shunted.add(DATA, 3)
    shunted.add(V6, 4, HEADERS)
    raw = shunted.tap.program_fd_for(101)
    assert kernel.run_filter(raw, DATA.frame()[14:])[0] == 0
    assert kernel.run_filter(raw, V6.frame()[14:])[0] == 60
    assert shunted.counted(3) == (1, 1, 1040, 1000)


def test_the_last_time_is_the_monotonic_clock(shunted: Shunted) -> None:
    shunted.add(DATA, 9)
    before = time.monotonic_ns()
    shunted.kept(DATA.frame())
    assert before <= shunted.last_ns(9) <= time.monotonic_ns()


def test_counts_of_many_directions_stay_apart(shunted: Shunted) -> None:
    flows = [replace(DATA, sport=30000 + i, payload=b"y" * (10 + i)) for i in range(SHUNTED)]
    for slot, packet in enumerate(flows):
        shunted.add(packet, slot)
    for times in (1, 2):
        for packet in flows:
            shunted.kept(packet.frame())
        assert [shunted.counted(slot) for slot in range(SHUNTED)] == [
            (times, times, times * (50 + i), times * (10 + i)) for i in range(SHUNTED)
        ]


def test_a_full_map_refuses_and_forgets_nobody(shunted: Shunted) -> None:
    for slot in range(SHUNTED):
        shunted.add(replace(DATA, sport=30000 + slot), slot)
    with pytest.raises(OSError, match="too long"):
        shunted.add(replace(DATA, sport=29999), 0)
    assert len(kernel.keys(shunted.shunted_fd, 40)) == SHUNTED
    assert shunted.kept(replace(DATA, sport=29999).frame()) == WHOLE
    assert shunted.kept(replace(DATA, sport=30000).frame()) == 0


@pytest.mark.parametrize("count", [0, -1, (1 << 22) + 1])
def test_a_tap_of_no_or_absurd_size_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"shunted: {count} "):
        Tap.load(count)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=f"{port} is no port"):
        Tap.load(16, whole_udp=(port,))


def test_ports_asked_for_are_the_users_choice() -> None:
    need("bpf")
    chosen = replace(DATA, dport=8080)
    with Tap.load(SHUNTED, whole_tcp=(8080,), whole_udp=()) as tap:
        maps = Shunted(tap)
        maps.add(chosen, 1)
        maps.add(replace(UDP, dport=53), 2)
        assert maps.kept(chosen.frame()) == WHOLE
        assert maps.kept(replace(UDP, dport=53).frame()) == 0


def test_the_switch_wants_large_frames_and_many_bytes() -> None:
    switch = TapSwitch(bytes_per_s=1000, frame_bytes=500)
    assert switch.wanted(1000, 2, attached=False)
    assert not switch.wanted(999, 1, attached=False)
    assert not switch.wanted(5000, 50, attached=False)
    assert switch.wanted(500, 50, attached=True)
    assert not switch.wanted(499, 1, attached=True)
