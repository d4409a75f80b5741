# SPDX-License-Identifier: Apache-2.0
"""What a device may reach: five policies, and windows of the week in which another one holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from fortress.devices.words import parse_mac, shown

Policy = Literal["full", "internet_only", "lan_only", "quarantined", "paused"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
MEANINGS: dict[Policy, str] = {
    "full": "everything",
    "internet_only": "the Internet and the gateway, no other device",
    "lan_only": "other devices and the gateway, no Internet",
    "quarantined": "the gateway alone, and its DNS",
    "paused": "nothing",
}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES, WEEK_MINUTES = 1440, 10_080
MOST_WINDOWS = 32


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end` (minutes of the local day) on the days it begins on, 0 is Monday.

    An end that is not after the start is on the next day: 21:00-07:00 is a night, 00:00-00:00 a
    whole day.
    """

    policy: Policy
    days: tuple[int, ...]
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy: {self.policy!r} is none of {', '.join(POLICIES)}")
        if not self.days or list(self.days) != sorted(set(self.days)):
            raise ValueError("days: one or more, each once, in order")
        if self.days[0] < 0 or self.days[-1] >= len(DAYS):
            raise ValueError("days: 0 (Monday) to 6")
        if not (0 <= self.start < DAY_MINUTES and 0 <= self.end < DAY_MINUTES):
            raise ValueError(f"start, end: 0 to {DAY_MINUTES - 1} minutes of a day")

    @property
    def minutes(self) -> int:
        """How long it lasts on a day of 24 hours."""
        return (self.end - self.start) % DAY_MINUTES or DAY_MINUTES


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """What holds for a device: `policy`, but in `windows` theirs.

    `forced` says that an operator wanted it although it may lock an operator out.
    """

    mac: str
    policy: Policy
    windows: tuple[Window, ...] = ()
    forced: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "mac", parse_mac(self.mac))
        if self.policy not in POLICIES:
            raise ValueError(f"policy: {self.policy!r} is none of {', '.join(POLICIES)}")
        if len(self.windows) > MOST_WINDOWS:
            raise ValueError(f"windows: at most {MOST_WINDOWS}")
        _check_apart(self.windows)

    @property
    def is_plain(self) -> bool:
        """Whether it forbids nothing at any time, so that it need not be kept."""
        return self.policy == "full" and not self.windows

    @property
    def used(self) -> frozenset[Policy]:
        """The policies that hold at one time or another."""
        return frozenset((self.policy, *(one.policy for one in self.windows)))


def parse_policy(text: str) -> Policy:
    """The policy that text names, with dashes or underscores; ValueError names all of them."""
    word = text.strip().lower().replace("-", "_").replace(" ", "_")
    for policy in POLICIES:
        if policy == word:
            return policy
    raise ValueError(f"{shown(text)} is no policy: {', '.join(told(one) for one in POLICIES)}")


def told(policy: Policy) -> str:
    """The policy as people write it."""
    return policy.replace("_", "-")


def parse_window(policy: str, when: str) -> Window:
    """The window that `when` names, such as `mon-fri,sun 21:00-07:00`; ValueError says what is
    wrong. Days may wrap (`fri-mon`), `daily` and no day at all are every day.
    """
    words = when.strip().lower().split()
    if not 1 <= len(words) <= 2:
        raise ValueError(f"{shown(when)} is no time: write it like 'mon-fri 21:00-07:00'")
    days = _days(words[0]) if len(words) == 2 else tuple(range(7))
    start, dash, end = words[-1].partition("-")
    if not dash:
        raise ValueError(f"{shown(words[-1])} is no span: write it like 21:00-07:00")
    return Window(parse_policy(policy), days, _minutes(start), _minutes(end))


def when_told(window: Window) -> str:
    """The window's days and times, as `parse_window` reads them."""
    return f"{_days_told(window.days)} {_clock(window.start)}-{_clock(window.end)}"


def _days(text: str) -> tuple[int, ...]:
    if text in ("daily", "all"):
        return tuple(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        at, stop = _day(first), _day(last) if dash else _day(first)
        found.add(at)
        while at != stop:
            at = (at + 1) % 7
            found.add(at)
    return tuple(sorted(found))


def _day(text: str) -> int:
    word = text.strip()[:3]
    known = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    if word not in DAYS or not known[DAYS.index(word)].startswith(text.strip()):
        raise ValueError(f"{shown(text)} is no day: {', '.join(DAYS)}, daily")
    return DAYS.index(word)


def _minutes(text: str) -> int:
    hours, colon, minutes = text.partition(":")
    digits = hours.isascii() and hours.isdigit() and minutes.isascii() and minutes.isdigit()
    if not colon or not digits or len(hours) > 2 or len(minutes) != 2:
        raise ValueError(f"{shown(text)} is no time of day: 00:00 to 24:00")
    total = int(hours) * 60 + int(minutes)
    if total > DAY_MINUTES or int(minutes) > 59:
        raise ValueError(f"{shown(text)} is no time of day: 00:00 to 24:00")
    return total % DAY_MINUTES


def _days_told(days: tuple[int, ...]) -> str:
    if len(days) == len(DAYS):
        return "daily"
    runs: list[list[int]] = []
    for day in days:
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(
        DAYS[run[0]] if len(run) == 1 else f"{DAYS[run[0]]}-{DAYS[run[-1]]}" for run in runs
    )


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _check_apart(windows: tuple[Window, ...]) -> None:
    """ValueError when two windows hold at once: then nobody could say which does."""
    spans = sorted(
        (day * DAY_MINUTES + one.start, day * DAY_MINUTES + one.start + one.minutes, number)
        for number, one in enumerate(windows)
        for day in one.days
    )
    wrapped = [(a + WEEK_MINUTES, b + WEEK_MINUTES, number) for a, b, number in spans[:1]]
    for (_, end, one), (start, _, other) in zip(spans, (*spans[1:], *wrapped), strict=True):
        if start < end:
            first, second = when_told(windows[one]), when_told(windows[other])
            raise ValueError(f"windows: {first} and {second} overlap")
