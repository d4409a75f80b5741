"""Frames to be sent: a sample that ships, whole again, and what samples lack."""

import random
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.core.frames import ACK, FIN, PSH, SYN, Packet

FRAME_MAX = 1514
SIX_A, SIX_B = "2001:db8::1", "2001:db8::2"


def sample_frames(path: Path) -> list[bytes]:
    """Every frame of a shipped sample, filled up with zeros to what it was on the wire."""
    octets = subprocess.run(["zstdcat", path], check=True, capture_output=True).stdout
    assert octets[:4] == bytes.fromhex("4d3cb2a1"), "not a nanosecond pcap"
    return list(_frames_of(octets))


def _frames_of(octets: bytes) -> Iterator[bytes]:
    at = 24
    while at < len(octets):
        kept, length = struct.unpack_from("<II", octets, at + 8)
        frame = octets[at + 16 : at + 16 + kept] + bytes(length - kept)
        at += 16 + kept
        if len(frame) <= FRAME_MAX:
            yield frame


def all_kinds(seed: int) -> list[bytes]:
    """TCP and UDP conversations, echoes, IPv6, ARP and a datagram in fragments, mixed."""
    random_ = random.Random(seed)
    conversations = [_conversation(random_, number) for number in range(60)]
    frames = []
    while conversations:
        chosen = random_.choice(conversations)
        frames.append(chosen.pop(0))
        conversations = [rest for rest in conversations if rest]
    return frames


def _conversation(random_: random.Random, number: int) -> list[bytes]:
    kind = ("tcp", "udp", "tcp6", "icmp", "arp", "fragments")[number % 6]
    if kind == "arp":
        body = struct.pack(
            "!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, bytes(6), bytes(4), bytes(6), b"\n\0\0\1"
        )
        return [b"\xff" * 6 + bytes([2, 0, 0, 0, 0, 9]) + b"\x08\x06" + body + bytes(18)]
    if kind == "fragments":
        whole = random_.randbytes(2000)
        first = Packet(
            proto=17, sport=5000 + number, dport=7, payload=whole[:1472], fragment=0x2000
        )
        rest = Packet(proto=99, payload=whole[1472:], fragment=185)  # 8 x 185 octets before it
        return [first.frame(), rest.frame().replace(b"\x40\x63", b"\x40\x11", 1)]
    ends = {"src": SIX_A, "dst": SIX_B} if kind == "tcp6" else {}
    if kind == "icmp":
        ask = Packet(proto=1, sport=8, dport=0, icmp_id=number, payload=random_.randbytes(56))
        return [ask.frame(), ask.turned(sport=0, dport=0).frame()] * 3
    ask = Packet(proto=17 if kind == "udp" else 6, sport=20000 + number, dport=443, **ends)  # type: ignore[arg-type]
    frames = []
    if kind != "udp":
        frames += [_with(ask, flags=SYN), ask.turned(flags=SYN | ACK).frame(), ask.frame()]
    for _ in range(random_.randrange(1, 30)):
        side = ask if random_.random() < 0.5 else ask.turned()
        frames.append(
            _with(side, flags=ACK | PSH, payload=random_.randbytes(random_.randrange(1400)))
        )
    if kind != "udp":
        frames += [_with(ask, flags=FIN | ACK), ask.turned(flags=FIN | ACK).frame()]
    return frames


def _with(packet: Packet, **changes: object) -> bytes:
    return replace(packet, **changes).frame()  # type: ignore[arg-type]


def tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    """The frame with VLAN tags (type, id), the outer one first."""
    octets = b"".join(struct.pack("!HH", kind, vlan) for kind, vlan in tags)
    return frame[:12] + octets + frame[12:]
