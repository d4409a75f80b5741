"""Builds the two performance captures from ../shared: `python -m bench.captures`.

bulk: few long flows; the captures with ≥ 40 packets and ≥ 14 packets a flow, 5 times.
big: some 190,000 short flows; every Ethernet capture with its odd packets left in, resolver
traffic 3 times, all else 5 times.

Every packet is a real one. Each copy of a capture is moved to a place of its own within 12.5
minutes (one that lasts longer is sped up to fit), and the lowest 16 bits of its IPv4 and IPv6
unicast addresses are XORed with a number of its own, with checksums corrected: captures of one
resolver must not share their flows.
"""

import hashlib
import io
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.pcapio import Frames, Headers, count_flows, locate, read_ethernet, u16
from tests.need import ROOT, SHARED
from tests.shared_data import GROUPS, captures

CACHE = ROOT / ".cache" / "bench"
SPAN_NS = 750 * 10**9
START_NS = 1_700_000_000 * 10**9
LONG_FLOW_PACKETS, LONG_FLOW_RATIO = 40, 14


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    meaning: str
    long_flows_only: bool
    copies: dict[str, int]  # group → how many times each of its captures goes in


RECIPES = (
    Recipe("bulk", "few long flows", True, dict.fromkeys(GROUPS, 5)),
    Recipe("big", "many short flows, odd packets left in", False,
        {"attack": 5, "benign": 5, "dns-benign": 3, "dns-tunnel": 5}),
)  # fmt: skip


def build(recipe: Recipe) -> Path:
    """The recipe's capture file; made anew only when this code or the captures changed."""
    out = CACHE / f"{recipe.name}.pcap"
    stamp = CACHE / f"{recipe.name}.stamp"
    recipe_hash = _inputs_hash(recipe)
    if out.exists() and stamp.exists() and stamp.read_text() == recipe_hash:
        return out
    merged = list(_placed(recipe))
    _write(out, merged)
    stamp.write_text(recipe_hash)
    return out


def shifted(frames: Frames, headers: Headers, mask: int) -> Frames:
    """The same frames with `mask` XORed into the lowest 16 bits of each unicast IP address."""
    octets = np.concatenate([frames.octets, np.zeros(64, np.uint8)])
    end = frames.start[headers.frame] + frames.captured[headers.frame]
    udp = headers.proto == 17
    checksum_at = headers.transport + np.select(
        [headers.proto == 6, udp, headers.proto == 58], [16, 6, 2], default=-1
    )
    known = np.isin(headers.proto, (6, 17, 58)) & headers.first_fragment & (checksum_at + 2 <= end)
    known &= ~(udp & (u16(octets, np.where(known, checksum_at, 0)) == 0))
    v4 = headers.version == 4
    for side in range(2):
        base = headers.at + np.where(v4, 12 + 4 * side, 8 + 16 * side)
        low = base + np.where(v4, 2, 14)
        first = octets[base]
        multicast = np.where(v4, (first >= 224) | (first == 0), first == 0xFF)
        rows = np.flatnonzero(~multicast)
        old = u16(octets, low[rows])
        _store(octets, low[rows], old ^ mask)
        _amend(octets, headers.at + 10, rows[v4[rows]], (old, rows, v4), mask)
        _amend(octets, checksum_at, rows[known[rows]], (old, rows, known), mask)
    return replace(frames, octets=octets)


def _amend(
    octets: NDArray[np.uint8],
    checksum_at: NDArray[np.int64],
    rows: NDArray[np.int64],
    was: tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.bool_]],
    mask: int,
) -> None:
    """Corrects checksums for words `old` that became `old ^ mask` (RFC 1624, equation 3)."""
    old_all, old_rows, kept = was
    old = old_all[kept[old_rows]]
    at = checksum_at[rows]
    total = (~u16(octets, at) & 0xFFFF) + (~old & 0xFFFF) + (old ^ mask)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    _store(octets, at, ~total & 0xFFFF)


def _store(octets: NDArray[np.uint8], at: NDArray[np.int64], words: NDArray[np.uint32]) -> None:
    octets[at] = words >> 8
    octets[at + 1] = words & 0xFF


def _placed(recipe: Recipe) -> Iterator[Frames]:
    """Each copy of each capture of the recipe, its times moved into the 12.5 minutes."""
    for capture in captures():
        frames = read_ethernet(capture.path)
        if frames is None or not len(frames):
            continue
        headers = locate(frames)
        flows = count_flows(frames, headers)
        long_flows = len(frames) >= max(LONG_FLOW_PACKETS, LONG_FLOW_RATIO * flows) and flows
        if recipe.long_flows_only and not long_flows:
            continue
        relative = frames.time_ns - frames.time_ns.min()
        length = int(relative.max())
        if length > SPAN_NS:
            relative = (relative * (SPAN_NS / length)).astype(np.int64)
            length = SPAN_NS
        for copy in range(recipe.copies[capture.group]):
            number = zlib.crc32(f"{capture.path.name} {copy}".encode())
            place = number * 174 % (SPAN_NS - length + 1)
            moved = replace(frames, time_ns=START_NS + relative + place)
            yield shifted(moved, headers, number >> 16)


def _write(out: Path, merged: list[Frames]) -> None:
    """Writes all frames in order of time as one pcap with microseconds."""
    time_ns = np.concatenate([frames.time_ns for frames in merged])
    owner = np.concatenate([np.full(len(frames), i, np.int32) for i, frames in enumerate(merged)])
    start = np.concatenate([frames.start for frames in merged])
    captured = np.concatenate([frames.captured for frames in merged])
    wire = np.concatenate([frames.wire for frames in merged])
    order = np.argsort(time_ns, kind="stable")
    micro = time_ns[order] // 1000
    heads = np.stack([micro // 10**6, micro % 10**6, captured[order], wire[order]], 1)
    head = heads.astype("<u4").tobytes()
    views = [memoryview(frames.octets) for frames in merged]
    partial = out.with_suffix(".partial")
    with io.BufferedWriter(io.FileIO(partial, "w"), 1 << 20) as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        rows = zip(
            owner[order].tolist(), start[order].tolist(), captured[order].tolist(), strict=True
        )
        for i, (view, at, length) in enumerate(rows):
            file.write(head[16 * i : 16 * i + 16])
            file.write(views[view][at : at + length])
    partial.rename(out)


def _inputs_hash(recipe: Recipe) -> str:
    mixed = hashlib.sha256(repr(recipe).encode())
    for source in (Path(__file__), Path(__file__).with_name("pcapio.py")):
        mixed.update(source.read_bytes())
    for group in GROUPS:
        mixed.update(str((SHARED / "data" / "pcap" / f"{group}.tar.xz").stat().st_size).encode())
    return mixed.hexdigest()


if __name__ == "__main__":
    for wanted in RECIPES:
        made = build(wanted)
        print(made, made.stat().st_size)
        subprocess.run(["capinfos", "-M", "-c", "-d", "-u", "-z", made], check=True)
