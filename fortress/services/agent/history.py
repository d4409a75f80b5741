# SPDX-License-Identifier: Apache-2.0
"""The score of the last hour by seconds and of the last day by minutes, in memory that is bounded.

The store has the longer history; this one answers at once and after a crash of the database too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from threading import Lock

from fortress.services.agent.view import HistoryRow
from fortress.verdict import Score, Status

SECONDS = 3600  # rows of a second each: an hour
MINUTES = 1440  # rows of a minute each: a day
_SECOND_NS = 1_000_000_000
_ORDER = tuple(Status)


class History:
    """Takes each tick's score and counts; keeps the worst of each second and minute."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rings = {1: deque[HistoryRow](maxlen=SECONDS), 60: deque[HistoryRow](maxlen=MINUTES)}

    def add(self, score: Score, packets: int = 0, bytes_: int = 0, drops: int = 0) -> None:
        """Take a tick: its score, and what was seen and lost since the last one."""
        with self._lock:
            for step_s, ring in self._rings.items():
                start_ns = score.time_ns - score.time_ns % (step_s * _SECOND_NS)
                row = HistoryRow(
                    start_ns, score.value, score.status, score.confidence, packets, bytes_, drops
                )
                if ring and ring[-1].time_ns == start_ns:
                    ring[-1] = _together(ring[-1], row)
                else:
                    ring.append(row)

    def since(self, since_ns: int, step_s: int = 1) -> tuple[HistoryRow, ...]:
        """Rows not older than `since_ns`, oldest first; `step_s` is 1 or 60."""
        with self._lock:
            rows = tuple(self._rings[step_s])
        return tuple(row for row in rows if row.time_ns >= since_ns)


def _together(one: HistoryRow, other: HistoryRow) -> HistoryRow:
    return replace(
        one,
        value=max(one.value, other.value),
        status=max(one.status, other.status, key=_ORDER.index),
        confidence=min(one.confidence, other.confidence),
        packets=one.packets + other.packets,
        bytes=one.bytes + other.bytes,
        drops=one.drops + other.drops,
    )
