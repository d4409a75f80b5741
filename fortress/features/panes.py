# SPDX-License-Identifier: Apache-2.0
"""Sliding windows over capture time: rings of panes of counters and registers for each slot of a
table.

A window of `panes` × `pane_ns` moves on by a pane at a time. Nothing is swept: a pane that has
fallen out of its window is cleared when its slot is next written, and left out when it is read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fortress.features import hll
from fortress.features.keys import Slots, UInt64

SECOND = 1_000_000_000
_NEVER = np.iinfo(np.int64).min
Float64 = npt.NDArray[np.float64]


class Span(NamedTuple):
    """The length of one window."""

    panes: int
    pane_ns: int


MINUTE = Span(4, 15 * SECOND)  # 45 to 60 s
TWO_MINUTES = Span(8, 15 * SECOND)
TEN_MINUTES = Span(5, 120 * SECOND)
HOUR = Span(4, 900 * SECOND)  # 45 to 60 min


class Panes:
    """Counters (float32) and, where `distinct`, 128 HyperLogLog registers for each slot, over each
    span.

    Memory is capacity × panes of all spans × (8 + 4·counters [+ 128]) bytes.
    """

    def __init__(self, capacity: int, counters: int, *spans: Span, distinct: bool = False) -> None:
        panes = sum(span.panes for span in spans)
        self._pane_ns = np.array([span.pane_ns for span in spans])
        self._panes = np.array([span.panes for span in spans])
        self._begins = np.concatenate(([0], np.cumsum(self._panes)[:-1]))
        self._numbers = np.full((capacity, panes), _NEVER, np.int64)
        self._counters = np.zeros((capacity, panes, counters), np.float32)
        self._registers = np.zeros((capacity, panes, hll.REGISTERS * distinct), np.uint8)

    @property
    def memory_bytes(self) -> int:
        """What the windows hold, whether in use or not."""
        return self._numbers.nbytes + self._counters.nbytes + self._registers.nbytes

    def forget(self, slots: Slots) -> None:
        """Empties slots that go to a new key."""
        self._numbers[slots] = _NEVER

    def add(self, slots: Slots, counts: npt.NDArray[np.float32], ns: int) -> None:
        """Adds a row of counts to each of these distinct slots, in every span."""
        number, pane = self._now(ns)
        at = slots[:, None]
        slot, span = np.nonzero(self._numbers[at, pane] != number)
        if len(slot):
            stale = slots[slot], pane[span]
            self._numbers[stale] = number[span]
            self._counters[stale] = 0
            self._registers[stale] = 0
        self._counters[at, pane] += counts[:, None, :]

    def insert(self, slots: Slots, hashes: UInt64, ns: int) -> npt.NDArray[np.bool_]:
        """Tells the registers of slots (which may repeat) of things with these hashes, after `add`.

        Returns which of them were news to the present pane of the first span.
        """
        register, rank = hll.places(hashes)
        _, pane = self._now(ns)
        registers, panes = self._registers.reshape(-1), self._numbers.shape[1]
        news = rank > registers[(slots * panes + pane[0]) * hll.REGISTERS + register]
        for one in pane:
            np.maximum.at(registers, (slots * panes + one) * hll.REGISTERS + register, rank)
        return np.asarray(news, np.bool_)

    def totals(self, slots: Slots, ns: int) -> Float64:
        """The counters of each slot, shape (spans, slots, counters)."""
        live = self._counters[slots] * self._live(slots, ns)[:, :, None]
        total = np.add.reduceat(live, self._begins, axis=1, dtype=np.float64)
        return np.asarray(total.swapaxes(0, 1))

    def distinct(self, slots: Slots, ns: int) -> Float64:
        """How many different things each slot saw, shape (spans, slots)."""
        live = self._registers[slots] * self._live(slots, ns)[:, :, None]
        joined = np.maximum.reduceat(live, self._begins, axis=1)
        told = hll.estimate(joined.reshape(-1, hll.REGISTERS))
        return np.asarray(told.reshape(len(slots), -1).T)

    def _now(self, ns: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        number = ns // self._pane_ns
        return number, self._begins + number % self._panes

    def _live(self, slots: Slots, ns: int) -> npt.NDArray[np.bool_]:
        oldest = np.repeat(ns // self._pane_ns - self._panes, self._panes)
        return np.asarray(self._numbers[slots] > oldest, np.bool_)
