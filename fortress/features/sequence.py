# SPDX-License-Identifier: Apache-2.0
"""An originator's flows in order of time: one row of float32 numbers a step, what the model
`threat-lstm` sees, in training and at work alike.

A step is a flow that ended. Of an originator's flows of one span of SPAN_S only the first
FIRST_IN_SPAN and then those whose number is a power of two become steps, and `rank` says how many
there were: a scan of 10,000 ports at once is 17 steps, 64 steps reach back over more than a moment,
and what is left out depends on the flows alone, not on how they were handed out. The span is that
of the latest packet that the originator's flows have shown.

An originator is whoever sends: on our side the address with its MAC. No feature reads an address,
a MAC, an originator's port or a time of day; a responder's port is one of five kinds of service.
Whether a responder or a port is new to its originator is kept in two rows of BITS marks, for the
present and the past EPOCH_S. All numbers are within [-1, 1].
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fortress.features.inside import Inside, sender
from fortress.features.keys import (
    ABSENT,
    Bool,
    Float32,
    Int64,
    KeyTable,
    Slots,
    UInt64,
    address_key,
    as_host,
    distinct,
    group,
    order_of,
    words,
)
from fortress.features.rows import Columns

Flows = Columns

SPAN_S = 10
FIRST_IN_SPAN = 6
STEPS_IN_SPAN = 4096  # of all originators together: what a flood of forged senders may cost
BITS = 256
EPOCH_S = 600
_SPAN_NS = SPAN_S * 1_000_000_000
_TCP, _UDP, _ICMP, _ICMP6 = 6, 17, 1, 58
_NEVER = np.iinfo(np.int64).min
_PORT_SHIFT, _GOLDEN = np.uint64(16), np.uint64(0x9E3779B97F4A7C15)
_TOP = np.uint64(56)
_LANE = 40  # spans since 1970 take 28 bits; originators are told apart above them


@dataclass(frozen=True, slots=True)
class Feature:
    """A number about a step: its name, what it means, and the flow columns it reads."""

    name: str
    meaning: str
    columns: tuple[str, ...]


class Steps(NamedTuple):
    """The steps among some flows, in the order of the flows, and who takes them.

    `row` is the number of the flow, `slot` its originator's place (of `capacity`), `matrix` the
    features, float32 (steps, features); `fresh` are the places that went to a newcomer.
    """

    row: Slots
    slot: Slots
    matrix: Float32
    fresh: Slots


class _Ordered(NamedTuple):
    """Flows of known originators, sorted by originator and then as they came."""

    order: Slots  # the number of each among all flows
    slot: Slots
    begins: Bool  # whether it is its originator's first here
    ends: Slots  # where each originator's last one is


class Sequencer:
    """What is remembered of each originator between its flows; bounded, the longest idle goes."""

    def __init__(self, capacity: int, secret: int) -> None:
        self.table = KeyTable(capacity)
        self.inside: Inside | None = None
        self.skipped = 0  # flows that became no step because of STEPS_IN_SPAN
        self._secret = secret
        self._span: Int64 = np.zeros(capacity, np.int64)
        self._count: Int64 = np.zeros(capacity, np.int64)  # flows in that span
        self._began_ns: Int64 = np.zeros(capacity, np.int64)  # of the flow before
        self._service: UInt64 = np.zeros(capacity, np.uint64)  # of the flow before
        self._epoch: Int64 = np.zeros(capacity, np.int64)
        self._seen = np.zeros((2, 2, capacity, BITS), np.bool_)  # present, past; responder, port
        self._all_span, self._all_count = 0, 0

    @property
    def memory_bytes(self) -> int:
        """What is held, whether in use or not."""
        return self._seen.nbytes + (5 * 8 + 32) * self.table.capacity

    def observe(self, flows: Flows, ns: int) -> Steps:
        """The steps among flows that ended by the time `ns`: columns by the names in COLUMNS,
        arrays of one length in the order in which the core hands flows out.
        """
        source = sender(words(flows["orig_addr"]), flows["orig_mac"], self.inside)
        groups = group(address_key(self._secret, source))
        slots, fresh = self.table.admit(groups, ns)
        self._forget(fresh)
        slot = slots[groups.of_row]
        order = order_of(groups.of_row)
        order = order[slot[order] != ABSENT]
        slot = slot[order]
        begins = np.empty(len(slot), np.bool_)
        begins[:1] = True
        np.not_equal(slot[1:], slot[:-1], out=begins[1:])
        ends = np.flatnonzero(np.append(begins[1:], True)) if len(slot) else order
        row, place, matrix = self._steps(flows, _Ordered(order, slot, begins, ends))
        return Steps(row, place, matrix, fresh)

    def clear(self) -> None:
        """Forgets every originator."""
        self.table.clear()
        self._all_span = self._all_count = 0

    def _forget(self, slots: Slots) -> None:
        self._span[slots] = self._count[slots] = 0
        self._began_ns[slots] = _NEVER
        self._epoch[slots] = 0
        self._seen[:, :, slots] = False

    def _steps(self, flows: Flows, some: _Ordered) -> tuple[Slots, Slots, Float32]:
        span = self._clock(flows["last_ns"][some.order], some)
        number = self._number(span, some)
        who = address_key(self._secret, as_host(words(flows["resp_addr"][some.order])))
        port = flows["proto"][some.order].astype(np.uint64) << _PORT_SHIFT
        port = (port | flows["resp_port"][some.order]) * _GOLDEN
        gap_ns, again = self._compared(flows["first_ns"][some.order], who ^ port, some)
        new = self._novelty(
            span * SPAN_S // EPOCH_S, some.slot, (who & np.uint64(0xFF), port >> _TOP)
        )
        chosen = np.flatnonzero((number < FIRST_IN_SPAN) | (number & (number - 1) == 0))
        chosen = chosen[np.argsort(some.order[chosen])]
        chosen = chosen[self._within_budget(span[chosen])]
        row = some.order[chosen]
        matrix = np.empty((len(row), len(FEATURES)), np.float32)
        own = _of_flows(flows, row)
        matrix[:, : len(own)] = np.stack(own, axis=1)
        since = np.abs(gap_ns[chosen]) / 1000
        matrix[:, _GAP] = np.copysign(np.log2(1 + since) / 42, gap_ns[chosen])
        matrix[:, _GAP + 1] = np.log2(number[chosen] + 1) / 16
        for index, column in enumerate((*new, again)):
            matrix[:, _GAP + 2 + index] = column[chosen]
        return row, some.slot[chosen], np.clip(matrix, -1, 1, out=matrix)

    def _clock(self, last_ns: Int64, some: _Ordered) -> Int64:
        """The span of each flow's last packet, or of what its originator showed before if that is
        later.
        """
        span = np.clip(last_ns // _SPAN_NS, 0, (1 << _LANE) - 1)
        first = some.begins
        span[first] = np.maximum(span[first], self._span[some.slot[first]])
        lane = np.cumsum(first) << _LANE
        clock: Int64 = np.maximum.accumulate(lane + span) - lane
        return clock

    def _number(self, span: Int64, some: _Ordered) -> Int64:
        """How many flows of its originator came before each flow in its span."""
        anew = some.begins.copy()
        anew[1:] |= span[1:] != span[:-1]
        at = np.flatnonzero(anew)
        slot = some.slot[at]
        goes_on = some.begins[at] & (span[at] == self._span[slot])
        began = at - np.where(goes_on, self._count[slot], 0)
        number = np.arange(len(span)) - np.repeat(began, np.diff(at, append=len(span)))
        last = some.slot[some.ends]
        self._span[last], self._count[last] = span[some.ends], number[some.ends] + 1
        return number

    def _compared(self, began: Int64, service: UInt64, some: _Ordered) -> tuple[Int64, Bool]:
        """Nanoseconds since the flow before began (0 without one), and whether that one went to
        the same service.
        """
        before, served = np.empty_like(began), np.empty_like(service)
        before[1:], served[1:] = began[:-1], service[:-1]
        first = some.slot[some.begins]
        before[some.begins], served[some.begins] = self._began_ns[first], self._service[first]
        last = some.slot[some.ends]
        self._began_ns[last], self._service[last] = began[some.ends], service[some.ends]
        known = before != _NEVER
        return began - np.where(known, before, began), known & (served == service)

    def _novelty(self, epoch: Int64, slot: Slots, marks: tuple[UInt64, ...]) -> list[Bool]:
        """For each kind of mark whether it is new to its originator."""
        new = [np.zeros(len(slot), np.bool_) for _ in marks]
        for now in distinct(epoch):
            rows = np.flatnonzero(epoch == now)
            self._turn(slot[rows], int(now))
            for kind, mark in enumerate(marks):
                at, bit = slot[rows], mark[rows].astype(np.intp)
                unseen = np.flatnonzero(
                    ~(self._seen[0, kind, at, bit] | self._seen[1, kind, at, bit])
                )
                _, first = np.unique(at[unseen] * BITS + bit[unseen], return_index=True)
                new[kind][rows[unseen[first]]] = True
                self._seen[0, kind, at, bit] = True
        return new

    def _turn(self, slots: Slots, epoch: int) -> None:
        """Makes the present marks past ones where a new epoch begins."""
        old = slots[self._epoch[slots] < epoch]
        if len(old):
            follows = self._epoch[old] == epoch - 1
            self._seen[1][:, old] = self._seen[0][:, old] & follows[:, None]
            self._seen[0][:, old] = False
            self._epoch[old] = epoch

    def _within_budget(self, span: Int64) -> Bool:
        """Which steps are among the first STEPS_IN_SPAN of their span, as they came."""
        if not len(span):
            return np.zeros(0, np.bool_)
        span = np.maximum.accumulate(np.maximum(span, self._all_span))
        anew = np.append(True, span[1:] != span[:-1])
        at = np.flatnonzero(anew)
        began = at - np.where(span[at] == self._all_span, self._all_count, 0)
        number = np.arange(len(span)) - np.repeat(began, np.diff(at, append=len(span)))
        self._all_span, self._all_count = int(span[-1]), int(number[-1]) + 1
        within: Bool = number < STEPS_IN_SPAN
        self.skipped += len(within) - int(within.sum())
        return within


def fingerprint(names: Iterable[str]) -> str:
    """A hash of features by name, order and definition, and of how steps are chosen: 16 hexadecimal
    digits.
    """
    known = {feature.name: feature for feature in FEATURES}
    rule = f"{FIRST_IN_SPAN} and powers of two in {SPAN_S} s, {BITS} marks of {EPOCH_S} s\x1e"
    digest = hashlib.sha256(rule.encode())
    for name in names:
        feature = known.get(name)
        text = (name, feature.meaning, *feature.columns) if feature else (name,)
        digest.update("\x1f".join(text).encode() + b"\x1e")
    return digest.hexdigest()[:16]


def _of_flows(flows: Flows, row: Slots) -> list[npt.NDArray[Any]]:
    """The features that a flow alone decides, in the order of FEATURES."""
    proto, port, state = (flows[name][row] for name in ("proto", "resp_port", "conn_state"))
    service = np.where((proto == _TCP) | (proto == _UDP), _SERVICE_OF_PORT[port], 0)
    known = [proto == _TCP, proto == _UDP, (proto == _ICMP) | (proto == _ICMP6)]
    known += [service == number for number in range(1, len(SERVICES) + 1)]
    known += [_UNANSWERED[state], _REFUSED[state]]
    sizes = [_log(flows[name][row], 32) for name in ("orig_payload_bytes", "resp_payload_bytes")]
    packets = [_log(flows[name][row], 24) for name in ("orig_pkts", "resp_pkts")]
    length_us = np.maximum(flows["last_ns"][row] - flows["first_ns"][row], 0) / 1000
    return [*known, *sizes, *packets, _log(length_us, 36)]


def _log(value: npt.NDArray[Any], bits: int) -> Float32:
    """log2(1 + value) by `bits`."""
    scaled: Float32 = np.log2(value.astype(np.float32) + np.float32(1)) / np.float32(bits)
    return scaled


SERVICES: Mapping[str, tuple[int, ...]] = {
    "web": (80, 443, 8000, 8008, 8080, 8443),
    "naming": (53, 67, 68, 123, 137, 138, 546, 547, 853, 1900, 3702, 5353, 5355),
    "login": (21, 22, 23, 2222, 2323, 3389, 5900, 5985, 5986),
    "domain": (88, 111, 135, 139, 389, 445, 636, 2049, 3268),
    "low": (),  # any other port below 1024
}
FEATURES: tuple[Feature, ...] = (
    Feature("tcp", "1 = TCP", ("proto",)),
    Feature("udp", "1 = UDP", ("proto",)),
    Feature("icmp", "1 = ICMP or ICMPv6", ("proto",)),
    *(
        Feature(name, f"1 = the responder's port is of {ports or 'no other, below 1024'}",
            ("proto", "resp_port"))
        for name, ports in SERVICES.items()
    ),
    Feature("unanswered", "1 = conn_state S0, RSTOS0 or SH", ("conn_state",)),
    Feature("refused", "1 = conn_state REJ or RSTRH", ("conn_state",)),
    Feature("orig_payload", "originator's payload bytes, log2 by 32", ("orig_payload_bytes",)),
    Feature("resp_payload", "responder's payload bytes, log2 by 32", ("resp_payload_bytes",)),
    Feature("orig_pkts", "originator's packets, log2 by 24", ("orig_pkts",)),
    Feature("resp_pkts", "responder's packets, log2 by 24", ("resp_pkts",)),
    Feature("length", "microseconds from first to last packet, log2 by 36",
        ("first_ns", "last_ns")),
    Feature("gap", "microseconds since the flow before began, signed log2 by 42",
        ("orig_addr", "orig_mac", "first_ns")),
    Feature("rank", "flows in these ten seconds so far, log2 by 16", ("orig_addr", "last_ns")),
    Feature("new_responder", "1 = the first flow to it in ten to twenty minutes",
        ("orig_addr", "resp_addr", "last_ns")),
    Feature("new_port", "1 = the first flow to this port of any responder in that time",
        ("orig_addr", "proto", "resp_port", "last_ns")),
    Feature("again", "1 = to the same responder and port as the flow before",
        ("orig_addr", "resp_addr", "proto", "resp_port")),
)  # fmt: skip
COLUMNS: tuple[str, ...] = tuple(
    dict.fromkeys(name for feature in FEATURES for name in feature.columns)
)
_GAP = [feature.name for feature in FEATURES].index("gap")
_SERVICE_OF_PORT = np.zeros(65536, np.uint8)
_SERVICE_OF_PORT[:1024] = len(SERVICES)
for _number, _ports in enumerate(SERVICES.values(), 1):
    _SERVICE_OF_PORT[list(_ports)] = _number
_UNANSWERED, _REFUSED = np.zeros(256, np.bool_), np.zeros(256, np.bool_)
_UNANSWERED[[1, 9, 11]] = True  # S0, RSTOS0, SH
_REFUSED[[6, 10]] = True  # REJ, RSTRH
