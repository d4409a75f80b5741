# SPDX-License-Identifier: Apache-2.0
"""Refused passwords in connections that are still open.

A server that refuses a password and asks again says a little more, a second or three later (the
pause that PAM makes), and goes on. Whoever is let in hears much more at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fortress.features.keys import Bool, UInt64

REMEMBERED = 256
_NOBODY = np.iinfo(np.uint64).max
Int64 = npt.NDArray[np.int64]


class Refusals:
    """The last open connections that may be asking for a password, and which were refused one."""

    def __init__(self) -> None:
        self._flows = np.full(REMEMBERED, _NOBODY, np.uint64)
        self._said = np.zeros(REMEMBERED, np.int64)
        self._told = np.zeros(REMEMBERED, np.int64)  # what was said when a refusal was told
        self._next = 0
        self._order: npt.NDArray[np.intp] | None = None  # of the flows, while they stay

    def observe(self, flow: UInt64, said: Int64, asking: Bool, most: Int64) -> tuple[Bool, Int64]:
        """Of rows with distinct flows: whether this one is a flow's first refusal, and what the
        server had said when one was told of a flow that does not ask any more (else 0).

        A refusal is at least a byte and at most `most` bytes more than in an earlier row.
        """
        place = self._places(flow)
        known = place >= 0
        more = said - self._said[place]
        told = self._told[place] * known
        refused = asking & known & (told == 0) & (more > 0) & (more <= most)
        over = known & ~asking
        self._said[place[known]] = said[known]
        self._told[place[refused]] = said[refused]
        if over.any():
            self._flows[place[over]] = _NOBODY
            self._order = None
        begins = asking & ~known
        if begins.any():
            self._remember(flow[begins], said[begins])
        return refused, told * over

    def clear(self) -> None:
        """Forgets every connection."""
        self._flows[:] = _NOBODY
        self._order = None

    def _places(self, flow: UInt64) -> npt.NDArray[np.intp]:
        order = self._order
        if order is None:
            order = self._order = np.argsort(self._flows, kind="stable")
        at = np.minimum(np.searchsorted(self._flows, flow, sorter=order), REMEMBERED - 1)
        return np.where(self._flows[order[at]] == flow, order[at], -1)

    def _remember(self, flow: UInt64, said: Int64) -> None:
        """In place of those remembered longest."""
        self._order = None
        flow, said = flow[-REMEMBERED:], said[-REMEMBERED:]
        place = (self._next + np.arange(len(flow))) % REMEMBERED
        self._flows[place], self._said[place], self._told[place] = flow, said, 0
        self._next = (self._next + len(flow)) % REMEMBERED
