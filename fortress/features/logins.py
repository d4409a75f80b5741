# SPDX-License-Identifier: Apache-2.0
"""Connections to services that ask for a password, by the shape that a refused password gives them.

A refused login is short, ends, and its server says little: banner, key exchange and refusals, no
session after them. Of SSH a refusal is seen while the connection is still open (`refusals`); it is
taken back when somebody is let in after all. The bounds are what OpenSSH 7 to 9, vsftpd, proftpd,
telnetd and RDP with network level authentication say before and at a refusal; a session that is let
in says more or lasts longer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fortress.features.inside import Inside, sender
from fortress.features.keys import (
    ABSENT,
    Bool,
    KeyTable,
    address_key,
    group,
    joint_key,
    words,
)
from fortress.features.panes import HOUR, SECOND, TWO_MINUTES, Panes
from fortress.features.refusals import Refusals
from fortress.features.rows import TCP, Columns, Table


class Service(NamedTuple):
    """A port, what listens there, the payload a server sends in a refused login (bytes, at least
    and at most), and the most that it adds in a second when it refuses and asks again; 0 where a
    session in which somebody was let in may add as little.
    """

    port: int
    name: str
    least: int
    most: int
    refusal: int = 0


SERVICES = (
    Service(21, "FTP", 20, 400),
    Service(22, "SSH", 600, 3800, 400),
    Service(23, "telnet", 10, 600),
    Service(2222, "SSH", 600, 3800, 400),
    Service(2323, "telnet", 10, 600),
    Service(3389, "RDP", 19, 3000),
)
LONGEST_S = (
    60  # a server gives nobody longer to fail (OpenSSH LoginGraceTime is 120, hydra gives up at 30)
)
INTERVAL_COLUMNS = (
    "flow_id", "first_ns", "last_ns", "orig_addr", "resp_addr", "resp_port", "proto", "conn_state",
    "orig_payload_total", "resp_payload_total", "orig_mac",
)  # fmt: skip
LOGINS = {
    "row": "number of an interval row of the tick that belongs to it",
    "port": "port of the service",
    "tries": "connections that look like a refused password, last two minutes",
    "others": "connections with payload of both sides that do not, last two minutes",
    "tries_slow": "connections that look like a refused password, last hour",
    "others_slow": "connections with payload of both sides that do not, last hour",
    "spread": "standard deviation of the server's payload over the tries by its mean, last hour",
    "server_bytes": "mean payload of the server in a try, last hour",
}
_PORTS = np.array([service.port for service in SERVICES], np.uint16)
_IS_LOGIN = np.zeros(65536, np.bool_)
_IS_LOGIN[_PORTS] = True
_LEAST = np.array([service.least for service in SERVICES], np.int64)
_MOST = np.array([service.most for service in SERVICES], np.int64)
_REFUSAL = np.array([service.refusal for service in SERVICES], np.int64)
_IS_CLOSED = np.zeros(256, np.bool_)
_IS_CLOSED[[5, 7, 8]] = True  # SF, RSTO, RSTR of fortress_core.CONN_STATES
_IS_OPEN = 2  # S1
_REMEMBERED = 256
_TRIES, _OTHERS, _BYTES, _SQUARES = range(4)


class _Seen(NamedTuple):
    """Rows of connections: what the server said in all, whether that is a try, whether it is over,
    and what it had said when it was counted as a try before (0: it was not).
    """

    row: npt.NDArray[np.intp]
    said: npt.NDArray[np.int64]
    tried: Bool
    closed: Bool
    before: npt.NDArray[np.int64]


class LoginWindows:
    """Tries of each source at each login service; the table LOGINS for those tried in a tick."""

    def __init__(self, secret: int, capacity: int = 4096) -> None:
        self._secret = secret
        self.inside: Inside | None = None
        self.table = KeyTable(capacity)
        self._panes = Panes(capacity, 4, TWO_MINUTES, HOUR)
        self._counted = np.zeros(_REMEMBERED, np.uint64)  # flows counted last
        self._counted_sorted = self._counted
        self._refusals = Refusals()

    @property
    def memory_bytes(self) -> int:
        """What the windows hold at most."""
        return self._panes.memory_bytes + 32 * self.table.capacity

    def observe(self, rows: Columns, ns: int) -> Table:
        """The rows of LOGINS that saw a try among the connections that closed in this tick or were
        refused a password in it.
        """
        port = rows["resp_port"]
        row = (_IS_LOGIN[port] & (rows["proto"] == TCP)).nonzero()[0]
        if not len(row):
            return {}
        state = rows["conn_state"][row]
        both = (rows["resp_payload_total"][row] > 0) & (rows["orig_payload_total"][row] > 0)
        row = row[both & (_IS_CLOSED[state] | (state == _IS_OPEN))]
        row = self._uncounted(row, rows["flow_id"], rows["conn_state"])
        if not len(row):
            return {}
        seen = self._judged(rows, row)
        row = seen.row
        if not len(row):
            return {}
        source = sender(words(rows["orig_addr"][row]), rows["orig_mac"][row], self.inside)
        target = words(rows["resp_addr"][row])
        client, server = address_key(self._secret, source), address_key(self._secret, target)
        groups = group(joint_key(client, server, port[row].astype(np.uint64)))
        counts = np.zeros((len(groups.keys), 4), np.float32)
        for column, values in (
            (_TRIES, 1 * seen.tried - (seen.before > 0)),
            (_OTHERS, ~seen.tried & seen.closed),
            (_BYTES, seen.said * seen.tried - seen.before),
            (_SQUARES, seen.said**2 * seen.tried - seen.before**2),
        ):
            counts[:, column] = np.bincount(groups.of_row, values, len(groups.keys))
        slots, fresh = self.table.admit(groups, ns)
        known = slots != ABSENT
        self._panes.forget(fresh)
        self._panes.add(slots[known], counts[known], ns)
        known &= counts[:, _TRIES] > 0
        return self._read(slots[known], row[groups.first[known]], port, ns)

    def clear(self) -> None:
        """Forgets everything seen."""
        self.table.clear()
        self._counted_sorted = self._counted = np.zeros(_REMEMBERED, np.uint64)
        self._refusals.clear()

    def _judged(self, rows: Columns, row: npt.NDArray[np.intp]) -> _Seen:
        """Those of the rows that change a count."""
        port, flow = rows["resp_port"][row], rows["flow_id"][row]
        said = rows["resp_payload_total"][row].astype(np.int64)
        service = np.searchsorted(_PORTS, port)
        short = rows["last_ns"][row] - rows["first_ns"][row] <= LONGEST_S * SECOND
        fits = short & (said >= _LEAST[service]) & (said <= _MOST[service])
        closed = _IS_CLOSED[rows["conn_state"][row]]
        refused, before = self._refusals.observe(flow, said, fits & ~closed, _REFUSAL[service])
        tried, worth = refused | fits & closed, refused | closed | (before > 0)
        return _Seen(row[worth], said[worth], tried[worth], closed[worth], before[worth])

    def _uncounted(
        self,
        row: npt.NDArray[np.intp],
        flow_id: npt.NDArray[np.generic],
        state: npt.NDArray[np.generic],
    ) -> npt.NDArray[np.intp]:
        """Those rows whose flow is open or closed just now: a last ACK may make it show up as
        closed again.
        """
        if not len(row):
            return row
        flow, ordered = flow_id[row], self._counted_sorted
        at = np.minimum(ordered.searchsorted(flow), len(ordered) - 1)
        row = row[ordered[at] != flow]
        told = flow_id[row[_IS_CLOSED[state[row]]][-len(self._counted) :]]
        if len(told):
            self._counted = np.concatenate((self._counted[len(told) :], told))
            self._counted_sorted = np.sort(self._counted)
        return row

    def _read(
        self,
        slots: npt.NDArray[np.intp],
        row: npt.NDArray[np.intp],
        port: npt.NDArray[np.generic],
        ns: int,
    ) -> Table:
        fast, slow = np.maximum(self._panes.totals(slots, ns), 0)  # what is taken back came earlier
        tries = slow[:, _TRIES]
        mean = slow[:, _BYTES] / np.maximum(tries, 1)
        variance = np.maximum(slow[:, _SQUARES] / np.maximum(tries, 1) - mean**2, 0)
        return {
            "row": row,
            "port": port[row],
            "tries": fast[:, _TRIES],
            "others": fast[:, _OTHERS],
            "tries_slow": tries,
            "others_slow": slow[:, _OTHERS],
            "spread": np.sqrt(variance) / np.maximum(mean, 1),
            "server_bytes": mean,
        }
