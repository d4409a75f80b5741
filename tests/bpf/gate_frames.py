"""Frames for the gate: what is wrapped around an IP packet, and who sends them."""

import struct
from dataclasses import replace

from tests.core.frames import ACK, SYN, Packet

ATTACKER, VICTIM = "203.0.113.66", "192.0.2.10"
ATTACKER6, VICTIM6 = "2001:db8:bad::66", "2001:db8::10"
MAC = "02:00:00:00:00:99"  # of whoever has no other in tests.core.frames

UDP = Packet(ATTACKER, VICTIM, proto=17, payload=b"x" * 20)
TCP_SYN = Packet(ATTACKER, VICTIM, flags=SYN)
TCP_ACK = Packet(ATTACKER, VICTIM, flags=ACK)
PING = Packet(ATTACKER, VICTIM, sport=8, dport=0, proto=1)
UDP6 = replace(UDP, src=ATTACKER6, dst=VICTIM6)
SYN6 = replace(TCP_SYN, src=ATTACKER6, dst=VICTIM6)
PING6 = Packet(ATTACKER6, VICTIM6, sport=128, dport=0, proto=58)


def tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    """The frame with 802.1Q tags (EtherType, number), the outermost first."""
    words = b"".join(struct.pack("!HH", kind, number) for kind, number in tags)
    return frame[:12] + words + frame[12:]


def pppoe(frame: bytes) -> bytes:
    """The frame's IP packet in a PPPoE session."""
    number = {0x0800: 0x0021, 0x86DD: 0x0057}[int.from_bytes(frame[12:14], "big")]
    header = struct.pack("!HBBHHH", 0x8864, 0x11, 0, 7, len(frame) - 14 + 2, number)
    return frame[:12] + header + frame[14:]


def extended(frame: bytes, *kinds: int) -> bytes:
    """The IPv6 frame with extension headers of these kinds, eight octets each."""
    chain = [*kinds, frame[20]]
    headers = b"".join(struct.pack("!BBHI", following, 0, 0, 0) for following in chain[1:])
    length = struct.pack("!H", int.from_bytes(frame[18:20], "big") + len(headers))
    return frame[:18] + length + bytes([chain[0]]) + frame[21:54] + headers + frame[54:]


def arp(mac: str = MAC) -> bytes:
    """Who has VICTIM? asks the attacker."""
    sender = bytes.fromhex(mac.replace(":", ""))
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + sender + bytes([203, 0, 113, 66])
    return b"\xff" * 6 + sender + b"\x08\x06" + body + bytes(6) + bytes([192, 0, 2, 10])
