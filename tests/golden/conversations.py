"""Conversations: packets, bytes and times of each 5-tuple, both directions as one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fortress_core import StreamOptions, open_capture
from numpy.typing import NDArray

from tests.golden import oracle

PORTED = (6, 17, 132)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was exchanged by the two ends, from first to last packet."""

    packets: int
    bytes: int
    first_ns: int
    last_ns: int


Conversations = Mapping[bytes, Conversation]  # by protocol, then the two (address, port), sorted


def of_core(capture: Path) -> Conversations:
    """What the core's flow rows add up to; rows that time-outs or resets split count as one."""
    names = ["proto", "orig_addr", "resp_addr", "orig_port", "resp_port", "first_ns", "last_ns"]
    counted = ["orig_pkts", "resp_pkts", "orig_bytes", "resp_bytes"]
    rows: dict[str, list[NDArray[Any]]] = {name: [] for name in (*names, *counted)}
    options = StreamOptions(keep_intervals=False)
    with open_capture([capture], options=options, flow_columns=tuple(rows)) as stream:
        for batch in stream:
            for name, parts in rows.items():
                parts.append(batch.flows[name].copy())
    flows = {name: np.concatenate(parts) for name, parts in rows.items()} if rows["proto"] else {}
    if not flows:
        return {}
    return add_up(
        keys(
            flows["proto"],
            (octets(flows["orig_addr"]), octets(flows["resp_addr"])),
            (flows["orig_port"], flows["resp_port"]),
        ),
        flows["orig_pkts"] + flows["resp_pkts"],
        flows["orig_bytes"] + flows["resp_bytes"],
        (flows["first_ns"], flows["last_ns"]),
    )


def of_tshark(capture: Path) -> Conversations:
    """What tshark's packets add up to."""
    packets = oracle.read(capture)
    if not len(packets["frame"]):
        return {}
    return add_up(
        keys(
            packets["proto"],
            (packets["src_addr"], packets["dst_addr"]),
            (packets["src_port"], packets["dst_port"]),
        ),
        np.ones(len(packets["frame"]), np.int64),
        packets["ip_bytes"],
        (packets["time_ns"], packets["time_ns"]),
    )


def octets(addresses: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(addresses).view(np.uint8).reshape(-1, 16)


def keys(
    proto: NDArray[Any],
    addresses: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    ports: tuple[NDArray[Any], NDArray[Any]],
) -> NDArray[np.void]:
    """The key of each row, V37; the same for both directions. ICMP and others have no ports."""
    ported = np.isin(proto, PORTED)
    ends = np.zeros((len(proto), 2, 18), np.uint8)
    for side in range(2):
        ends[:, side, :16] = addresses[side]
        ends[:, side, 16:] = np.where(ported, ports[side], 0).astype(">u2")[:, None].view(np.uint8)
    a, b = ends[:, 0], ends[:, 1]
    rows = np.arange(len(proto))
    differs = (a != b).argmax(axis=1)
    turned = a[rows, differs] > b[rows, differs]
    ends[turned] = ends[turned][:, ::-1]
    key = np.zeros((len(proto), 37), np.uint8)
    key[:, 0] = proto
    key[:, 1:] = ends.reshape(-1, 36)
    return key.view("V37")[:, 0]


def add_up(
    key: NDArray[np.void],
    packets: NDArray[Any],
    octet_counts: NDArray[Any],
    times: tuple[NDArray[Any], NDArray[Any]],
) -> Conversations:
    """Sums of rows that have the same key."""
    found, index = np.unique(key, return_inverse=True)
    sums = np.zeros((len(found), 2), np.int64)
    np.add.at(sums, index, np.stack([packets, octet_counts], 1).astype(np.int64))
    first = np.full(len(found), np.iinfo(np.int64).max)
    last = np.full(len(found), np.iinfo(np.int64).min)
    np.minimum.at(first, index, times[0].astype(np.int64))
    np.maximum.at(last, index, times[1].astype(np.int64))
    return {
        bytes(name): Conversation(*map(int, values))
        for name, *values in zip(found, sums[:, 0], sums[:, 1], first, last, strict=True)
    }


def differences(ours: Conversations, theirs: Conversations) -> dict[bytes, tuple[Any, Any]]:
    """Keys whose conversation is not the same, with both sides (None = not there)."""
    return {
        key: (ours.get(key), theirs.get(key))
        for key in ours.keys() | theirs.keys()
        if ours.get(key) != theirs.get(key)
    }


def spell(key: bytes) -> str:
    """The key for people."""
    from fortress_core import format_addr

    ends = [key[1:19], key[19:37]]
    told = (f"{format_addr(end[:16])}:{int.from_bytes(end[16:], 'big')}" for end in ends)
    return f"proto {key[0]} " + " - ".join(told)
