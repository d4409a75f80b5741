# SPDX-License-Identifier: Apache-2.0
"""The last second of interval rows, for ticks that are shorter than a second.

Rates stay those of a second: the parts of the last second are read as if they were one tick. And
nobody is blamed for an answer that is still under way: a flow that began counts as an attempt when
it was answered or refused, or after SILENCE_NS without a word.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.features.floods import FEWEST, suspects
from fortress.features.panes import SECOND
from fortress.features.rows import Columns, began_or_answered

SILENCE_NS = 200_000_000  # longer than it takes over an ocean and back
MOST_WAITING = 8192  # attempts without an answer; a storm of more is not waited for
_ADDED = frozenset(("orig_pkts", "resp_pkts", "orig_bytes", "resp_bytes"))
_Array = npt.NDArray[Any]
_Part = dict[str, _Array]


class Joined(Mapping[str, _Array]):
    """Rows of several ticks with one row for each flow, columns worked out when they are read.

    Counts of a tick are added up; the rest is as the flow's last row tells it.
    """

    def __init__(self, parts: Sequence[Columns]) -> None:
        self._parts = parts
        self._known: _Part = {}
        flow = np.concatenate([part["flow_id"] for part in parts])
        self._order = np.argsort(flow, kind="stable")
        ordered = flow[self._order]
        begins = np.empty(len(flow), np.bool_)
        begins[:1] = True
        np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
        self._starts = np.flatnonzero(begins)
        self._last = self._order[np.append(self._starts[1:], len(flow)) - 1]

    def __getitem__(self, name: str) -> _Array:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._read(name)
        return known

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts[0])

    def __len__(self) -> int:
        return len(self._parts[0])

    def _read(self, name: str) -> _Array:
        column = np.concatenate([part[name] for part in self._parts])
        if not len(column):
            return column
        if name in _ADDED:
            return np.add.reduceat(column[self._order], self._starts, dtype=column.dtype)
        if name == "is_new":
            return np.maximum.reduceat(column[self._order], self._starts)
        return np.asarray(column[self._last])


class LastSecond:
    """The rows of the ticks that began less than a second before the present one."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._parts: deque[tuple[int, int, _Part]] = deque()

    def add(self, ns: int, rows: Columns) -> None:
        """Take the rows of the tick at `ns`: they are copied."""
        while self._parts and self._parts[0][0] <= ns - SECOND:
            self._parts.popleft()
        if rows and len(rows["flow_id"]):
            suspicious = int(rows["orig_pkts"][suspects(rows)].sum())
            part = {name: rows[name].copy() for name in self._names}
            self._parts.append((ns, suspicious, part))

    def flooded(self, ns: int) -> Joined | None:
        """The last second's rows, if the tick at `ns` and the second may hold a flood."""
        parts = self._parts
        if not parts or parts[-1][0] != ns or not parts[-1][1]:
            return None
        if sum(suspicious for _, suspicious, _ in parts) < FEWEST:
            return None
        return Joined([part for _, _, part in parts])

    def over(self, ns: int) -> Joined | None:
        """The rows of the whole second before, when the tick at `ns` begins another; before
        `add`.
        """
        if not self._parts or self._parts[-1][0] // SECOND == ns // SECOND:
            return None
        second = self._parts[-1][0] // SECOND
        return Joined([part for at, _, part in self._parts if at // SECOND == second])

    def clear(self) -> None:
        """Forget everything."""
        self._parts.clear()


class Unsettled:
    """Flows that began and have heard nothing yet: their rows wait for an answer, or its lack."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._waiting: _Part | None = None

    def settle(self, ns: int, rows: Columns) -> Columns:
        """The rows of attempts that are now settled, of this tick and before; perhaps none."""
        part = None
        if rows and len(rows["flow_id"]):
            chosen = began_or_answered(rows)
            if len(chosen):
                part = {name: rows[name][chosen] for name in self._names}
        if part is None and self._waiting is None:
            return {}
        joined = Joined([one for one in (self._waiting, part) if one is not None])
        waits = (joined["resp_pkts"] == 0) & (joined["first_ns"] > ns - SILENCE_NS)
        if np.count_nonzero(waits) > MOST_WAITING:
            waits[:] = False
        whole = {name: joined[name] for name in self._names}
        self._waiting = {name: whole[name][waits] for name in whole} if waits.any() else None
        if self._waiting is None:
            return whole
        return {name: column[~waits] for name, column in whole.items()}

    def clear(self) -> None:
        """Forget everything."""
        self._waiting = None
