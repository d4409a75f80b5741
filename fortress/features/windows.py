# SPDX-License-Identifier: Apache-2.0
"""All sliding windows of the network together: the rows of a tick in, tables for detectors out.

A table holds one row for each pair, service, target … whose windows changed in the tick, so a quiet
tick costs little. Capture time alone moves the windows; a clock that steps back empties them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fortress.features import claims, fans, floods, logins, rhythm, rows
from fortress.features.inside import Inside
from fortress.features.keys import (
    Addresses,
    KeyTable,
    UInt64,
    distinct,
    is_group,
    is_private,
    is_v4,
    words,
)
from fortress.features.rows import Columns, Table

TABLES: Mapping[str, Mapping[str, str]] = {
    "pairs": fans.PAIRS,
    "sweeps": fans.SWEEPS,
    "targets": floods.TARGETS,
    "services": rhythm.SERVICES,
    "logins": logins.LOGINS,
    "claims": claims.CLAIMS,
}
ATTEMPT_COLUMNS = rows.COLUMNS  # of interval rows that `observe` reads
INTERVAL_COLUMNS = tuple(dict.fromkeys((*rows.COLUMNS, *logins.INTERVAL_COLUMNS)))
FLOW_COLUMNS = rhythm.FLOW_COLUMNS
PACKET_COLUMNS = claims.PACKET_COLUMNS
REPLAY_SECRET = 0x5EED_F0E7_2E55_0001  # replay is reproducible; live captures take a random one
_MOST_GATEWAYS = _MOST_PREFIXES = 16
_GLOBAL_SHIFT = np.uint64(61)


class Windows:
    """Everything that is remembered of the network, in bounded memory (`memory_bytes`)."""

    def __init__(self, secret: int = REPLAY_SECRET) -> None:
        self._secret = secret
        self._fans = fans.FanWindows(secret)
        self._logins = logins.LoginWindows(secret)
        self._rhythms = rhythm.Rhythms(secret)
        self._claims = claims.ClaimWindows(secret)
        self._inside: Inside | None = None
        self._gateways: UInt64 = np.empty(0, np.uint64)
        self._prefixes: UInt64 = np.empty(0, np.uint64)
        self._last_ns: int | None = None

    def observe(
        self, ns: int, intervals: Columns, flows: Columns, packets: Columns
    ) -> dict[str, Table]:
        """All other tables, of the ticks up to `ns`; one without rows may be absent or empty.

        Of interval rows those matter whose flow began or got its first answer.
        """
        if self._last_ns is not None and ns < self._last_ns:
            self.clear()
        self._last_ns = ns
        tables: dict[str, Table] = {}
        self._learn_gateways(intervals)
        tried = rows.attempts(intervals) if _count(intervals) else None
        if _count(packets):
            packets = {name: packets[name] for name in PACKET_COLUMNS}
            self._learn_prefixes(packets)
            tables["claims"] = self._claims.observe(packets, self._gateways, ns)
            asked = self._claims.asking(packets)
            tried = asked if tried is None else fans.joined(tried, asked)
        if tried is not None and len(tried):
            tables["pairs"], tables["sweeps"] = self._fans.observe(tried, ns)
        if _count(flows):
            tables["services"] = self._rhythms.observe(flows, ns)
        return tables

    def at_once(self, ns: int, intervals: Columns) -> dict[str, Table]:
        """The tables that cannot wait, from all interval rows of a tick: `targets` and `logins`."""
        if not _count(intervals):
            return {}
        return self.targets(intervals) | self.logins(ns, intervals)

    def targets(self, intervals: Columns) -> dict[str, Table]:
        """The table `targets` of a second's interval rows, which are of one second."""
        return {"targets": floods.targets(intervals, self._secret, self._inside)}

    def logins(self, ns: int, intervals: Columns) -> dict[str, Table]:
        """The table `logins`; every row is to be shown once, those of a second together."""
        return {"logins": self._logins.observe(intervals, ns)}

    def know(self, inside: Inside | None) -> None:
        """Takes which networks are inside; None = the private ones, as far as is known."""
        self._inside = self._fans.inside = self._logins.inside = self._rhythms.inside = inside

    def holder(self, address: Addresses) -> int:
        """The MAC that claims an address on the link and is not contradicted, 0 = nobody."""
        return self._claims.holder(address)

    @property
    def memory_bytes(self) -> int:
        """What all windows hold at most."""
        parts = (self._fans, self._logins, self._rhythms, self._claims)
        return sum(part.memory_bytes for part in parts)

    @property
    def prefixes(self) -> tuple[int, ...]:
        """The global /64 prefixes (upper 64 bits) of hosts heard in neighbour discovery."""
        return tuple(self._prefixes.tolist())

    @property
    def gateways(self) -> tuple[int, ...]:
        """The MACs that packets from elsewhere come from."""
        return tuple(self._gateways.tolist())

    @property
    def tables(self) -> dict[str, KeyTable]:
        """The bounded tables by name, for their counters of evictions and refusals."""
        return {
            "fans": self._fans.table,
            "logins": self._logins.table,
            "services": self._rhythms.table,
            "claims": self._claims.table,
        }

    def clear(self) -> None:
        """Forgets everything seen; counters stay."""
        for part in (self._fans, self._logins, self._rhythms, self._claims):
            part.clear()
        self._gateways, self._prefixes = self._gateways[:0], self._prefixes[:0]

    def _learn_gateways(self, intervals: Columns) -> None:
        """Which MACs packets from elsewhere come from."""
        if not _count(intervals) or len(self._gateways) >= _MOST_GATEWAYS:
            return
        found = []
        for address, mac in (("orig_addr", "orig_mac"), ("resp_addr", "resp_mac")):
            remote = words(intervals[address])
            chosen = is_v4(remote) & ~is_private(remote) & ~is_group(remote)
            found.append(intervals[mac][chosen & (intervals[mac] != 0)])
        self._gateways = _learned(self._gateways, found, _MOST_GATEWAYS)

    def _learn_prefixes(self, packets: Columns) -> None:
        """Which global IPv6 prefixes are those of the link."""
        neighbours = packets["arp_op"] >= claims.SOLICITATION
        if neighbours.any() and len(self._prefixes) < _MOST_PREFIXES:
            high = words(packets["src_addr"][neighbours]).high
            own = [high[(high >> _GLOBAL_SHIFT) == 1]]  # 2000::/3; others are private anyway
            self._prefixes = _learned(self._prefixes, own, _MOST_PREFIXES)


def _learned(known: UInt64, found: list[UInt64], most: int) -> UInt64:
    return distinct(np.concatenate((known, *found)))[:most]


def _count(columns: Columns) -> int:
    return len(next(iter(columns.values()))) if columns else 0
