"""Capture files as arrays: all frames of a file, their times and lengths, where headers lie."""

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ETHERNET = 1
MAGICS = {
    0xA1B2C3D4: 1000,
    0xA1B23C4D: 1,
}  # of a pcap file → nanoseconds in a unit of its second field


@dataclass(frozen=True, slots=True)
class Frames:
    """All frames of one capture; frame i is `octets[start[i] : start[i] + captured[i]]`."""

    octets: NDArray[np.uint8]
    start: NDArray[np.int64]
    captured: NDArray[np.uint32]
    wire: NDArray[np.uint32]
    time_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, slots=True)
class Headers:
    """Where IP headers lie; only of frames that have a whole one."""

    frame: NDArray[np.int64]  # number of the frame
    at: NDArray[np.int64]  # offset of the IP header in octets
    version: NDArray[np.uint8]
    proto: NDArray[np.uint8]
    transport: NDArray[np.int64]  # offset of the transport header in octets
    first_fragment: NDArray[np.bool_]


def read_ethernet(path: Path) -> Frames | None:
    """The frames of a pcap or pcapng file up to its first damage; None if not all Ethernet."""
    content = path.read_bytes()
    if content[:4] == b"\x0a\x0d\x0d\x0a":
        converted = subprocess.run(
            ["editcap", "-F", "nsecpcap", path, "-"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        content = converted.stdout  # empty when the file mixes link types
    if len(content) < 24:
        return None
    order = "<" if struct.unpack_from("<I", content)[0] in MAGICS else ">"
    magic, linktype = struct.unpack_from(f"{order}I16xI", content)
    if magic not in MAGICS or linktype & 0xFFFF != ETHERNET:
        return None
    record = struct.Struct(f"{order}IIII")
    rows: list[tuple[int, int, int, int]] = []
    at, end = 24, len(content)
    while at + 16 <= end:
        seconds, part, captured, wire = record.unpack_from(content, at)
        if at + 16 + captured > end:
            break
        rows.append((at + 16, captured, wire, seconds * 10**9 + part * MAGICS[magic]))
        at += 16 + captured
    start, captured_, wire_, time_ns = np.array(rows, np.int64).reshape(-1, 4).T
    return Frames(
        np.frombuffer(content, np.uint8).copy(),
        start.copy(),
        captured_.astype(np.uint32),
        wire_.astype(np.uint32),
        time_ns.copy(),
    )


def locate(frames: Frames) -> Headers:
    """Where the headers are, over up to two VLAN tags; IPv6 extension headers not followed."""
    octets = np.concatenate([frames.octets, np.zeros(64, np.uint8)])
    end = frames.start + frames.captured
    at = frames.start + 12
    frame = np.flatnonzero(frames.captured >= 14)
    at, end = at[frame], end[frame]
    for _ in range(2):
        ethertype = u16(octets, at)
        at = at + 4 * np.isin(ethertype, (0x8100, 0x88A8, 0x9100)) * (at + 6 <= end)
    ethertype = u16(octets, at)
    at = at + 2
    version = octets[at] >> 4
    v4 = (ethertype == 0x0800) & (version == 4) & (at + 20 <= end)
    v6 = (ethertype == 0x86DD) & (version == 6) & (at + 40 <= end)
    kept = v4 | v6
    frame, at, version, v4 = frame[kept], at[kept], version[kept], v4[kept]
    proto = np.where(v4, octets[at + 9], octets[at + 6])
    transport = at + np.where(v4, (octets[at].astype(np.int64) & 15) * 4, 40)
    first = ~v4 | ((u16(octets, at + 6) & 0x1FFF) == 0)
    return Headers(frame, at, version, proto, transport, first)


def u16(octets: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The big-endian 16-bit words at the offsets."""
    return octets[at].astype(np.uint32) << 8 | octets[at + 1]


def count_flows(frames: Frames, headers: Headers) -> int:
    """How many different 5-tuples there are, both directions as one."""
    octets = np.concatenate([frames.octets, np.zeros(64, np.uint8)])
    v4 = headers.version == 4
    ports = np.isin(headers.proto, (6, 17, 132)) & headers.first_fragment
    key = np.zeros((len(headers.at), 2, 20), np.uint8)
    for side in range(2):
        for version, rows in ((4, v4), (6, ~v4)):
            width, first = (4, 12) if version == 4 else (16, 8)
            at = headers.at[rows] + first + side * width
            key[rows, side, :width] = octets[at[:, None] + np.arange(width)]
        at = headers.transport[ports] + 2 * side
        key[ports, side, 16:18] = octets[at[:, None] + np.arange(2)]
        key[:, side, 18] = headers.proto
    sides = key.view("V20")[..., 0]
    words = key.view(">u4").reshape(len(key), 2, 5)
    turned = np.zeros(len(key), bool)
    decided = np.zeros(len(key), bool)
    for word in range(5):
        a, b = words[:, 0, word], words[:, 1, word]
        turned |= ~decided & (a > b)
        decided |= a != b
    sides[turned] = sides[turned][:, ::-1]
    return len(np.unique(key.reshape(len(key), 40).view("V40")))
