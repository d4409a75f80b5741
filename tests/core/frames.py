"""Frames and capture files made by hand, for tests of the data plane."""

import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from fortress_core import FLOWS, StreamOptions, StreamStats, columns, open_capture
from numpy.typing import NDArray

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND

ALICE = "192.0.2.10"
BOB = "198.51.100.20"
MACS = {ALICE: 0x020000000001, BOB: 0x020000000002}


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of a test: what is on the wire, and when."""

    src: str = ALICE
    dst: str = BOB
    sport: int = 40000
    dport: int = 80
    proto: int = 6
    flags: int = ACK
    payload: bytes = b""
    seq: int = 1000
    window: int = 1000
    ttl: int = 64
    tos: int = 0
    options: bytes = b""
    fragment: int = 0  # flags and offset field
    icmp_id: int = 0
    time_ns: int = START

    def at(self, seconds: float) -> "Packet":
        """The same packet that many seconds after START."""
        return replace(self, time_ns=START + round(seconds * SECOND))

    def turned(self, **changes: object) -> "Packet":
        """A packet the other way."""
        back = replace(self, src=self.dst, dst=self.src, sport=self.dport, dport=self.sport)
        return replace(back, **changes)  # type: ignore[arg-type]

    def transport(self) -> bytes:
        if self.proto == 6:
            options = self.options + b"\0" * (-len(self.options) % 4)
            offset = (20 + len(options)) // 4 << 4
            header = struct.pack("!HHIIBBHHH", self.sport, self.dport, self.seq & 0xFFFFFFFF, 0,
                                 offset, self.flags, self.window, 0, 0)  # fmt: skip
            return header + options + self.payload
        if self.proto == 17:
            return (
                struct.pack("!HHHH", self.sport, self.dport, 8 + len(self.payload), 0)
                + self.payload
            )
        if self.proto in (1, 58):  # ports are type and code
            return struct.pack("!BBHHH", self.sport, self.dport, 0, self.icmp_id, 1) + self.payload
        return self.payload

    def frame(self) -> bytes:
        """The Ethernet frame."""
        source, destination = ipaddress.ip_address(self.src), ipaddress.ip_address(self.dst)
        body = self.transport()
        if source.version == 4:
            header = struct.pack("!BBHHHBBH", 0x45, self.tos, 20 + len(body), 1, self.fragment,
                                 self.ttl, self.proto, 0)  # fmt: skip
            kind = 0x0800
        else:
            header = struct.pack("!IHBB", 6 << 28 | self.tos << 20, len(body), self.proto, self.ttl)
            kind = 0x86DD
        macs = [MACS.get(a, 0x020000000099).to_bytes(6, "big") for a in (self.dst, self.src)]
        ip = header + source.packed + destination.packed + body
        return macs[0] + macs[1] + struct.pack("!H", kind) + ip

    @property
    def ip_bytes(self) -> int:
        return len(self.frame()) - 14


def write_pcap(path: Path, frames: Iterable[tuple[int, bytes]], snaplen: int = 65535) -> Path:
    """A pcap file (nanoseconds, Ethernet) of (time_ns, frame)."""
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snaplen, 1)]
    for time_ns, frame in frames:
        kept = frame[:snaplen]
        seconds, fraction = divmod(time_ns, SECOND)
        out += [struct.pack("<IIII", seconds, fraction, len(kept), len(frame)), kept]
    path.write_bytes(b"".join(out))
    return path


Table = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a stream handed out: copies of all rows, the ticks in order, the last counters."""

    flows: Table
    intervals: Table
    packets: Table
    closed_ticks: tuple[int, ...]
    interval_ticks: NDArray[np.int64]  # tick of each interval row
    flow_ticks: NDArray[np.int64]
    stats: StreamStats


def collect(stream: object) -> Outcome:
    """Run a stream to its end."""
    tables: dict[str, dict[str, list[NDArray[np.generic]]]] = {
        name: {} for name in ("flows", "intervals", "packets")
    }
    closed: list[int] = []
    ticks: dict[str, list[NDArray[np.int64]]] = {"flows": [], "intervals": []}
    with stream:  # type: ignore[attr-defined]
        for batch in stream:  # type: ignore[attr-defined]
            for name, kept in tables.items():
                rows = getattr(batch, name)
                for column in rows:
                    kept.setdefault(column, []).append(rows[column].copy())
                if name in ticks:
                    ticks[name].append(np.full(rows.rows, batch.tick_ns))
            if batch.tick_closed:
                closed.append(batch.tick_ns)
        stats = stream.stats()  # type: ignore[attr-defined]
    joined = {
        name: {column: np.concatenate(parts) for column, parts in kept.items()}
        for name, kept in tables.items()
    }
    return Outcome(
        joined["flows"], joined["intervals"], joined["packets"], tuple(closed),
        np.concatenate([np.empty(0, np.int64), *ticks["intervals"]]),
        np.concatenate([np.empty(0, np.int64), *ticks["flows"]]), stats,
    )  # fmt: skip


def run(
    path: Path, packets: Iterable[Packet], batch_packets: int = 4096, **options: object
) -> Outcome:
    """What becomes of these packets, through a capture file at `path`."""
    write_pcap(path, ((p.time_ns, p.frame()) for p in packets))
    return collect(
        open_capture(path, options=StreamOptions(**options), batch_packets=batch_packets)  # type: ignore[arg-type]
    )


FLOAT_COLUMNS = tuple(c.name for c in columns(FLOWS) if c.type == "f32")
