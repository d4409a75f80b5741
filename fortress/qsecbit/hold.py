# SPDX-License-Identifier: Apache-2.0
"""Rows of a few seconds, kept together so that windows and models look at them once.

A tick costs the same work whether it brings three rows or three hundred, so calm ticks wait for
company: at most to the end of so many seconds of capture time, or until ROWS have come together.
When much happens nothing waits. What is held depends on capture time and rows alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.features.rows import Columns, began_or_answered
from fortress.qsecbit.describe import Evidence

HOLD_S = 5  # of attempts and packets, in which scans and spoofing are seen
ENDED_S = 15  # of flows that ended: what they tell is of minutes, and they end late anyway
ROWS = 4096
_SECOND = 1_000_000_000
_Part = dict[str, npt.NDArray[Any]]


class Hold:
    """The rows of some ticks: attempts among interval rows, ended flows, packets."""

    def __init__(
        self,
        seconds: int,
        intervals: Iterable[str] = (),
        flows: Iterable[str] = (),
        packets: Iterable[str] = (),
    ) -> None:
        """Hold the named columns of three tables; one without names is left out."""
        self._period_ns = seconds * _SECOND
        self._names = tuple(intervals), tuple(flows), tuple(packets)
        self._parts: tuple[list[_Part], list[_Part], list[_Part]] = ([], [], [])
        self._borrowed: list[list[_Part]] = []  # whose last part is the caller's arrays
        self._rows = 0
        self._first_ns: int | None = None
        self._last_ns = 0

    def __bool__(self) -> bool:
        return self._first_ns is not None

    def is_over(self, ns: int) -> bool:
        """Whether what is held must be judged before rows of the tick at `ns` join it."""
        first_ns, period_ns = self._first_ns, self._period_ns
        return first_ns is not None and ns // period_ns != first_ns // period_ns

    def is_due(self) -> bool:
        """Whether what is held must be judged now."""
        if self._first_ns is None:
            return False
        last_second = self._last_ns % self._period_ns >= self._period_ns - _SECOND
        return last_second or self._rows >= ROWS

    def add(self, ns: int, intervals: Columns, flows: Columns, packets: Columns) -> None:
        """Takes the rows of a tick; before the arrays change, `take` or `keep` them."""
        if self._first_ns is None:
            self._first_ns = ns
        self._last_ns = ns
        if self._names[0] and _count(intervals):
            rows = began_or_answered(intervals)
            if len(rows):
                self._add(0, {name: intervals[name][rows] for name in self._names[0]}, len(rows))
        for table, columns in ((1, flows), (2, packets)):
            if self._names[table] and (count := _count(columns)):
                self._add(table, {name: columns[name] for name in self._names[table]}, count)
                self._borrowed.append(self._parts[table])

    def keep(self) -> None:
        """Copies what was added last: its arrays are about to change."""
        for parts in self._borrowed:
            parts[-1] = {name: column.copy() for name, column in parts[-1].items()}
        self._borrowed.clear()

    def take(self) -> Evidence:
        """What was held, with the time of its last tick; nothing is held afterwards."""
        taken = Evidence(self._last_ns, *(_joined(parts) for parts in self._parts))
        self.clear()
        return taken

    def clear(self) -> None:
        """Forgets what is held."""
        for parts in self._parts:
            parts.clear()
        self._borrowed.clear()
        self._rows, self._first_ns = 0, None

    def _add(self, table: int, part: _Part, rows: int) -> None:
        self._parts[table].append(part)
        self._rows += rows


def _joined(parts: list[_Part]) -> _Part:
    if len(parts) <= 1:
        return parts[0] if parts else {}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _count(columns: Columns) -> int:
    return len(next(iter(columns.values()))) if columns else 0
