# SPDX-License-Identifier: Apache-2.0
"""One row of float32 numbers a minute and device: what a device does, with whom, how much, how
often in vain.

A device is a station of the own network, known by its MAC or else by its address. Counts and sums
enter as log1p, so that twice as much is the same step everywhere. No address, name or absolute time
is a feature. Training and work alike make windows here: live from interval rows, in studies from
ended flows (a flow then counts in the minute it ended in).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from fortress_core import CONN_STATES

from fortress.features import hll
from fortress.features.keys import (
    ABSENT,
    Addresses,
    Bool,
    Float32,
    KeyTable,
    UInt64,
    address_key,
    group,
    is_among,
    is_group,
    is_private,
    joint_key,
    mix,
    words,
)
from fortress.features.rows import ICMP, ICMP6, TCP, UDP, Columns, attempts

WINDOW_NS = 60_000_000_000
CAPACITY = 1024  # devices at a time; those beyond are not judged
INTERVAL_COLUMNS = (
    "flow_id", "last_ns", "orig_addr", "resp_addr", "orig_mac", "resp_mac", "orig_port",
    "resp_port", "proto", "conn_state", "is_new", "orig_tcp_flags", "orig_pkts", "resp_pkts",
    "orig_bytes", "resp_bytes", "resp_pkts_total",
)  # fmt: skip
FLOW_COLUMNS = (
    "last_ns", "orig_addr", "resp_addr", "orig_mac", "resp_mac", "orig_port", "resp_port", "proto",
    "conn_state", "orig_pkts", "resp_pkts", "orig_bytes", "resp_bytes",
)  # fmt: skip
LOGINS = np.array((21, 22, 23, 139, 445, 1433, 3306, 3389, 5432, 5900, 5985), np.uint64)
NAMES = np.array((53, 853), np.uint64)
EVERYDAY = np.array((53, 67, 80, 123, 443, 853, 993, 1883, 1900, 5353, 8883), np.uint64)
STATES = CONN_STATES
_FAILED = np.isin(STATES, ("S0", "REJ", "RSTOS0", "SH"))


@dataclass(frozen=True, slots=True)
class Feature:
    """A number about a minute of a device."""

    name: str
    meaning: str


FEATURES: tuple[Feature, ...] = (
    Feature("flows_out", "log1p of flows it began"),
    Feature("flows_in", "log1p of flows that others began with it"),
    Feature("failed", "log1p of its flows that nobody answered or that were refused"),
    Feature("failed_share", "those by all that it began; 0 of nothing"),
    Feature("login_flows", "log1p of flows it began with services that ask for a password"),
    Feature("other_flows", "log1p of flows it began with ports that are not everyday ones"),
    Feature("name_flows", "log1p of flows it began with name servers"),
    Feature("name_bytes", "log1p of IP bytes it sent to name servers"),
    Feature("echo_pkts", "log1p of ICMP packets it sent"),
    Feature("bytes_up", "log1p of IP bytes it sent"),
    Feature("bytes_down", "log1p of IP bytes it received"),
    Feature("pkts_up", "log1p of packets it sent"),
    Feature("pkts_down", "log1p of packets it received"),
    Feature("peers", "log1p of different hosts it began flows with"),
    Feature("near_peers", "log1p of different hosts of the own network among them"),
    Feature("services", "log1p of different protocols and ports it began flows with"),
    Feature("targets", "log1p of different pairs of host and port it began flows with"),
    Feature("clients", "log1p of different hosts that began flows with it"),
)
# Features that are never 0 on a device that is active: their medians tell how much it does.
VOLUMES = tuple(
    feature.name in ("bytes_up", "bytes_down", "pkts_up", "pkts_down") for feature in FEATURES
)
_SUMS = 12  # the first counters: what `Rows.counts` holds, failed_share apart
_DISTINCT = ("peers", "near_peers", "services", "targets", "clients")


@dataclass(frozen=True, slots=True)
class Rows:
    """What devices did: one row a device and flow (two where both ends are devices).

    `counts` has a column for each feature up to `pkts_down` but `failed_share`.
    """

    device: UInt64
    address: Addresses
    peer: UInt64
    peer_is_near: Bool
    service: UInt64
    began: Bool  # as its originator, in this interval
    called: Bool  # somebody began it with the device
    counts: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Windows:
    """The minute that began at `start_ns`: a key, an address and a row of features a device."""

    start_ns: int
    keys: UInt64
    addresses: Addresses
    matrix: Float32


class Minutes:
    """Sums what devices do, in bounded memory, and hands out each minute when it is over."""

    def __init__(self, secret: int, capacity: int = CAPACITY) -> None:
        self._secret = secret
        self.table = KeyTable(capacity)
        self._minute: int | None = None
        self._sums = np.zeros((capacity, _SUMS))
        self._registers = np.zeros((len(_DISTINCT), capacity, hll.REGISTERS), np.uint8)
        self._keys = np.zeros(capacity, np.uint64)
        self._high = np.zeros(capacity, np.uint64)
        self._low = np.zeros(capacity, np.uint64)

    @property
    def memory_bytes(self) -> int:
        """What a minute holds, devices or not."""
        return self._sums.nbytes + self._registers.nbytes + 3 * self._high.nbytes

    def observe(self, ns: int, rows: Rows | None) -> Windows | None:
        """Adds the rows of a tick that ended at `ns`; the minute before, if this tick is the first
        after it. A clock that steps back drops the minute under way.
        """
        minute, closed = ns // WINDOW_NS, None
        if self._minute is not None and minute > self._minute:
            closed = self.close()
        elif self._minute is not None and minute < self._minute:
            self._clear()
        self._minute = minute
        if rows is not None and len(rows.device):
            self._add(rows, minute)
        return closed

    def close(self) -> Windows | None:
        """The minute under way, ended here; None where nobody did anything in it."""
        if self._minute is None or not len(self.table):
            return None
        slots = np.flatnonzero(self.table.last_tick == self._minute)
        distinct = [np.log1p(hll.estimate(part[slots])) for part in self._registers]
        self._sums[slots] = np.maximum(self._sums[slots], 0)
        sums = np.log1p(self._sums[slots])
        share = self._sums[slots, 2] / np.maximum(self._sums[slots, 0], 1)
        columns = [*sums.T[:3], share.clip(0, 1), *sums.T[3:], *distinct]
        windows = Windows(
            self._minute * WINDOW_NS,
            self._keys[slots],
            Addresses(self._high[slots], self._low[slots]),
            np.stack(columns, axis=1).astype(np.float32),
        )
        self._clear()
        return windows

    def _add(self, rows: Rows, minute: int) -> None:
        groups = group(rows.device)
        slots, _ = self.table.admit(groups, minute)
        own = slots[groups.of_row]
        known = np.flatnonzero(slots != ABSENT)
        first = groups.first[known]
        self._keys[slots[known]] = groups.keys[known]
        self._high[slots[known]] = rows.address.high[first]
        self._low[slots[known]] = rows.address.low[first]
        if len(known) < len(slots):
            kept = np.flatnonzero(own != ABSENT)
            own, rows = own[kept], take(rows, kept)
        for index in range(_SUMS):
            self._sums[:, index] += np.bincount(
                own, rows.counts[:, index], minlength=len(self._sums)
            )
        began, called = rows.began, rows.called
        peer, service = rows.peer, mix(rows.service)
        near = began & rows.peer_is_near
        for index, (chosen, seen) in enumerate(
            (
                (began, peer),
                (near, peer),
                (began, service),
                (began, joint_key(peer, service)),
                (called, peer),
            )
        ):
            register, rank = hll.places(seen[chosen])
            flat = self._registers[index].reshape(-1)  # an index of two parts takes ten times it
            np.maximum.at(flat, own[chosen] * hll.REGISTERS + register, rank)

    def _clear(self) -> None:
        self.table.clear()
        self._sums[:] = 0
        self._registers[:] = 0


def rows_of_intervals(
    intervals: Columns, secret: int, prefixes: tuple[int, ...] = (), gateways: tuple[int, ...] = ()
) -> Rows:
    """What the devices did in a tick, from its interval rows."""
    tried = attempts(intervals)
    failed = np.zeros(len(intervals["proto"]))
    failed[tried.row] = tried.failed  # one less when an answer comes in a later tick
    return _rows(intervals, intervals["is_new"] != 0, failed, secret, prefixes, gateways)


def rows_of_flows(
    flows: Columns, secret: int, prefixes: tuple[int, ...] = (), gateways: tuple[int, ...] = ()
) -> Rows:
    """What the devices did, from ended flows."""
    udp_alone = (flows["proto"] == UDP) & (flows["resp_pkts"] == 0)
    tcp_failed = (flows["proto"] == TCP) & _FAILED[flows["conn_state"]]
    began = np.ones(len(flows["proto"]), np.bool_)
    return _rows(flows, began, (udp_alone | tcp_failed) * 1.0, secret, prefixes, gateways)


def take(rows: Rows, chosen: npt.NDArray[np.intp]) -> Rows:
    """Some of the rows."""
    return Rows(
        rows.device[chosen],
        rows.address.take(chosen),
        rows.peer[chosen],
        rows.peer_is_near[chosen],
        rows.service[chosen],
        rows.began[chosen],
        rows.called[chosen],
        rows.counts[chosen],
    )


def fingerprint(names: Iterable[str]) -> str:
    """A hash of features by name, order and definition: 16 hexadecimal digits."""
    known = {feature.name: feature for feature in FEATURES}
    sets = (LOGINS, NAMES, EVERYDAY)
    digest = hashlib.sha256(f"minutes of {WINDOW_NS} {[s.tolist() for s in sets]}\x1e".encode())
    for name in names:
        meaning = known[name].meaning if name in known else ""
        digest.update(f"{name}\x1f{meaning}\x1e".encode())
    return digest.hexdigest()[:16]


def _rows(
    flows: Columns,
    began: Bool,
    failed: npt.NDArray[np.float64],
    secret: int,
    prefixes: tuple[int, ...],
    gateways: tuple[int, ...],
) -> Rows:
    ends = words(flows["orig_addr"]), words(flows["resp_addr"])
    near = tuple(_is_near(end, prefixes) for end in ends)
    port = flows["resp_port"].astype(np.uint64)
    proto = flows["proto"].astype(np.uint64)
    icmp = (proto == ICMP) | (proto == ICMP6)
    service = np.where(icmp, flows["orig_port"].astype(np.uint64), port) << np.uint64(8) | proto
    sides = []
    for mine, other, up, down in ((0, 1, "orig", "resp"), (1, 0, "resp", "orig")):
        chosen = np.flatnonzero(near[mine] & ~is_group(ends[mine]))
        out = np.full(len(chosen), mine == 0) & began[chosen]
        packets, octets = flows[f"{up}_pkts"][chosen], flows[f"{up}_bytes"][chosen]
        to_names = is_among(port[chosen], NAMES) & ~icmp[chosen] & (mine == 0)
        counts = np.stack(
            [
                out,
                began[chosen] & (mine == 1),
                failed[chosen] * (mine == 0),
                out & is_among(port[chosen], LOGINS) & ~icmp[chosen],
                out & ~is_among(port[chosen], EVERYDAY) & ~icmp[chosen],
                out & to_names,
                octets * to_names,
                packets * icmp[chosen],
                octets,
                flows[f"{down}_bytes"][chosen],
                packets,
                flows[f"{down}_pkts"][chosen],
            ],
        ).T.astype(np.float64)  # a column's values lie together, as they are added up
        own = ends[mine].take(chosen)
        mac = flows[f"{up}_mac"][chosen].astype(np.uint64)
        routed = (mac == 0) | is_among(mac, np.array(gateways, np.uint64))
        sides.append(
            Rows(
                np.where(routed, address_key(secret, own), mac),
                own,
                address_key(secret, ends[other].take(chosen)),
                near[other][chosen],
                service[chosen],
                out,
                began[chosen] & (mine == 1),
                counts,
            )
        )
    first, second = sides
    return Rows(
        np.concatenate((first.device, second.device)),
        Addresses(
            np.concatenate((first.address.high, second.address.high)),
            np.concatenate((first.address.low, second.address.low)),
        ),
        np.concatenate((first.peer, second.peer)),
        np.concatenate((first.peer_is_near, second.peer_is_near)),
        np.concatenate((first.service, second.service)),
        np.concatenate((first.began, second.began)),
        np.concatenate((first.called, second.called)),
        np.concatenate((first.counts, second.counts)),
    )


def _is_near(address: Addresses, prefixes: tuple[int, ...]) -> Bool:
    own = is_private(address)
    if prefixes:
        own |= is_among(address.high, np.array(prefixes, np.uint64))
    return own
