"""Capture files written octet by octet, sound or damaged in a chosen place."""

import struct
from dataclasses import dataclass

SECOND = 1_700_000_000
FRAMES = tuple(
    bytes.fromhex("020000000002 020000000001 0800")
    + struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28 + n, n, 0, 64, 17, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    + struct.pack(">HHHH", 1000 + n, 53, 8 + n, 0)
    + bytes(n)
    for n in range(5)
)
EXPECTED = [
    {
        "time_ns": (SECOND + n) * 10**9 + 123_456_000,
        "src_port": 1000 + n,
        "payload_bytes": n,
        "wire_bytes": 42 + n,
        "captured_bytes": 42 + n,
        "decode": 0,
    }
    for n in range(5)
]


@dataclass(frozen=True, slots=True)
class Record:
    """A frame in a capture file; lengths are the frame's unless the file shall lie."""

    frame: bytes
    seconds: int = SECOND
    nanoseconds: int = 123_456_000
    captured: int | None = None
    wire: int | None = None

    @property
    def lengths(self) -> tuple[int, int]:
        """Return the captured and the wire length that are written."""
        captured = len(self.frame) if self.captured is None else self.captured
        return captured, len(self.frame) if self.wire is None else self.wire


RECORDS = tuple(Record(frame, SECOND + n) for n, frame in enumerate(FRAMES))


def pcap(
    records: tuple[Record, ...] = RECORDS, order: str = "<", nano: bool = False, linktype: int = 1
) -> bytes:
    """Return a classic pcap file in byte order `order`."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, linktype)]
    for record in records:
        fraction = record.nanoseconds // (1 if nano else 1000)
        out.append(struct.pack(order + "IIII", record.seconds, fraction, *record.lengths))
        out.append(record.frame)
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<", length: int | None = None) -> bytes:
    """Return a pcapng block; `length` lies about its length."""
    body += bytes(-len(body) % 4)
    total = len(body) + 12 if length is None else length
    return struct.pack(order + "II", kind, total) + body + struct.pack(order + "I", total)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """Return a pcapng option, padded."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<") -> bytes:
    """Return a section header block."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(order: str = "<", linktype: int = 1, options: bytes = b"", snaplen: int = 0) -> bytes:
    """Return an interface description block."""
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options, order)


def packet(record: Record, number: int = 0, units: int = 10**6, order: str = "<") -> bytes:
    """Return an enhanced packet block whose stamp counts `units` a second."""
    stamp = record.seconds * units + record.nanoseconds * units // 10**9
    head = struct.pack(order + "IIIII", number, stamp >> 32, stamp & 0xFFFFFFFF, *record.lengths)
    return block(6, head + record.frame, order)


def old_packet(record: Record, order: str = "<") -> bytes:
    """Return an (obsolete) packet block of interface 0, in microseconds."""
    stamp = record.seconds * 10**6 + record.nanoseconds // 1000
    head = struct.pack(order + "HHII", 0, 0, stamp >> 32, stamp & 0xFFFFFFFF)
    return block(2, head + struct.pack(order + "II", *record.lengths) + record.frame, order)


def simple_packet(record: Record, order: str = "<") -> bytes:
    """Return a simple packet block."""
    return block(3, struct.pack(order + "I", record.lengths[1]) + record.frame, order)


def pcapng(order: str = "<", options: bytes = b"", units: int = 10**6) -> bytes:
    """Return a pcapng file of one section and one interface with all RECORDS."""
    packets = (packet(record, 0, units, order) for record in RECORDS)
    return section(order) + interface(order, options=options) + b"".join(packets)
