# SPDX-License-Identifier: Apache-2.0
"""Sliding windows over capture time: a ring of panes of counters and registers for each slot of a
table.

A window of `panes` × `pane_ns` moves on by a pane at a time. Nothing is swept: a pane that has
fallen out of the window is cleared when its slot is next written, and left out when it is read.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fortress.features import hll
from fortress.features.keys import Slots, UInt64

_NEVER = np.iinfo(np.int64).min
Float64 = npt.NDArray[np.float64]


class Panes:
    """Counters (float32) and, where `distinct`, 128 HyperLogLog registers for each slot and pane.

    Memory is capacity × panes × (8 + 4·counters [+ 128]) bytes.
    """

    def __init__(
        self, capacity: int, counters: int, panes: int, pane_ns: int, *, distinct: bool = True
    ) -> None:
        self.panes = panes
        self.pane_ns = pane_ns
        self._number = np.full((capacity, panes), _NEVER, np.int64)
        self._counters = np.zeros((capacity, panes, counters), np.float32)
        self._registers = np.zeros((capacity, panes, hll.REGISTERS * distinct), np.uint8)

    @property
    def memory_bytes(self) -> int:
        """What the window holds, whether in use or not."""
        return self._number.nbytes + self._counters.nbytes + self._registers.nbytes

    def forget(self, slots: Slots) -> None:
        """Empties slots that go to a new key."""
        self._number[slots] = _NEVER

    def add(self, slots: Slots, counts: npt.NDArray[np.float32], time_ns: int) -> None:
        """Adds a row of counts to each of these distinct slots."""
        ring = self._open(slots, time_ns)
        self._counters[slots, ring] += counts

    def insert(self, slots: Slots, hashes: UInt64, time_ns: int) -> None:
        """Tells the registers of slots (which may repeat) of the things with these hashes; call
        `add` first.
        """
        register, rank = hll.places(hashes)
        ring = (time_ns // self.pane_ns) % self.panes
        at = (slots * self.panes + ring) * hll.REGISTERS + register
        np.maximum.at(self._registers.reshape(-1), at, rank)

    def totals(self, slots: Slots, time_ns: int) -> Float64:
        """The counters of each slot over the window, shape (slots, counters)."""
        live = self._live(slots, time_ns)
        total: Float64 = np.einsum("spc,sp->sc", self._counters[slots], live, dtype=np.float64)
        return total

    def distinct(self, slots: Slots, time_ns: int) -> Float64:
        """How many different things each slot saw in the window."""
        live = self._live(slots, time_ns)
        return hll.estimate((self._registers[slots] * live[:, :, None]).max(axis=1))

    def _live(self, slots: Slots, time_ns: int) -> npt.NDArray[np.bool_]:
        return self._number[slots] > time_ns // self.pane_ns - self.panes

    def _open(self, slots: Slots, time_ns: int) -> int:
        number = time_ns // self.pane_ns
        ring = int(number % self.panes)
        stale = slots[self._number[slots, ring] != number]
        if len(stale):
            self._number[stale, ring] = number
            self._counters[stale, ring] = 0
            self._registers[stale, ring] = 0
        return ring
