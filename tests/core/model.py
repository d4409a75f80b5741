"""The definitions of flow_columns.def once more, in plain numpy over the packets of one flow.

Plain counters are of all packets; everything else is of the first FULL_PACKETS of each direction.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from fortress_core import FULL_PACKETS
from numpy.typing import NDArray

from tests.core.frames import FIN, RST, SECOND, SYN, Packet

Numbers = dict[str, float]
FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128}


def flow_numbers(packets: Sequence[Packet]) -> Numbers:
    """Every number that follows from the packets alone; the first one is the originator's."""
    orig = packets[0].src
    everything = {
        "orig_": [p for p in packets if p.src == orig],
        "resp_": [p for p in packets if p.src != orig],
    }
    times = np.maximum.accumulate([p.time_ns for p in packets])
    out: Numbers = {
        "first_ns": int(times[0]),
        "last_ns": int(times[-1]),
        "duration_ns": int(times[-1] - times[0]),
        "midstream": not packets[0].flags & SYN,
    }
    first = first_packets(packets)
    first_times = np.maximum.accumulate([p.time_ns for p in first])
    out |= _sizes("", [p.ip_bytes for p in first]) | _gaps("", first_times)
    out |= _periods(first_times)
    for prefix, of_side in everything.items():
        out |= _side(prefix, of_side[:FULL_PACKETS]) | _counters(prefix, of_side)
    seconds = (times[-1] - times[0]) / SECOND
    for prefix, of_side in {"": list(packets), **everything}.items():
        out[f"{prefix}pkts_per_s"] = len(of_side) / seconds if seconds else np.nan
        total = sum(p.ip_bytes for p in of_side)
        out[f"{prefix}bytes_per_s"] = total / seconds if seconds else np.nan
    out["resp_orig_pkts_ratio"] = out["resp_pkts"] / out["orig_pkts"]
    out["resp_orig_bytes_ratio"] = out["resp_bytes"] / out["orig_bytes"]
    out["response_ns"] = _response(first, orig)
    return out


def first_packets(packets: Sequence[Packet]) -> list[Packet]:
    """Those that are among the first FULL_PACKETS of their direction."""
    seen: Counter[str] = Counter()
    out = []
    for packet in packets:
        seen[packet.src] += 1
        if seen[packet.src] <= FULL_PACKETS:
            out.append(packet)
    return out


def _counters(prefix: str, packets: Sequence[Packet]) -> Numbers:
    """What goes on in later packets: sums, and TCP's flags that begin and end a connection."""
    out: Numbers = {
        "pkts": len(packets),
        "bytes": sum(p.ip_bytes for p in packets),
        "payload_bytes": sum(len(p.payload) for p in packets),
        "header_bytes": sum(p.ip_bytes - len(p.payload) for p in packets),
        "data_pkts": sum(bool(p.payload) for p in packets),
    }
    out |= {
        name: sum(bool(p.flags & FLAGS[name]) for p in packets) for name in ("syn", "fin", "rst")
    }
    early, late = packets[:FULL_PACKETS], packets[FULL_PACKETS:]
    flags = [*(p.flags for p in early), *(p.flags & (SYN | FIN | RST) for p in late)]
    out["tcp_flags"] = int(np.bitwise_or.reduce(flags)) if flags else 0
    return {prefix + name: value for name, value in out.items()}


def _side(prefix: str, packets: Sequence[Packet]) -> Numbers:
    payloads = [len(p.payload) for p in packets if p.payload]
    out: Numbers = {
        "payload_max": max(payloads, default=0),
        "payload_mean": np.mean(payloads) if payloads else np.nan,
        "payload_std": np.std(payloads) if payloads else np.nan,
        "window_first": packets[0].window if packets else 0,
        "window_min": min((p.window for p in packets), default=0),
        "window_max": max((p.window for p in packets), default=0),
        "window_mean": np.mean([p.window for p in packets]) if packets else np.nan,
        "zero_windows": sum(p.window == 0 and not p.flags & RST for p in packets),
        "ttl_min": min((p.ttl for p in packets), default=0),
        "ttl_max": max((p.ttl for p in packets), default=0),
        "tos": packets[0].tos if packets else 0,
        "retransmits": _retransmits(packets),
    }
    rare = ("psh", "ack", "urg", "ece", "cwr")
    out |= {name: sum(bool(p.flags & FLAGS[name]) for p in packets) for name in rare}
    first = next((p.payload[:64] for p in packets if p.payload), b"")
    out["entropy_bytes"] = len(first)
    shares = np.unique(np.frombuffer(first, np.uint8), return_counts=True)[1] / max(len(first), 1)
    out["entropy"] = -(shares * np.log2(shares)).sum() if first else np.nan
    named = {prefix + name: value for name, value in out.items()}
    named |= _sizes(prefix, [p.ip_bytes for p in packets])
    times = (
        np.maximum.accumulate([p.time_ns for p in packets]) if packets else np.empty(0, np.int64)
    )
    return named | _gaps(prefix, times)


def _sizes(prefix: str, sizes: Sequence[int]) -> Numbers:
    if not sizes:
        return {f"{prefix}size_min": 0, f"{prefix}size_max": 0, f"{prefix}size_mean": np.nan,
                f"{prefix}size_std": np.nan}  # fmt: skip
    return {f"{prefix}size_min": min(sizes), f"{prefix}size_max": max(sizes),
            f"{prefix}size_mean": np.mean(sizes), f"{prefix}size_std": np.std(sizes)}  # fmt: skip


def _gaps(prefix: str, times: NDArray[np.int64]) -> Numbers:
    return _spread(f"{prefix}iat", np.diff(times))


def _spread(name: str, values: NDArray[np.int64]) -> Numbers:
    if not len(values):
        return dict.fromkeys(
            (f"{name}_{what}_ns" for what in ("min", "max", "mean", "std")), np.nan
        )
    exact = values.astype(np.longdouble)
    return {f"{name}_min_ns": values.min(), f"{name}_max_ns": values.max(),
            f"{name}_mean_ns": exact.mean(), f"{name}_std_ns": exact.std()}  # fmt: skip


def _periods(times: NDArray[np.int64]) -> Numbers:
    gaps = np.diff(times)
    long = np.flatnonzero(gaps > SECOND)
    begins = times[np.r_[0, long + 1]]
    ends = times[np.r_[long, len(times) - 1]]
    out: Numbers = {"active_count": len(begins), "idle_count": len(long)}
    return out | _spread("active", ends - begins) | _spread("idle", gaps[long])


def _response(packets: Sequence[Packet], orig: str) -> float:
    asked = next((p.time_ns for p in packets if p.src == orig and p.payload), None)
    if asked is None:
        return np.nan
    order = next(i for i, p in enumerate(packets) if p.src == orig and p.payload)
    answers = (p.time_ns for p in packets[order:] if p.src != orig and p.payload)
    return next((max(0, time - asked) for time in answers), np.nan)


def _retransmits(packets: Sequence[Packet]) -> int:
    count, end = 0, None
    for p in packets:
        next_end = p.seq + len(p.payload) + bool(p.flags & SYN) + bool(p.flags & FIN)
        if end is not None and p.payload and p.seq < end:
            count += 1
        end = next_end if end is None else max(end, next_end)
    return count
