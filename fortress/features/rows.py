# SPDX-License-Identifier: Apache-2.0
"""What the interval rows of one tick say, worked out once for every window that is built from them.

An *attempt* is a flow that begins. It has *failed* as long as nobody took it: TCP that got no
answer or a reset without a word of the originator having been acknowledged, UDP without
an answer. An echo request only asks who is there, so it counts as failed whether answered or not.
A flow that was answered in a later tick than it began in takes its failure back
then (`fine` without being new).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.features.keys import Addresses, Bool, Slots, is_group, words

Columns = Mapping[str, npt.NDArray[Any]]  # of equal length, by name
Table = dict[str, npt.NDArray[Any]]

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
ARP = 0  # in tables only: no IP protocol
FIN, SYN, RST, ACK = 1, 2, 4, 16
REJ = 6  # Zeek's conn_state, as fortress_core.CONN_STATES counts them
TRACEROUTE_PORTS = (
    33434,
    33534,
)  # UDP ports that traceroute expects nobody to answer (RFC 4443, its manual)

COLUMNS = (
    "flow_id", "last_ns", "orig_addr", "resp_addr", "orig_mac", "resp_mac", "orig_port",
    "resp_port", "iface", "proto", "conn_state", "is_new", "orig_tcp_flags", "orig_pkts",
    "orig_bytes", "resp_pkts", "resp_pkts_total",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attempts:
    """Flows of a tick that began or got their first answer; every array has one value for each of
    them.

    `failed` is 1 for a new flow that failed, -1 for an older one that got its answer after all;
    `fine` is 1 for those that succeeded; `odd` is 1 for a failed flow whose TCP flags no stack
    sends (FIN, NULL, Xmas scans). `row` is the number of the interval row, `mac` the source's.
    """

    row: Slots
    source: Addresses
    mac: npt.NDArray[np.uint64]
    target: Addresses
    proto: npt.NDArray[np.uint64]
    port: npt.NDArray[np.uint64]
    failed: npt.NDArray[np.float32]
    fine: npt.NDArray[np.float32]
    odd: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, chosen: Slots | Bool) -> Attempts:
        """Some of them."""
        return Attempts(
            self.row[chosen],
            self.source.take(chosen),
            self.mac[chosen],
            self.target.take(chosen),
            self.proto[chosen],
            self.port[chosen],
            self.failed[chosen],
            self.fine[chosen],
            self.odd[chosen],
        )


def began_or_answered(rows: Columns) -> Slots:
    """The numbers of the interval rows whose flow began, or got its first answer, in the tick."""
    answered = (rows["resp_pkts"] > 0) & (rows["resp_pkts"] == rows["resp_pkts_total"])
    return np.flatnonzero((rows["is_new"] != 0) | answered)


def attempts(rows: Columns) -> Attempts:
    """The attempts among the interval rows of a tick, group addresses and answers seen alone left
    out.
    """
    row = began_or_answered(rows)
    new = rows["is_new"][row] != 0
    answered = rows["resp_pkts"][row] > 0
    answered &= rows["resp_pkts"][row] == rows["resp_pkts_total"][row]
    proto, flags = rows["proto"][row], rows["orig_tcp_flags"][row]
    source_port, port = rows["orig_port"][row], rows["resp_port"][row]

    tcp = proto == TCP
    no_handshake = tcp & ((flags & ACK) == 0)
    odd = no_handshake & ((flags & (SYN | RST)) == 0)
    refused = rows["conn_state"][row] == REJ
    udp = (proto == UDP) & ((source_port >= 1024) | (port < 1024))
    echo = ((proto == ICMP) & (source_port == 8)) | ((proto == ICMP6) & (source_port == 128))
    probe = (no_handshake & ((flags & RST) == 0)) | udp | echo | refused

    fine = answered & ~refused & ~odd
    failed = probe & new & (~fine | echo)
    fine &= probe | (tcp & ((flags & SYN) != 0))
    traced = (proto == UDP) & (port >= TRACEROUTE_PORTS[0]) & (port <= TRACEROUTE_PORTS[1])
    target = words(rows["resp_addr"][row])
    # Of a connection whose answers alone are seen (half of an asymmetric route, or answers that
    # nobody asked for) nothing is known of whoever is answered.
    alone = new & (rows["orig_pkts"][row] == 0)
    chosen = np.flatnonzero((failed | fine) & ~(traced | alone) & ~is_group(target))

    row, proto, port = row[chosen], proto[chosen], port[chosen]
    icmp = (proto == ICMP) | (proto == ICMP6)
    port = np.where(icmp, source_port[chosen], port)
    failed, fine, new = failed[chosen], fine[chosen], new[chosen]
    late = fine & ~new & ~echo[chosen]
    return Attempts(
        row=row,
        source=words(rows["orig_addr"][row]),
        mac=rows["orig_mac"][row],
        target=target.take(chosen),
        proto=proto.astype(np.uint64),
        port=port.astype(np.uint64),
        failed=failed.astype(np.float32) - late,
        fine=fine.astype(np.float32),
        odd=(odd[chosen] & failed).astype(np.float32),
    )
