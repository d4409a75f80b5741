# SPDX-License-Identifier: Apache-2.0
"""How much of the traffic is looked at when there is too much: a share of the flows, whole ones.

The share is halved while packets are lost or the loop is behind, and doubled again after some
seconds of calm. A loop that catches up is not behind for want of time: one that has just begun has
what came while it began. Which flows are left out is decided by their keyed hash, in the core.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

BEHIND_S = 0.5  # the loop has not caught up to this within a second
CALM_S = 0.25
LOST = 1e-3  # of the packets: more say that the rings are too full
CALM_SECONDS = 5  # in a row, before more is looked at
BUSY = 0.6  # of a second spent at work: with twice the flows there would be no time left
LEAST = 1 / 64


@dataclass(frozen=True, slots=True)
class Second:
    """What a second was like: the least delay of a tick, packets seen and lost, the loop's share of
    time.
    """

    lag_s: float
    packets: int
    drops: int
    busy: float


class Shedding:
    """Says after each second what share of flows is to be looked at."""

    def __init__(self) -> None:
        self.share = 1.0
        self.why = ""
        self._calm = 0
        self._lag_s = math.inf

    def after(self, second: Second) -> bool:
        """Take a second; True when `share` has changed, and `why` says for what reason."""
        before = self.share
        too_full = second.drops > LOST * (second.packets + second.drops)
        catches_up = second.lag_s <= self._lag_s - CALM_S
        self._lag_s = second.lag_s
        if too_full or (second.lag_s > BEHIND_S and not catches_up):
            self._calm = 0
            self.share = max(self.share / 2, LEAST)
            self.why = (
                f"{second.drops:,} packets found no room in the rings"
                if too_full
                else f"the loop was {second.lag_s:.1f} s behind"
            )
        elif self.share < 1.0 and second.lag_s <= CALM_S and second.busy < BUSY:
            self._calm += 1
            if self._calm >= CALM_SECONDS:
                self._calm = 0
                self.share = min(self.share * 2, 1.0)
                self.why = f"{CALM_SECONDS} calm seconds"
        else:
            self._calm = 0
        return self.share != before
