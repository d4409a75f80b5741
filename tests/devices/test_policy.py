"""Policies and the windows of the week in which they hold, clocks that change included."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.devices.policy import (
    DAY_MINUTES,
    POLICIES,
    DeviceRule,
    Window,
    parse_policy,
    parse_window,
    told,
    when_told,
)
from fortress.devices.schedule import BoxZone, in_force, next_change_s

MAC = "02:00:5e:00:77:66"
BERLIN, LORD_HOWE = ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe")
NIGHTS = DeviceRule(MAC, "full", (parse_window("paused", "sun-thu 21:00-07:00"),))


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    """Seconds of 1970 of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def utc(text: str) -> float:
    """Seconds of 1970 of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "days", "start", "end"),
    [
        ("mon-fri 21:00-07:00", (0, 1, 2, 3, 4), 1260, 420),
        ("Sat,Sunday 13:00-14:30", (5, 6), 780, 870),
        ("fri-mon 00:00-24:00", (0, 4, 5, 6), 0, 0),
        ("daily 8:00-9:00", tuple(range(7)), 480, 540),
        ("22:00-06:00", tuple(range(7)), 1320, 360),
    ],
)
def test_a_window_is_written_as_days_and_times(
    text: str, days: tuple[int, ...], start: int, end: int
) -> None:
    window = parse_window("paused", text)
    assert (window.days, window.start, window.end) == (days, start, end)
    assert parse_window("paused", when_told(window)) == window


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no time"),
        ("mon fri 21:00-07:00", "is no time"),
        ("mon 21:00", "is no span"),
        ("mon 25:00-07:00", "no time of day"),
        ("mon 21:60-07:00", "no time of day"),
        ("mon 24:01-07:00", "no time of day"),
        ("mon ٢١:00-07:00", "no time of day"),
        ("someday 21:00-07:00", "is no day"),
        ("monkey 21:00-07:00", "is no day"),
        ("mon--fri 21:00-07:00", "is no day"),
    ],
)
def test_a_window_that_makes_no_sense_is_told_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_window("paused", text)


def test_policies_are_written_with_dashes_or_underscores_and_told_with_dashes() -> None:
    assert [parse_policy(told(one)) for one in POLICIES] == list(POLICIES)
    assert parse_policy("LAN_only") == "lan_only"
    with pytest.raises(ValueError, match="no policy: full, internet-only, lan-only, quarantined"):
        parse_policy("off\x1b")


@pytest.mark.parametrize(
    "windows",
    [
        ("mon 08:00-10:00", "mon 09:59-11:00"),
        ("mon 21:00-07:00", "tue 06:00-08:00"),
        ("sun 21:00-07:00", "mon 00:00-01:00"),
        ("daily 00:00-24:00", "wed 12:00-12:01"),
        ("mon 08:00-20:00", "mon 09:00-10:00"),
    ],
)
def test_windows_that_overlap_are_refused_and_both_are_named(windows: tuple[str, str]) -> None:
    for order in (windows, windows[::-1]):
        with pytest.raises(ValueError, match="overlap") as caught:
            DeviceRule(MAC, "full", tuple(parse_window("paused", one) for one in order))
        assert all(when_told(parse_window("paused", one)) in str(caught.value) for one in order)


def test_windows_may_touch_and_each_may_have_a_policy_of_its_own() -> None:
    windows = (
        parse_window("lan-only", "mon-fri 14:00-16:00"),
        parse_window("paused", "daily 21:00-07:00"),
        parse_window("internet-only", "mon-fri 16:00-21:00"),
    )
    rule = DeviceRule(MAC, "full", windows)
    moments = {"13:59": "full", "14:00": "lan_only", "16:00": "internet_only", "21:00": "paused"}
    for clock, policy in moments.items():
        assert in_force(rule, at(f"2026-11-23 {clock}"), BERLIN) == policy, clock


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    friday_evening, sunday_evening = at("2026-11-27 22:00"), at("2026-11-29 22:00")
    assert in_force(NIGHTS, friday_evening, BERLIN) == "full"
    assert in_force(NIGHTS, at("2026-11-28 06:59"), BERLIN) == "full"
    assert in_force(NIGHTS, sunday_evening, BERLIN) == "paused"
    assert in_force(NIGHTS, at("2026-11-30 06:59"), BERLIN) == "paused"
    assert in_force(NIGHTS, at("2026-11-30 07:00"), BERLIN) == "full"
    assert next_change_s(NIGHTS, friday_evening, BERLIN) == at("2026-11-29 21:00")
    assert next_change_s(NIGHTS, sunday_evening, BERLIN) == at("2026-11-30 07:00")


def test_a_night_is_an_hour_shorter_when_clocks_go_forward_and_longer_when_they_go_back() -> None:
    begins, ends = at("2026-03-28 21:00"), at("2026-03-29 07:00")
    rule = DeviceRule(MAC, "full", (parse_window("paused", "daily 21:00-07:00"),))
    assert ends - begins == 9 * 3600
    assert next_change_s(rule, begins, BERLIN) == ends
    begins, ends = at("2026-10-24 21:00"), at("2026-10-25 07:00")
    assert ends - begins == 11 * 3600
    assert next_change_s(rule, begins, BERLIN) == ends


def test_a_time_that_clocks_skip_is_the_moment_of_the_change() -> None:
    change = utc("2026-03-29 01:00")
    begins_in_it = DeviceRule(MAC, "full", (parse_window("paused", "daily 02:30-03:15"),))
    assert in_force(begins_in_it, change - 1, BERLIN) == "full"
    assert in_force(begins_in_it, change, BERLIN) == "paused"
    assert next_change_s(begins_in_it, change, BERLIN) == change + 900
    ends_in_it = DeviceRule(MAC, "full", (parse_window("paused", "daily 01:00-02:30"),))
    assert next_change_s(ends_in_it, change - 60, BERLIN) == change
    assert in_force(ends_in_it, change, BERLIN) == "full"
    inside = DeviceRule(MAC, "full", (parse_window("paused", "daily 02:10-02:50"),))
    assert in_force(inside, change, BERLIN) == "full", "that day it does not happen"


def test_a_time_that_comes_twice_is_the_first_one() -> None:
    rule = DeviceRule(MAC, "full", (parse_window("paused", "daily 01:30-02:30"),))
    assert in_force(rule, at("2026-10-25 02:29", fold=0), BERLIN) == "paused"
    assert in_force(rule, at("2026-10-25 02:29", fold=1), BERLIN) == "full"
    assert next_change_s(rule, at("2026-10-25 02:00"), BERLIN) == utc("2026-10-25 00:30")


def test_a_change_of_half_an_hour_is_found_as_well() -> None:
    change = utc("2026-10-03 15:30")  # 02:00 becomes 02:30
    rule = DeviceRule(MAC, "full", (parse_window("paused", "daily 02:15-03:00"),))
    assert in_force(rule, change - 1, LORD_HOWE) == "full"
    assert in_force(rule, change, LORD_HOWE) == "paused"
    assert next_change_s(rule, change, LORD_HOWE) == change + 1800


WINDOWS = st.builds(
    Window,
    st.just("paused"),
    st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    st.integers(0, DAY_MINUTES - 1),
    st.integers(0, DAY_MINUTES - 1),
)


@given(WINDOWS, st.integers(1_700_000_000, 1_900_000_000), st.sampled_from([BERLIN, LORD_HOWE]))
def test_a_policy_holds_until_its_next_change_and_not_longer(
    window: Window, now_s: int, zone: ZoneInfo
) -> None:
    rule = DeviceRule(MAC, "full", (window,))
    change_s = next_change_s(rule, now_s, zone)
    assert change_s is not None
    assert now_s < change_s <= now_s + 8 * 86_400
    now = in_force(rule, now_s, zone)
    assert in_force(rule, change_s - 1, zone) == now or change_s - 1 < now_s
    whole_days = window.minutes == DAY_MINUTES
    assert whole_days or in_force(rule, change_s, zone) != now


def test_a_rule_that_forbids_nothing_has_no_next_change() -> None:
    rule = DeviceRule(MAC, "full")
    assert rule.is_plain
    assert next_change_s(rule, 0, BERLIN) is None


def test_the_zone_is_the_boxs_and_follows_its_file(tmp_path: Path) -> None:
    file = tmp_path / "localtime"
    zone = BoxZone(file, {})
    assert zone.now() is UTC
    shelf = Path("/usr/share/zoneinfo")
    file.symlink_to(shelf / "Europe/Berlin")
    summer = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert summer.astimezone(zone.now()).hour == 14
    file.unlink()
    file.symlink_to(shelf / "Asia/Tokyo")
    assert summer.astimezone(zone.now()).hour == 21
    file.unlink()
    file.write_bytes(b"no zone")
    assert zone.now() is UTC
    assert summer.astimezone(BoxZone(file, {"TZ": ":Asia/Tokyo"}).now()).hour == 21
    assert BoxZone(file, {"TZ": "No/Where"}).now() is UTC
