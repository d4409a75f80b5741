"""Captures made byte by byte: sound ones, and every way of being broken."""

import gzip
import random
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

MAGIC_US, MAGIC_NS = 0xA1B2C3D4, 0xA1B23C4D
ETHERNET = 1
START_S = 1_700_000_000


def header(magic: int = MAGIC_US, link: int = ETHERNET) -> bytes:
    return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 262_144, link)


def record(
    frame: bytes, seconds: float, captured: int | None = None, wire: int | None = None
) -> bytes:
    whole = int(seconds)
    micros = round((seconds - whole) * 1e6)
    lengths = (len(frame) if captured is None else captured, len(frame) if wire is None else wire)
    return struct.pack("<IIII", whole, micros, *lengths) + frame


def udp(source: int, port: int, payload: bytes = b"hello") -> bytes:
    """A UDP datagram from 10.0.0.`source` to 10.0.1.1:`port`."""
    length = 8 + len(payload)
    ip = struct.pack(
        ">BBHHHBBH4B4B", 0x45, 0, 20 + length, 1, 0, 64, 17, 0, 10, 0, 0, source, 10, 0, 1, 1
    )
    ether = bytes([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, source]) + b"\x08\x00"
    return ether + ip + struct.pack(">HHHH", 40_000, port, length, 0) + payload


def tagged(frame: bytes, vlan: int) -> bytes:
    """The frame with an 802.1Q tag."""
    return frame[:12] + struct.pack(">HH", 0x8100, vlan) + frame[12:]


def packets(count: int, start_s: float = START_S, step_s: float = 0.1) -> list[bytes]:
    """Records of `count` datagrams, `step_s` apart, of twenty flows."""
    return [record(udp(1 + n % 20, 53), start_s + n * step_s) for n in range(count)]


def sound(count: int = 100) -> bytes:
    return header() + b"".join(packets(count))


def joined(records: Iterable[bytes]) -> bytes:
    return header() + b"".join(records)


def random_frames(count: int, seed: int) -> bytes:
    rng = random.Random(seed)
    frames = (rng.randbytes(rng.randrange(0, 120)) for _ in range(count))
    return joined(record(frame, START_S + n * 1e-4) for n, frame in enumerate(frames))


# name → (contents, exit code, packets that must be seen, words on standard error)
BROKEN: dict[str, tuple[Callable[[], bytes], int, int, str]] = {
    "empty file": (lambda: b"", 1, 0, "empty"),
    "wrong magic": (
        lambda: b"this is no capture at all, only text\n" * 9,
        1,
        0,
        "not a capture file",
    ),
    "half a header": (lambda: header()[:10], 1, 0, "10 of 24 octets"),
    "header alone": (header, 0, 0, ""),
    "cut within a packet": (lambda: sound()[:-3], 3, 99, "byte"),
    "cut within a record header": (lambda: sound() + b"\0" * 7, 3, 100, "byte"),
    "packet of 2 GB": (
        lambda: sound() + record(b"", START_S + 20, captured=2**31, wire=2**31) + bytes(64),
        3,
        100,
        "byte",
    ),
    "random bytes after sound packets": (
        lambda: sound() + random.Random(7).randbytes(4096),
        3,
        100,
        "byte",
    ),
    "gzip cut short": (
        lambda: gzip.compress(sound(5000), mtime=0)[:-200],
        3,
        1,
        " of what it unpacks to: ",
    ),
    "wire lengths of 0 and 4 GB": (
        lambda: joined(
            record(udp(1, 53), START_S + n, wire=0 if n % 2 else 2**32 - 1) for n in range(10)
        ),
        0,
        10,
        "",
    ),
    "packets out of order": (
        lambda: joined(
            record(udp(1, 53), START_S + n - (1.9 if n % 3 == 0 else 0)) for n in range(1, 60)
        ),
        0,
        59,
        "",
    ),
    "clock back by an hour": (
        lambda: joined(packets(50) + packets(50, START_S - 3600)),
        0,
        100,
        "",
    ),
    "clock on by ten years": (
        lambda: joined(packets(50) + packets(50, START_S + 315_360_000)),
        0,
        100,
        "",
    ),
    "clock that jumps about": (
        lambda: joined(
            record(udp(1 + n % 9, 53), random.Random(n).randrange(0, 2**32 - 1)) for n in range(300)
        ),
        0,
        300,
        "",
    ),
}


def write(folder: Path, name: str, contents: bytes) -> Path:
    path = folder / (name.replace(" ", "_") + ".pcap")
    path.write_bytes(contents)
    return path
