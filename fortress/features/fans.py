# SPDX-License-Identifier: Apache-2.0
"""Whom and what each host tries to reach and fails to: the windows behind scan detection.

One bounded table holds keys of three kinds, each over the last minute and the last hour: *sources*
(all failures of an originating host), *pairs* (a source and one target by protocol: how many
different ports) and *sweeps* (a source and one service: how many different targets). A source
enters with its first failure, so hosts whose connections all work cost nothing; successes count
from then on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fortress.features.inside import Inside, sender
from fortress.features.keys import (
    ABSENT,
    Addresses,
    KeyTable,
    Slots,
    UInt64,
    address_key,
    group,
    is_private,
    joint_key,
    mix,
)
from fortress.features.panes import HOUR, MINUTE, Float64, Panes
from fortress.features.rows import ARP, Attempts, Table

FEWEST = 6  # failures in an hour below which nothing is worked out
ODD_WEIGHT = 5  # of which one with flags no stack sends counts as so many more
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
    "local": "share of the failed attempts that had a private address as target, last minute",
    "targets": "different targets that failed, last minute",
    "failed": "attempts that failed, last minute",
    "fine": "attempts that succeeded, last minute",
    "aim": "share that this service has in all failures of the source, last minute",
    "local_slow": "share of the failed attempts that had a private address as target, last hour",
    "targets_slow": "different targets that failed, last hour",
    "failed_slow": "attempts that failed, last hour",
    "fine_slow": "attempts that succeeded, last hour",
}
_FAILED, _FINE, _ODD, _LOCAL = range(4)
_SOURCE, _PAIR, _SWEEP = range(3)


class _Read(NamedTuple):
    """What the windows hold of some keys: an attempt of each, and minute and hour stacked."""

    attempt: Slots
    totals: Float64  # (2, keys, counters)
    distinct: Float64  # (2, keys)


class FanWindows:
    """Attempts of a tick in, the rows of `pairs` and `sweeps` that tried something new out."""

    def __init__(self, secret: int, capacity: int = 16384) -> None:
        self._secret = secret
        self.inside: Inside | None = None
        self.table = KeyTable(capacity)
        self._panes = Panes(capacity, 4, MINUTE, HOUR, distinct=True)

    @property
    def memory_bytes(self) -> int:
        """What the table holds at most."""
        return self._panes.memory_bytes + 32 * self.table.capacity

    def observe(self, tried: Attempts, ns: int) -> tuple[Table, Table]:
        """The rows of PAIRS and of SWEEPS that failed to reach something new in this tick."""
        source = self._source(tried)
        failed = tried.failed > 0
        worth = failed | (self.table.find(source) != ABSENT)
        if not worth.any():
            return {}, {}
        suspects = np.sort(source[failed])
        if len(suspects):  # what else those did who fail in this tick counts as well
            at = np.minimum(np.searchsorted(suspects, source), len(suspects) - 1)
            worth |= suspects[at] == source
        if not worth.all():
            tried, source = tried.take(worth), source[worth]
        keys, items = self._keys(tried, source)
        groups = group(keys)
        count, total = len(tried), len(groups.keys)
        counts = np.zeros((total, 4), np.float32)
        local = tried.failed * is_private(tried.target)
        for column, values in enumerate((tried.failed, tried.fine, tried.odd, local)):
            if values.any():
                thrice = np.concatenate((values, values, values))
                counts[:, column] = np.bincount(groups.of_row, thrice, total)
        failing = tried.failed > 0
        failing = np.concatenate((failing, failing, failing))
        fails = np.zeros(total, np.bool_)
        fails[groups.of_row[failing]] = True

        slots = self.table.find(groups.keys)
        slots[fails], fresh = self.table.admit(groups.some(fails), ns)
        known = slots != ABSENT
        self._panes.forget(fresh)
        self._panes.add(slots[known], counts[known], ns)
        slot_of_row = slots[groups.of_row]
        failing[:count] = False  # sources are counted, their targets are not
        rows = (failing & (slot_of_row != ABSENT)).nonzero()[0]
        news = self._panes.insert(slot_of_row[rows], items[rows - count], ns)
        moved = np.zeros(total, np.bool_)
        moved[groups.of_row[rows[news]]] = True
        return self._read(tried, groups.first, slots, moved, ns)

    def clear(self) -> None:
        """Forgets everything seen."""
        self.table.clear()

    def _source(self, tried: Attempts) -> UInt64:
        return address_key(self._secret, sender(tried.source, tried.mac, self.inside))

    def _keys(self, tried: Attempts, source: UInt64) -> tuple[UInt64, UInt64]:
        """Keys of sources, pairs and sweeps one after the other; what pairs and sweeps count."""
        target = address_key(self._secret, tried.target)
        service = tried.proto << np.uint64(16) | tried.port
        pair = joint_key(source, target) ^ tried.proto
        keys = np.concatenate((source, pair, joint_key(source, service)))
        return keys, np.concatenate((mix(tried.port ^ np.uint64(self._secret)), target))

    def _read(
        self,
        tried: Attempts,
        first: Slots,
        slots: Slots,
        moved: npt.NDArray[np.bool_],
        ns: int,
    ) -> tuple[Table, Table]:
        chosen = moved.nonzero()[0]
        totals = self._panes.totals(slots[chosen], ns)
        often = totals[1, :, _FAILED] + ODD_WEIGHT * totals[1, :, _ODD] >= FEWEST
        if not often.any():
            return {}, {}
        chosen, totals = chosen[often], totals[:, often]
        kind, attempt = np.divmod(first[chosen], len(tried))
        distinct = self._panes.distinct(slots[chosen], ns)
        np.minimum(distinct, np.maximum(totals[:, :, _FAILED], 0), out=distinct)
        pairs = (kind == _PAIR) & (tried.proto[attempt] != ARP)  # ARP has no ports
        sweeps = kind == _SWEEP
        return (
            _pair_rows(_Read(attempt[pairs], totals[:, pairs], distinct[:, pairs]), tried),
            self._sweep_rows(
                _Read(attempt[sweeps], totals[:, sweeps], distinct[:, sweeps]), tried, ns
            ),
        )

    def _sweep_rows(self, read: _Read, tried: Attempts, ns: int) -> Table:
        at, (minute, hour) = read.attempt, read.totals
        source = self.table.find(self._source(tried.take(at)))
        failed, failed_slow = np.maximum(read.totals[:, :, _FAILED], 0)
        local, local_slow = np.clip(read.totals[:, :, _LOCAL], 0, (failed, failed_slow))
        of_source = self._panes.totals(source, ns)[0, :, _FAILED]
        of_source[source == ABSENT] = 0
        return {
            "row": tried.row[at],
            "proto": tried.proto[at],
            "port": tried.port[at],
            "local": local / np.maximum(failed, 1),
            "targets": read.distinct[0],
            "failed": failed,
            "fine": minute[:, _FINE],
            "aim": np.minimum(failed / np.maximum(of_source, 1), 1),
            "local_slow": local_slow / np.maximum(failed_slow, 1),
            "targets_slow": read.distinct[1],
            "failed_slow": hour[:, _FAILED],
            "fine_slow": hour[:, _FINE],
        }


def _pair_rows(read: _Read, tried: Attempts) -> Table:
    at, (minute, hour) = read.attempt, read.totals
    failed = np.maximum(minute[:, _FAILED], 0)
    return {
        "row": tried.row[at],
        "proto": tried.proto[at],
        "ports": read.distinct[0],
        "failed": failed,
        "fine": minute[:, _FINE],
        "odd": np.minimum(minute[:, _ODD], failed),
        "ports_slow": read.distinct[1],
        "failed_slow": hour[:, _FAILED],
        "fine_slow": hour[:, _FINE],
    }


def joined(first: Attempts, second: Attempts) -> Attempts:
    """The attempts of both."""

    def addresses(one: Addresses, other: Addresses) -> Addresses:
        return Addresses(
            np.concatenate((one.high, other.high)), np.concatenate((one.low, other.low))
        )

    return Attempts(
        np.concatenate((first.row, second.row)),
        addresses(first.source, second.source),
        np.concatenate((first.mac, second.mac)),
        addresses(first.target, second.target),
        np.concatenate((first.proto, second.proto)),
        np.concatenate((first.port, second.port)),
        np.concatenate((first.failed, second.failed)),
        np.concatenate((first.fine, second.fine)),
        np.concatenate((first.odd, second.odd)),
    )
