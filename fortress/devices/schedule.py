# SPDX-License-Identifier: Apache-2.0
"""Which policy holds at a moment, and when that changes: local times made into moments.

A time that a change of clocks skips is the moment of the change; one that comes twice is the first
of the two, for starts and ends alike, so that windows which touch still do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fortress.devices.policy import DAY_MINUTES, DeviceRule, Policy

LOCALTIME = Path("/etc/localtime")


def in_force(rule: DeviceRule, now_s: float, zone: tzinfo) -> Policy:
    """The policy that holds at a moment (seconds of 1970)."""
    for start_s, end_s, policy in _spans(rule, now_s, zone, ahead_days=0):
        if start_s <= now_s < end_s:
            return policy
    return rule.policy


def next_change_s(rule: DeviceRule, now_s: float, zone: tzinfo) -> float | None:
    """The next moment at which a window begins or ends, None when there are no windows."""
    edges = (
        edge
        for start_s, end_s, _ in _spans(rule, now_s, zone, ahead_days=8)
        for edge in (start_s, end_s)
        if edge > now_s
    )
    return min(edges, default=None)


class BoxZone:
    """The machine's time zone, read anew when its file has changed."""

    def __init__(self, file: Path = LOCALTIME, environ: Mapping[str, str] | None = None) -> None:
        self._file = file
        self._named = (os.environ if environ is None else environ).get("TZ", "").lstrip(":")
        self._mark: object = None
        self._zone: tzinfo = UTC

    def now(self) -> tzinfo:
        """The zone that holds now: $TZ's, else /etc/localtime's, else UTC."""
        if self._named:
            try:
                return ZoneInfo(self._named)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                self._named = ""  # as the C library does: fall through
        try:
            told = self._file.stat()
            mark = (told.st_ino, told.st_mtime_ns, told.st_dev)
            if mark != self._mark:
                with self._file.open("rb") as opened:
                    self._zone = ZoneInfo.from_file(opened, key="box")
                self._mark = mark
        except (OSError, ValueError):
            self._mark, self._zone = None, UTC
        return self._zone


def moment_s(day: date, minutes: int, zone: tzinfo) -> float:
    """The moment (seconds of 1970) at which clocks show a time of a local day."""
    whole = day + timedelta(days=minutes // DAY_MINUTES)
    rest = minutes % DAY_MINUTES
    local = datetime(whole.year, whole.month, whole.day, rest // 60, rest % 60, tzinfo=zone)
    first_s, second_s = local.timestamp(), local.replace(fold=1).timestamp()
    if second_s >= first_s:  # there once; or twice, and this is the first
        return first_s
    # Clocks skip it: the offset before the change reads it late, the one after early.
    low, high = int(second_s), int(first_s)
    before = datetime.fromtimestamp(low, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return float(high)


def _spans(
    rule: DeviceRule, now_s: float, zone: tzinfo, *, ahead_days: int
) -> Iterator[tuple[float, float, Policy]]:
    """Start, end and policy of windows that begin between yesterday and so many days ahead."""
    if not rule.windows:
        return
    today = datetime.fromtimestamp(now_s, zone).date()
    for shift in range(-2, ahead_days + 2):
        day = today + timedelta(days=shift)
        for window in rule.windows:
            if day.weekday() in window.days:
                start_s = moment_s(day, window.start, zone)
                end_s = moment_s(day, window.start + window.minutes, zone)
                if start_s < end_s:
                    yield start_s, end_s, window.policy
