# SPDX-License-Identifier: Apache-2.0
"""How much may be done in a minute: a sliding window of what was done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

WINDOW_S = 60.0


class Budget:
    """At most `most` in any WINDOW_S seconds."""

    def __init__(self, most: int, clock_s: Callable[[], float]) -> None:
        self._most, self._clock_s = most, clock_s
        self._spent: deque[float] = deque()

    def left(self) -> int:
        """How many more may be done now."""
        oldest_s = self._clock_s() - WINDOW_S
        while self._spent and self._spent[0] <= oldest_s:
            self._spent.popleft()
        return self._most - len(self._spent)

    def spend(self) -> bool:
        """Whether one more may be done; if so it is counted."""
        if self.left() <= 0:
            return False
        self._spent.append(self._clock_s())
        return True
