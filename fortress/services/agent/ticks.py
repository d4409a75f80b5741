# SPDX-License-Identifier: Apache-2.0
"""Gathers the rows of one tick over its batches, so that results do not depend on their size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from fortress_core import Rows

MAX_ROWS = 1 << 18  # of one table in one tick; a flood beyond it is judged by its first rows

Columns = Mapping[str, npt.NDArray[Any]]


class Gathered:
    """The rows of one table in the tick that is going on; `lost` counts those beyond MAX_ROWS."""

    def __init__(self, names: Sequence[str], max_rows: int = MAX_ROWS) -> None:
        self.lost = 0
        self._names = tuple(names)
        self._max_rows = max_rows
        self._rows = 0
        self._parts: list[Columns] = []
        self._none: Columns = {}  # columns of no rows

    def add(self, table: Rows, last: bool) -> None:
        """Take a batch's rows: copies, but for the tick's `last` batch, still valid at `take`."""
        count = table.rows
        if not count:
            self._none = self._none or table.views()
            return
        if last and not self._parts and count <= self._max_rows:
            self._parts.append(table.views())
            return
        rows = min(count, self._max_rows - self._rows)
        self.lost += count - rows
        if self._parts and not rows:
            return
        views = {name: table[name][:rows] for name in self._names}
        self._parts.append(views if last else {name: v.copy() for name, v in views.items()})
        self._rows += rows

    def take(self) -> Columns:
        """The tick's columns; the next tick begins empty."""
        parts, self._parts, self._rows = self._parts, [], 0
        if len(parts) <= 1:
            return parts[0] if parts else self._none
        return {name: np.concatenate([part[name] for part in parts]) for name in self._names}
