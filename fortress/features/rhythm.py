# SPDX-License-Identifier: Apache-2.0
"""When the connections of each service begin: the last gaps, sizes and exchanges, for finding what
calls home by the clock.

A service is a source, a target, a protocol and a port. A connection that begins within SHORTEST_S
of the one before belongs to a burst: it is counted and leaves no gap, so a busy service does not
look regular.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fortress.features.inside import Inside, sender
from fortress.features.keys import (
    ABSENT,
    KeyTable,
    Slots,
    address_key,
    group,
    is_group,
    is_private,
    joint_key,
    words,
)
from fortress.features.panes import SECOND
from fortress.features.rows import TCP, UDP, Columns, Table

KEPT = 16  # gaps kept of each service
FEWEST = 6  # gaps below which nothing is worked out
SHORTEST_S = 4
# Services that are asked by the clock on every network: DNS, DHCP, NTP, NetBIOS, SNMP, IKE, SSDP,
# WSD, mDNS, LLMNR.
BY_NATURE = (53, 67, 68, 123, 137, 138, 161, 500, 1900, 3702, 4500, 5351, 5353, 5355, 546, 547)
FLOW_COLUMNS = (
    "flow_id", "first_ns", "last_ns", "orig_addr", "resp_addr", "resp_port", "proto", "orig_bytes",
    "resp_bytes", "orig_data_pkts", "resp_data_pkts", "midstream", "orig_mac",
)  # fmt: skip
SERVICES = {
    "row": "number of an ended flow of the tick that belongs to it",
    "proto": "IP protocol",
    "port": "port of the service",
    "local": "1 = the target is a private address",
    "gaps": "gaps between beginnings that are kept, at most 16",
    "bursts": "connections that began within 4 s of the one before, for each gap",
    "gap_s": "median gap, seconds",
    "gap_spread": "median absolute deviation of the gaps by their median",
    "size_bytes": "median of the bytes of both sides",
    "size_spread": "median absolute deviation of those bytes by their median",
    "exchanges": "median of the packets with payload of the side that sent fewer of them",
    "span_s": "time over which the kept gaps reach, seconds",
}
_NATURAL = np.zeros(65536, np.bool_)
_NATURAL[list(BY_NATURE)] = True


class _Calls(NamedTuple):
    """The first connection of each service in a tick, and how many more there were."""

    began_ns: npt.NDArray[np.int64]
    size: npt.NDArray[np.generic]
    exchanges: npt.NDArray[np.generic]
    more: npt.NDArray[np.int64]


class Rhythms:
    """The last beginnings of each service; the table SERVICES for those that began anew."""

    def __init__(self, secret: int, capacity: int = 16384) -> None:
        self._secret = secret
        self.inside: Inside | None = None
        self.table = KeyTable(capacity)
        self._begun = np.zeros(capacity, np.int64)
        self._seen = np.zeros(capacity, np.int64)  # gaps ever
        self._bursts = np.zeros(capacity, np.float32)
        self._gaps = np.zeros((capacity, KEPT), np.float32)
        self._sizes = np.zeros((capacity, KEPT), np.float32)
        self._exchanges = np.zeros((capacity, KEPT), np.float32)

    @property
    def memory_bytes(self) -> int:
        """What the table holds at most."""
        return self._gaps.nbytes * 3 + (8 + 8 + 4 + 32) * self.table.capacity

    def observe(self, flows: Columns, ns: int) -> Table:
        """The rows of SERVICES with at least FEWEST gaps that a flow that ended in this tick
        belongs to.
        """
        port, proto = flows["resp_port"], flows["proto"]
        wanted = ((proto == TCP) | (proto == UDP)) & ~_NATURAL[port] & (flows["midstream"] == 0)
        row = wanted.nonzero()[0]
        if not len(row):
            return {}
        source = sender(words(flows["orig_addr"][row]), flows["orig_mac"][row], self.inside)
        target = words(flows["resp_addr"][row])
        service = proto[row].astype(np.uint64) << np.uint64(16) | port[row]
        client, server = address_key(self._secret, source), address_key(self._secret, target)
        keys, single = joint_key(client, server, service), ~is_group(target)
        row = row[single]
        groups = group(keys[single])
        first_ns = flows["first_ns"][row]
        began = np.full(len(groups.keys), np.iinfo(np.int64).max)
        np.minimum.at(began, groups.of_row, first_ns)
        one = row[groups.first]
        calls = _Calls(
            began,
            flows["orig_bytes"][one] + flows["resp_bytes"][one],
            np.minimum(flows["orig_data_pkts"][one], flows["resp_data_pkts"][one]),
            np.bincount(groups.of_row, minlength=len(began)) - 1,
        )
        slots, fresh = self.table.admit(groups, ns)
        self._forget(fresh)
        known = (slots != ABSENT).nonzero()[0]
        slots, rows = slots[known], one[known]
        again = self._add(slots, _Calls(*(values[known] for values in calls)))
        return self._read(slots[again], rows[again], flows)

    def clear(self) -> None:
        """Forgets everything seen."""
        self.table.clear()

    def _forget(self, slots: Slots) -> None:
        self._begun[slots] = np.iinfo(np.int64).min
        self._seen[slots] = 0
        self._bursts[slots] = 0

    def _add(self, slots: Slots, calls: _Calls) -> npt.NDArray[np.bool_]:
        began, before = calls.began_ns, self._begun[slots]
        first = before == np.iinfo(np.int64).min
        gap_s = np.where(first, 0, began - np.where(first, began, before)) / SECOND
        spaced = gap_s >= SHORTEST_S
        self._bursts[slots] += calls.more + (~first & ~spaced)
        self._begun[slots] = np.maximum(before, began)
        at, ring = slots[spaced], self._seen[slots[spaced]] % KEPT
        self._gaps[at, ring] = gap_s[spaced]
        self._sizes[at, ring] = calls.size[spaced]
        self._exchanges[at, ring] = calls.exchanges[spaced]
        self._seen[at] += 1
        return spaced & (self._seen[slots] >= FEWEST)

    def _read(self, slots: Slots, row: Slots, flows: Columns) -> Table:
        if not len(slots):
            return {}
        seen = self._seen[slots]
        kept = np.minimum(seen, KEPT)
        unused = np.arange(KEPT) >= kept[:, None]
        gaps, sizes = self._gaps[slots], self._sizes[slots]
        gap, gap_spread = _median_and_spread(gaps, unused, kept)
        size, size_spread = _median_and_spread(sizes, unused, kept)
        return {
            "row": row,
            "proto": flows["proto"][row],
            "port": flows["resp_port"][row],
            "local": is_private(words(flows["resp_addr"][row])),
            "gaps": kept.astype(np.float64),
            "bursts": self._bursts[slots] / seen,
            "gap_s": gap,
            "gap_spread": gap_spread,
            "size_bytes": size,
            "size_spread": size_spread,
            "exchanges": _median(self._exchanges[slots], unused, kept),
            "span_s": np.where(unused, 0, gaps).sum(axis=1, dtype=np.float64),
        }


def _median_and_spread(
    values: npt.NDArray[np.float32], unused: npt.NDArray[np.bool_], kept: Slots
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The median of each row's first `kept` values, and the median absolute deviation by it."""
    median = _median(values, unused, kept)
    deviation = _median(np.abs(values - median[:, None]), unused, kept)
    return median, deviation / np.maximum(median, 1e-9)


def _median(
    values: npt.NDArray[np.floating[Any]], unused: npt.NDArray[np.bool_], kept: Slots
) -> npt.NDArray[np.float64]:
    ordered = np.sort(np.where(unused, np.inf, values), axis=1)
    row = np.arange(len(ordered))
    middle = ordered[row, (kept - 1) // 2] + ordered[row, kept // 2]
    return np.asarray(middle / 2, np.float64)
