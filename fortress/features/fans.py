# SPDX-License-Identifier: Apache-2.0
"""Whom and what each host tries to reach and fails to: the windows behind scan detection.

Three tables of the same make, each a bounded set of keys with a fast and a slow window: `sources`
(one originating host: how many different hosts it fails to reach, and how its failures spread over
ports), `pairs` (a source and one target by protocol: how many different ports) and `sweeps` (a
source and one service: how many different targets). A key enters with its first failure, so hosts
whose connections all work cost nothing; successes count from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.features.keys import (
    ABSENT,
    Addresses,
    KeyTable,
    Slots,
    UInt64,
    as_host,
    group,
    is_private,
    key_of,
    mix,
)
from fortress.features.panes import Float64, Panes
from fortress.features.rows import Attempts, Table

SECOND = 1_000_000_000
FAST_PANES, FAST_PANE_NS = 4, 15 * SECOND  # 45 to 60 s
SLOW_PANES, SLOW_PANE_NS = 4, 900 * SECOND  # 45 to 60 min
FEWEST = 4  # failures below which nothing is worked out
PORT_BINS = 16  # ports are counted in hashed bins, for the entropy of failures over ports
_FAILED, _FINE, _ODD = range(3)


@dataclass(frozen=True, slots=True)
class Fans:
    """The keys that failed in this tick: an attempt of each (its number), and what its windows
    hold.
    """

    attempt: Slots
    fast: Float64  # (keys, counters)
    slow: Float64
    distinct: Float64
    distinct_slow: Float64


class FanTable:
    """Distinct items, failures and successes of each key over the fast and the slow window."""

    def __init__(self, capacity: int, extra_counters: int = 0) -> None:
        self.table = KeyTable(capacity)
        self._width = counters = 3 + extra_counters
        self._fast = Panes(capacity, counters, FAST_PANES, FAST_PANE_NS)
        self._slow = Panes(capacity, counters, SLOW_PANES, SLOW_PANE_NS)

    @property
    def memory_bytes(self) -> int:
        """What the table holds at most."""
        return self._fast.memory_bytes + self._slow.memory_bytes + 32 * self.table.capacity

    def observe(
        self, keys: UInt64, items: UInt64, tried: Attempts, bins: Slots | None, ns: int
    ) -> Fans:
        """Takes in the attempts of a tick; hands out the keys that failed in it and have failed
        FEWEST times.
        """
        groups = group(keys)
        width = self._width
        counts = np.zeros((len(groups.keys), width), np.float32)
        for column, values in ((_FAILED, tried.failed), (_FINE, tried.fine), (_ODD, tried.odd)):
            counts[:, column] = np.bincount(groups.of_row, values, len(groups.keys))
        failing = tried.failed > 0
        if bins is not None:
            at = groups.of_row[failing] * width + 3 + bins[failing]
            counts += np.bincount(at, minlength=counts.size).reshape(counts.shape)
        fails = np.zeros(len(groups.keys), np.bool_)
        fails[groups.of_row[failing]] = True

        slots = np.empty(len(fails), np.intp)
        slots[~fails] = self.table.find(groups.keys[~fails])
        slots[fails], fresh = self.table.admit(groups.keys[fails], ns)
        known = slots != ABSENT
        row_slots = slots[groups.of_row]
        failing &= row_slots != ABSENT
        for window in (self._fast, self._slow):
            window.forget(fresh)
            window.add(slots[known], counts[known], ns)
            window.insert(row_slots[failing], items[failing], ns)
        fails &= known
        return self._read(slots[fails], groups.first[fails], ns)

    def totals(self, keys: UInt64, ns: int) -> Float64:
        """The counters of each key over the fast window; 0 for those not in the table."""
        slots = self.table.find(keys)
        totals = self._fast.totals(np.maximum(slots, 0), ns)
        totals[slots == ABSENT] = 0
        return totals

    def clear(self) -> None:
        """Forgets everything seen."""
        self.table.clear()

    def _read(self, slots: Slots, attempt: Slots, ns: int) -> Fans:
        slow = self._slow.totals(slots, ns)
        chosen = slow[:, _FAILED] >= FEWEST
        slots, slow = slots[chosen], slow[chosen]
        return Fans(
            attempt[chosen],
            self._fast.totals(slots, ns),
            slow,
            self._fast.distinct(slots, ns),
            self._slow.distinct(slots, ns),
        )


PAIRS = {
    "row": "number of an interval row of the tick that belongs to it",
    "proto": "IP protocol",
    "ports": "different ports of the target that failed, last minute",
    "failed": "attempts that failed, last minute",
    "fine": "attempts that succeeded, last minute",
    "odd": "failed attempts whose TCP flags no stack sends, last minute",
    "ports_slow": "different ports of the target that failed, last hour",
    "failed_slow": "attempts that failed, last hour",
    "fine_slow": "attempts that succeeded, last hour",
}
SWEEPS = {
    "row": "number of an interval row of the tick that belongs to it; -1 - that of a packet row",
    "proto": "IP protocol, 0 = ARP or neighbour discovery",
    "port": "port that is tried; ICMP: type",
    "local": "1 = the target is a private address",
    "targets": "different targets that failed, last minute",
    "failed": "attempts that failed, last minute",
    "fine": "attempts that succeeded, last minute",
    "targets_slow": "different targets that failed, last hour",
    "failed_slow": "attempts that failed, last hour",
    "fine_slow": "attempts that succeeded, last hour",
    "source_failed": "attempts of the source that failed by any service, last minute",
    "port_entropy": "entropy of the source's failures over 16 bins of ports, bits, last minute",
}


class FanWindows:
    """The three tables together: attempts of a tick in, the rows of `pairs` and `sweeps` that
    changed out.
    """

    def __init__(self, secret: int, *, sources: int = 4096, pairs: int = 8192, sweeps: int = 8192):
        self._secret = secret
        self.sources = FanTable(sources, PORT_BINS)
        self.pairs = FanTable(pairs)
        self.sweeps = FanTable(sweeps)

    @property
    def tables(self) -> dict[str, FanTable]:
        """The tables by name."""
        return {"sources": self.sources, "pairs": self.pairs, "sweeps": self.sweeps}

    def observe(self, tried: Attempts, ns: int) -> tuple[Table, Table]:
        """The rows of PAIRS and of SWEEPS that failed in this tick."""
        host = as_host(tried.source)
        source = key_of(self._secret, host.high, host.low)
        worth = (tried.failed > 0) | (self.sources.table.find(source) != ABSENT)
        if not worth.any():
            return {}, {}
        tried, source = tried.take(worth), source[worth]
        target = key_of(self._secret, tried.target.high, tried.target.low)
        port = mix(tried.port ^ np.uint64(self._secret))
        service = tried.proto << np.uint64(16) | tried.port
        bins = (port % np.uint64(PORT_BINS)).astype(np.intp)

        self.sources.observe(source, target, tried, bins, ns)
        swept = self.sweeps.observe(mix(source ^ service), target, tried, None, ns)
        probed = tried.proto != 0  # ARP has no ports
        if not probed.all():
            tried_ip, source_ip, target_ip, port = (
                tried.take(probed), source[probed], target[probed], port[probed],
            )  # fmt: skip
        else:
            tried_ip, source_ip, target_ip = tried, source, target
        pair = mix(source_ip * np.uint64(3) ^ target_ip) ^ tried_ip.proto
        paired = self.pairs.observe(pair, port, tried_ip, None, ns)
        return _pair_rows(paired, tried_ip), self._sweep_rows(swept, tried, source, ns)

    def clear(self) -> None:
        """Forgets everything seen."""
        for table in self.tables.values():
            table.clear()

    def _sweep_rows(self, fans: Fans, tried: Attempts, source: UInt64, ns: int) -> Table:
        totals = self.sources.totals(source[fans.attempt], ns)
        bins = np.maximum(totals[:, 3:], 0)
        share = bins / np.maximum(bins.sum(axis=1, keepdims=True), 1)
        entropy = -(share * np.log2(np.maximum(share, 1e-12))).sum(axis=1)
        return {
            "row": tried.row[fans.attempt],
            "proto": tried.proto[fans.attempt],
            "port": tried.port[fans.attempt],
            "local": is_private(tried.target.take(fans.attempt)),
            "targets": _netted(fans.distinct, fans.fast),
            "failed": np.maximum(fans.fast[:, _FAILED], 0),
            "fine": fans.fast[:, _FINE],
            "targets_slow": _netted(fans.distinct_slow, fans.slow),
            "failed_slow": fans.slow[:, _FAILED],
            "fine_slow": fans.slow[:, _FINE],
            "source_failed": np.maximum(totals[:, _FAILED], 0),
            "port_entropy": entropy,
        }


def _pair_rows(fans: Fans, tried: Attempts) -> Table:
    return {
        "row": tried.row[fans.attempt],
        "proto": tried.proto[fans.attempt],
        "ports": _netted(fans.distinct, fans.fast),
        "failed": np.maximum(fans.fast[:, _FAILED], 0),
        "fine": fans.fast[:, _FINE],
        "odd": np.minimum(fans.fast[:, _ODD], np.maximum(fans.fast[:, _FAILED], 0)),
        "ports_slow": _netted(fans.distinct_slow, fans.slow),
        "failed_slow": fans.slow[:, _FAILED],
        "fine_slow": fans.slow[:, _FINE],
    }


def _netted(distinct: Float64, totals: Float64) -> Float64:
    """Different items, at most as many as failures are left: those that were answered late are in
    the registers.
    """
    return np.minimum(distinct, np.maximum(totals[:, _FAILED], 0))


def joined(first: Attempts, second: Attempts) -> Attempts:
    """The attempts of both."""

    def both(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.concatenate((one, other))

    return Attempts(
        both(first.row, second.row),
        Addresses(*map(both, first.source, second.source)),
        Addresses(*map(both, first.target, second.target)),
        both(first.proto, second.proto),
        both(first.port, second.port),
        both(first.failed, second.failed),
        both(first.fine, second.fine),
        both(first.odd, second.odd),
    )
