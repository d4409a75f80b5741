"""Flow columns computed with numpy from tshark's packets: nothing of the core's code or sums.

Only which packets make up a flow is taken from the core: of the packets of a 5-tuple, in the order
of the file, the first row's `orig_pkts + resp_pkts` belong to it, the next ones to the next row.
Plain counters are of all packets; everything else is of the first FULL_PACKETS of each direction,
taken out of tshark's packets before anything is computed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from fortress_core import FULL_PACKETS
from numpy.typing import NDArray

from tests.golden.conversations import PORTED, keys, octets

Values = NDArray[Any]
LONG_GAP_NS = 10**9
FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets sorted by flow (number of its row), then by place in the file."""

    columns: Mapping[str, Values]
    flow: Values
    sent: Values  # 0 = originator
    gap_ns: Values  # to the packet before in the flow, 0 for the first
    time_ns: Values  # stamps that run backwards are as late as the latest before
    flows: int

    @property
    def begins(self) -> Values:
        return np.r_[True, self.flow[1:] != self.flow[:-1]]

    def of(self, side: int | None) -> Values:
        return np.ones(len(self.flow), bool) if side is None else self.sent == side


def arrange(packets: Mapping[str, Values], flows: Mapping[str, Values]) -> Packets:
    """The packets by flow; ValueError when packets and rows do not add up."""
    packet_key = keys(
        packets["proto"],
        (packets["src_addr"], packets["dst_addr"]),
        (packets["src_port"], packets["dst_port"]),
    )
    flow_key = keys(
        flows["proto"],
        (octets(flows["orig_addr"]), octets(flows["resp_addr"])),
        (flows["orig_port"], flows["resp_port"]),
    )
    _, number = np.unique(np.concatenate([packet_key, flow_key]), return_inverse=True)
    packet_number, flow_number = number[: len(packet_key)], number[len(packet_key) :]
    by_packet = np.argsort(packet_number, kind="stable")
    by_flow = np.lexsort((flows["flow_id"], flow_number))
    count = (flows["orig_pkts"] + flows["resp_pkts"])[by_flow].astype(np.int64)
    flow = np.repeat(by_flow, count)
    if len(flow) != len(by_packet) or (flow_number[flow] != packet_number[by_packet]).any():
        raise ValueError("the rows do not hold the packets of their 5-tuple")
    columns = {name: values[by_packet] for name, values in packets.items()}
    source = np.concatenate([columns["src_addr"], _port(columns, "src_port")], axis=1)
    originator = np.concatenate([octets(flows["orig_addr"]), _port(flows, "orig_port")], axis=1)
    source[~np.isin(columns["proto"], PORTED), 16:] = 0
    sent = (source != originator[flow]).any(axis=1).astype(np.int64)
    return _timed(columns, flow, sent, len(flow_key))


def first_packets(p: Packets) -> Packets:
    """Those that are among the first FULL_PACKETS of their direction."""
    by_side = np.lexsort((p.sent, p.flow))
    side = p.flow[by_side] * 2 + p.sent[by_side]
    starts = np.flatnonzero(np.r_[True, side[1:] != side[:-1]])
    place = np.empty(len(side), np.int64)
    place[by_side] = np.arange(len(side)) - np.repeat(starts, np.diff(np.r_[starts, len(side)]))
    kept = place < FULL_PACKETS
    columns = {name: values[kept] for name, values in p.columns.items()}
    return _timed(columns, p.flow[kept], p.sent[kept], p.flows)


def _timed(columns: Mapping[str, Values], flow: Values, sent: Values, flows: int) -> Packets:
    begins = np.r_[True, flow[1:] != flow[:-1]]
    time_ns = _never_back(columns["time_ns"], begins)
    gap_ns = np.where(begins, 0, np.diff(time_ns, prepend=time_ns[:1]))
    return Packets(columns, flow, sent, gap_ns, time_ns, flows)


def _port(rows: Mapping[str, Values], name: str) -> Values:
    return rows[name].astype(">u2")[:, None].view(np.uint8)


def _never_back(time_ns: Values, begins: Values) -> Values:
    """Each flow's running maximum."""
    fixed = time_ns.copy()
    back = np.flatnonzero((np.diff(fixed, prepend=fixed[:1]) < 0) & ~begins)
    while len(back):
        fixed[back] = fixed[back - 1]
        back = np.flatnonzero((np.diff(fixed, prepend=fixed[:1]) < 0) & ~begins)
    return fixed


def over(p: Packets, rows: Values, values: Values, how: str) -> Values:
    """sum, min, max, mean, std or count of values of chosen packets by flow; NaN without any."""
    count = np.bincount(p.flow[rows], minlength=p.flows)
    if how == "count":
        return count
    chosen, flow = values[rows].astype(np.float64), p.flow[rows]
    total = np.bincount(flow, chosen, p.flows)
    if how == "sum":
        return total
    if how in ("min", "max"):
        worst = np.inf if how == "min" else -np.inf
        found = np.full(p.flows, worst)
        (np.minimum if how == "min" else np.maximum).at(found, flow, chosen)
        return np.where(count, found, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        if how == "mean":
            return mean
        return np.sqrt(np.bincount(flow, (chosen - mean[flow]) ** 2, p.flows) / count)


def first(p: Packets, rows: Values, values: Values) -> Values:
    """The value of the first chosen packet of each flow, 0 where there is none."""
    at = np.flatnonzero(rows)[::-1]
    found = np.zeros(p.flows, np.float64)
    found[p.flow[at]] = values[at]
    return found


def last(p: Packets, rows: Values, values: Values) -> Values:
    """The value of the last chosen packet of each flow, 0 where there is none."""
    found = np.zeros(p.flows, np.float64)
    at = np.flatnonzero(rows)
    found[p.flow[at]] = values[at]
    return found


def of_any_flow(everything: Packets) -> dict[str, Values]:
    """Columns that need only addresses, sizes, times and the IP header."""
    p = first_packets(everything)
    c = p.columns
    size = c["ip_bytes"]
    out: dict[str, Values] = {}
    for name, side in (("orig_", 0), ("resp_", 1), ("", None)):
        rows = p.of(side)
        for how in ("min", "max", "mean", "std"):
            out[f"{name}size_{how}"] = over(p, rows, size, how)
            gaps, gap_rows = _gaps(p, side)
            out[f"{name}iat_{how}_ns"] = over(p, gap_rows, gaps, how)
    for name, side in (("orig", 0), ("resp", 1)):
        rows = p.of(side)
        of_side, all_sizes = everything.of(side), everything.columns["ip_bytes"]
        out[f"{name}_pkts"] = over(everything, of_side, all_sizes, "count")
        out[f"{name}_bytes"] = over(everything, of_side, all_sizes, "sum")
        out[f"{name}_fragments"] = over(p, rows & (c["fragment"] > 0), size, "count")
        out[f"{name}_ttl_min"] = over(p, rows, c["ttl"], "min")
        out[f"{name}_ttl_max"] = over(p, rows, c["ttl"], "max")
        out[f"{name}_tos"] = first(p, rows, c["tos"])
    raw = everything.time_ns
    begins = np.maximum.accumulate(np.where(everything.begins, np.arange(len(raw)), 0))
    since_ns = raw - raw[begins]  # since the flow's first packet
    out["duration_ns"] = over(everything, everything.of(None), since_ns, "max")
    return out | _rates(p, out) | _periods(p)


def _gaps(p: Packets, side: int | None) -> tuple[Values, Values]:
    """Gaps between the packets of a side (None: of the flow) and which packets have one before."""
    gaps, has = np.zeros(len(p.flow)), np.zeros(len(p.flow), bool)
    at = np.flatnonzero(p.of(side))
    same = p.flow[at[1:]] == p.flow[at[:-1]]
    times = _never_back(p.columns["time_ns"][at], np.r_[True, ~same])
    gaps[at[1:][same]] = np.diff(times)[same]
    has[at[1:][same]] = True
    return gaps, has


def _rates(p: Packets, out: dict[str, Values]) -> dict[str, Values]:
    with np.errstate(invalid="ignore", divide="ignore"):
        seconds = np.where(out["duration_ns"] > 0, out["duration_ns"] / 1e9, np.nan)
        rates = {
            "pkts_per_s": (out["orig_pkts"] + out["resp_pkts"]) / seconds,
            "bytes_per_s": (out["orig_bytes"] + out["resp_bytes"]) / seconds,
        }
        for side in ("orig", "resp"):
            rates[f"{side}_pkts_per_s"] = out[f"{side}_pkts"] / seconds
            rates[f"{side}_bytes_per_s"] = out[f"{side}_bytes"] / seconds
        for unit in ("pkts", "bytes"):
            ratio = out[f"resp_{unit}"] / out[f"orig_{unit}"]
            rates[f"resp_orig_{unit}_ratio"] = np.where(out[f"orig_{unit}"] > 0, ratio, np.nan)
    return rates


def _periods(p: Packets) -> dict[str, Values]:
    """Active periods, and the gaps longer than a second between them."""
    begins = p.begins
    idle = p.gap_ns > LONG_GAP_NS
    starts = np.flatnonzero(begins | idle)
    ends = np.r_[starts[1:], len(p.flow)] - 1
    lengths = p.time_ns[ends] - p.time_ns[starts]
    period = Packets({}, p.flow[starts], starts, starts, starts, p.flows)
    everything = np.ones(len(starts), bool)
    out = {
        "active_count": over(period, everything, lengths, "count"),
        "idle_count": over(p, idle, p.gap_ns, "count"),
    }
    for how in ("mean", "std", "min", "max"):
        out[f"active_{how}_ns"] = over(period, everything, lengths, how)
        out[f"idle_{how}_ns"] = over(p, idle, p.gap_ns, how)
    return out


def of_payload(everything: Packets) -> dict[str, Values]:
    """Columns of TCP and UDP flows of whole packets."""
    p = first_packets(everything)
    c, all_payloads = p.columns, everything.columns["payload_bytes"]
    out: dict[str, Values] = {}
    for name, side in (("orig", 0), ("resp", 1)):
        rows = p.of(side)
        data = rows & (c["payload_bytes"] > 0)
        of_side = everything.of(side)
        with_payload = of_side & (all_payloads > 0)
        out[f"{name}_payload_bytes"] = over(everything, of_side, all_payloads, "sum")
        out[f"{name}_data_pkts"] = over(everything, with_payload, all_payloads, "count")
        out[f"{name}_payload_max"] = np.nan_to_num(over(p, data, c["payload_bytes"], "max"))
        out[f"{name}_payload_mean"] = over(p, data, c["payload_bytes"], "mean")
        out[f"{name}_payload_std"] = over(p, data, c["payload_bytes"], "std")
        all_headers = everything.columns["header_bytes"]
        out[f"{name}_header_bytes"] = over(everything, of_side, all_headers, "sum")
        entropy, counted = _entropy(p, data)
        out[f"{name}_entropy"], out[f"{name}_entropy_bytes"] = entropy, counted
    return out


def _entropy(p: Packets, data: Values) -> tuple[Values, Values]:
    """Shannon entropy per octet of the first payload's first 64 octets, and how many there were."""
    entropy, counted = np.full(p.flows, np.nan), np.zeros(p.flows)
    at = np.flatnonzero(data)[::-1]
    begins = np.full(p.flows, -1)
    begins[p.flow[at]] = at
    for flow in np.flatnonzero(begins >= 0):
        length = int(p.columns["first_64_length"][begins[flow]])
        counted[flow] = length
        if length:
            seen = np.bincount(p.columns["first_64"][begins[flow]][:length])
            share = seen[seen > 0] / length
            entropy[flow] = max(0.0, -(share * np.log2(share)).sum())
    return entropy, counted


def of_tcp(everything: Packets) -> dict[str, Values]:
    """Columns of TCP flows of whole packets; SYN, FIN and RST are seen in all of them."""
    p = first_packets(everything)
    c, all_flags = p.columns, everything.columns["tcp_flags"]
    out: dict[str, Values] = {}
    for name, side in (("orig", 0), ("resp", 1)):
        rows = p.of(side)
        syn = rows & (c["tcp_flags"] & 2 > 0)
        for bit, flag in enumerate(FLAGS):
            chosen = rows & (c["tcp_flags"] >> bit & 1 > 0)
            out[f"{name}_{flag}"] = over(p, chosen, c["tcp_flags"], "count")
            if flag in ("fin", "syn", "rst"):
                chosen = everything.of(side) & (all_flags >> bit & 1 > 0)
                out[f"{name}_{flag}"] = over(everything, chosen, all_flags, "count")
        out[f"{name}_tcp_flags"] = sum(
            (out[f"{name}_{flag}"] > 0) << bit for bit, flag in enumerate(FLAGS)
        )
        out[f"{name}_window_first"] = first(p, rows, c["tcp_window"])
        for how, settle in _WINDOW.items():
            out[f"{name}_window_{how}"] = settle(over(p, rows, c["tcp_window"], how))
        zero = rows & (c["tcp_window"] == 0) & (c["tcp_flags"] & 4 == 0)
        out[f"{name}_zero_windows"] = over(p, zero, c["tcp_window"], "count")
        out[f"{name}_mss"] = last(p, syn & (c["tcp_mss"] > 0), c["tcp_mss"])
        scaled = syn & (c["tcp_wscale"] != 255)
        none = over(p, scaled, c["tcp_wscale"], "count") == 0
        out[f"{name}_wscale"] = np.where(none, 255, last(p, scaled, c["tcp_wscale"]))
        out[f"{name}_retransmits"] = _retransmits(p, rows)
    return out


_WINDOW: dict[str, Callable[[Values], Values]] = {
    "min": np.nan_to_num,
    "max": np.nan_to_num,
    "mean": lambda values: values,
}


def _retransmits(p: Packets, rows: Values) -> Values:
    """Payload packets that begin below the highest sequence number already sent (modulo 2^32)."""
    c = p.columns
    found, highest = np.zeros(p.flows, np.int64), dict[int, int]()
    at = np.flatnonzero(rows)
    taken = (c[name][at].tolist() for name in ("tcp_seq", "payload_bytes", "tcp_flags"))
    for flow, sequence, payload, flags in zip(p.flow[at].tolist(), *taken, strict=True):
        before = highest.setdefault(flow, sequence)
        found[flow] += payload > 0 and _below(sequence, before)
        end = (sequence + payload + (flags & 1) + (flags >> 1 & 1)) % 2**32
        if _below(before, end):
            highest[flow] = end
    return found


def _below(a: int, b: int) -> bool:
    """Whether sequence number a lies before b (RFC 1982)."""
    return 0 < (b - a) % 2**32 < 2**31
