# SPDX-License-Identifier: Apache-2.0
"""How hard each target is hit in one tick: rates, half-open connections, and how many send.

No state but the tick's own rows, so a flood of spoofed sources fills no table. A tick in which
nobody gets SYNs, pings or unanswered UDP by the dozen costs a few comparisons.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fortress.features.inside import Inside, sender
from fortress.features.keys import (
    Addresses,
    Bool,
    Groups,
    Slots,
    UInt64,
    address_key,
    group,
    joint_key,
    words,
)
from fortress.features.rows import ACK, ICMP, ICMP6, SYN, TCP, UDP, Columns, Table

FEWEST = 50  # suspicious packets a tick below which a target is not looked at
_ANSWERS_PER = 50  # UDP packets to a target for each of its answers from which a flow is suspicious

TARGETS = {
    "row": "number of the interval row with the most packets that nobody answers, of the busiest"
    " source",
    "proto": "IP protocol; ICMPv6 is told as 1 like ICMP",
    "pkts": "packets to the target in this tick",
    "bytes": "IP bytes to the target in this tick",
    "answers": "packets from the target in this tick",
    "flows": "flows to the target that began in this tick",
    "unanswered": "of these, flows without any answer",
    "half_open": "of these, TCP flows of SYNs alone: no handshake was completed",
    "ports": "different target ports among the rows (ICMP: codes)",
    "sources": "different sources among the rows",
    "source_entropy": "entropy of packets that nobody answers over sources, bits",
    "top_share": "share of the packets that nobody answers which the busiest source sent",
    "broadcast": "1 = the target is 255.255.255.255 or all nodes (ff02::1)",
    "requests": "ICMP: echo requests; else 0",
}


class _Known(NamedTuple):
    """What measuring needs beside the rows: which of them are suspicious."""

    secret: int
    inside: Inside | None
    suspicious: Bool


def suspects(rows: Columns) -> Slots:
    """The numbers of the rows whose packets nobody answers, or that are ICMP."""
    proto = rows["proto"]
    half_open = proto == TCP
    half_open &= (rows["is_new"] != 0) & ((rows["orig_tcp_flags"] & (SYN | ACK)) == SYN)
    one_sided = (proto == UDP) & (rows["resp_pkts"] * _ANSWERS_PER < rows["orig_pkts"])
    icmp = (proto == ICMP) | (proto == ICMP6)
    return np.flatnonzero(half_open | one_sided | icmp)


def targets(rows: Columns, secret: int, inside: Inside | None = None) -> Table:
    """The rows of TARGETS for every target that got FEWEST packets nobody answers in this tick."""
    suspect = suspects(rows)
    pkts = rows["orig_pkts"]
    if not len(suspect) or pkts[suspect].sum() < FEWEST:
        return {}
    proto = rows["proto"]
    tcp, udp = proto == TCP, proto == UDP
    icmp = (proto == ICMP) | (proto == ICMP6)
    kind = np.where(icmp, np.uint8(ICMP), proto)
    keys = _target_keys(rows, suspect, kind, secret)
    groups = group(keys)
    hit = np.bincount(groups.of_row, pkts[suspect], len(groups.keys))
    hot = groups.keys[hit >= FEWEST]
    if not len(hot):
        return {}
    row = np.flatnonzero(tcp | udp | icmp)
    keys = _target_keys(rows, row, kind, secret)
    at = np.minimum(np.searchsorted(hot, keys), len(hot) - 1)
    mine = hot[at] == keys
    row = row[mine]
    worth = np.zeros(len(pkts), np.bool_)
    worth[suspect] = True
    known = _Known(secret, inside, worth[row])
    return _measure({name: rows[name][row] for name in _READS}, row, at[mine], known)


def _target_keys(rows: Columns, row: Slots, kind: npt.NDArray[np.uint8], secret: int) -> UInt64:
    address = words(rows["resp_addr"][row])
    return address_key(secret, address) ^ kind[row]


_READS = (
    "orig_addr", "resp_addr", "orig_mac", "orig_port", "resp_port", "proto", "is_new",
    "orig_tcp_flags", "orig_pkts", "orig_bytes", "resp_pkts", "resp_pkts_total",
)  # fmt: skip


def _measure(
    rows: Columns,
    number: npt.NDArray[np.intp],
    of_row: npt.NDArray[np.intp],
    known: _Known,
) -> Table:
    secret, inside = known.secret, known.inside
    count = int(of_row.max()) + 1

    def per_target(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        return np.bincount(of_row, values, count).astype(np.float64)

    pkts, proto = rows["orig_pkts"].astype(np.float64), rows["proto"]
    new = rows["is_new"] != 0
    unanswered = new & (rows["resp_pkts_total"] == 0)
    syn_only = new & (proto == TCP) & ((rows["orig_tcp_flags"] & (SYN | ACK)) == SYN)
    request = ((proto == ICMP) & (rows["orig_port"] == 8)) | (
        (proto == ICMP6) & (rows["orig_port"] == 128)
    )
    source = sender(words(rows["orig_addr"]), rows["orig_mac"], inside)
    owner_of_row = of_row.astype(np.uint64)
    by_source = group(joint_key(address_key(secret, source), owner_of_row))
    unheard = pkts * known.suspicious
    sent = np.bincount(by_source.of_row, unheard, len(by_source.keys))
    owner = of_row[by_source.first]
    total = per_target(pkts)
    share = sent / per_target(unheard)[owner]
    top = np.zeros(count)
    np.maximum.at(top, owner, share)
    first = np.zeros(count, np.intp)
    order = np.lexsort((unheard, share[by_source.of_row]))  # the busiest source's, the largest last
    first[of_row[order]] = order
    by_port = group(rows["resp_port"].astype(np.uint64) << np.uint64(32) | owner_of_row)
    target = words(rows["resp_addr"][first])
    return {
        "row": number[first],
        "proto": np.where(proto[first] == ICMP6, np.uint8(ICMP), proto[first]),
        "pkts": total,
        "bytes": per_target(rows["orig_bytes"]),
        "answers": per_target(rows["resp_pkts"]),
        "flows": per_target(new),
        "unanswered": per_target(unanswered),
        "half_open": per_target(syn_only),
        "ports": _counted(by_port, of_row, count),
        "sources": _counted(by_source, of_row, count),
        "source_entropy": np.bincount(owner, -share * np.log2(np.maximum(share, 1e-12)), count),
        "top_share": top,
        "broadcast": _is_everyone(target),
        "requests": per_target(np.where(request, pkts, 0)),
    }


def _is_everyone(target: Addresses) -> Bool:
    v4 = (target.high == 0) & (target.low == np.uint64(0xFFFF_FFFF_FFFF))
    v6 = (target.high == np.uint64(0xFF02 << 48)) & (target.low == np.uint64(1))
    return np.asarray(v4 | v6, np.bool_)


def _counted(groups: Groups, of_row: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.float64]:
    return np.bincount(of_row[groups.first], minlength=count).astype(np.float64)
