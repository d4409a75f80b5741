# SPDX-License-Identifier: Apache-2.0
"""Which scores are worth an event, and how long to wait when a replay keeps the capture's time."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

from fortress.verdict import Score

SCORE_STEP = 0.01  # a score that moved less is not told
SCORE_EVERY_NS = 60_000_000_000  # unless the last one is this old
LONGEST_WAIT_S = (
    60.0  # a longer silence in a capture is cut to this, so that no clock jump hangs us
)


class ScoreGate:
    """Lets a score pass when it moved, changed its status, or none passed for a minute."""

    def __init__(self) -> None:
        self._told: Score | None = None

    def passes(self, score: Score) -> bool:
        """Whether this score is worth an event; then it is what the next one is compared with."""
        told = self._told
        worth = (
            told is None
            or score.status is not told.status
            or abs(score.value - told.value) >= SCORE_STEP - 1e-12
            or not 0 <= score.time_ns - told.time_ns < SCORE_EVERY_NS
        )
        if worth:
            self._told = score
        return worth


class Pace:
    """Holds a replay back to the capture's own time."""

    def __init__(self, stop: Event, clock: Callable[[], float] = time.monotonic) -> None:
        self._stop = stop
        self._clock = clock
        self._offset_s: float | None = None

    def wait_until(self, capture_ns: int) -> None:
        """Return when as much time has passed as in the capture, or when asked to stop."""
        due_s = capture_ns / 1e9
        if self._offset_s is None:
            self._offset_s = self._clock() - due_s
        wait_s = due_s + self._offset_s - self._clock()
        if not -LONGEST_WAIT_S <= wait_s <= LONGEST_WAIT_S:
            wait_s = min(max(wait_s, 0.0), LONGEST_WAIT_S)
            self._offset_s = self._clock() + wait_s - due_s
        if wait_s > 0:
            self._stop.wait(wait_s)
