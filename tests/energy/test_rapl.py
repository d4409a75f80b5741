"""RAPL's counters become watts, also where they wrap; nothing is said where nothing is known."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fortress.errors import InputError
from fortress.services.powercap.rapl import LONGEST_S, Averages, Domain, close, find, total_watts
from tests.energy.world import RANGE_UJ, count, powercap


class Clock:
    """Monotonic seconds that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return powercap(tmp_path / "powercap", energy_uj=5_000_000)


@pytest.fixture
def domains(folder: Path) -> Iterator[tuple[Domain, ...]]:
    found = find(folder)
    yield found
    close(found)


def test_packages_their_parts_and_psys_are_found_by_name(domains: tuple[Domain, ...]) -> None:
    names = [domain.name for domain in domains]
    assert names == ["package-0", "package-0/core", "package-0/uncore", "package-0/dram", "psys"]
    assert {domain.range_uj for domain in domains} == {RANGE_UJ}


def test_other_zones_are_no_domains(folder: Path) -> None:
    powercap(folder, {"intel-rapl-mmio:0": "package-0", "dtpm": "cpu0", "intel-rapl:7": "battery"})
    found = find(folder)
    close(found)
    assert len(found) == 5


def test_watts_are_what_was_used_over_the_time_it_took(
    folder: Path, domains: tuple[Domain, ...]
) -> None:
    clock = Clock()
    averages = Averages(domains, clock)
    clock.now_s += 2
    count(folder, "intel-rapl:0", 5_000_000 + 14_000_000)
    count(folder, "intel-rapl:0:2", 5_000_000 + 1_000_000)
    told = averages.next()
    assert told is not None
    assert told.seconds == 2
    assert told.watts == {
        "package-0": 7.0,
        "package-0/core": 0.0,
        "package-0/uncore": 0.0,
        "package-0/dram": 0.5,
        "psys": 0.0,
    }
    assert total_watts(told.watts) == 7.5


def test_a_counter_that_wraps_goes_on(folder: Path, domains: tuple[Domain, ...]) -> None:
    clock = Clock()
    count(folder, "intel-rapl:0", RANGE_UJ - 3_000_000)
    averages = Averages(domains, clock)
    clock.now_s += 1
    count(folder, "intel-rapl:0", RANGE_UJ + 4_000_000)
    told = averages.next()
    assert told is not None
    assert told.watts["package-0"] == pytest.approx(7.0)


def test_a_counter_that_was_set_back_gives_no_number(
    folder: Path, domains: tuple[Domain, ...]
) -> None:
    clock = Clock()
    count(folder, "intel-rapl:0", RANGE_UJ // 2)
    averages = Averages(domains, clock)
    clock.now_s += 1
    count(folder, "intel-rapl:0", 0)
    told = averages.next()
    assert told is not None
    assert "package-0" not in told.watts
    clock.now_s += 1
    count(folder, "intel-rapl:0", 8_000_000)
    told = averages.next()
    assert told is not None
    assert told.watts["package-0"] == 8.0


def test_a_long_pause_gives_no_number(folder: Path, domains: tuple[Domain, ...]) -> None:
    clock = Clock()
    averages = Averages(domains, clock)
    clock.now_s += LONGEST_S + 1
    assert averages.next() is None
    clock.now_s += 1
    assert averages.next() is not None


def test_a_counter_that_cannot_be_read_for_a_while_is_left_out(
    folder: Path, domains: tuple[Domain, ...]
) -> None:
    clock = Clock()
    averages = Averages(domains, clock)
    (folder / "intel-rapl:0/energy_uj").write_text("")
    clock.now_s += 1
    told = averages.next()
    assert told is not None
    assert "package-0" not in told.watts
    assert "package-0/core" in told.watts


def test_a_machine_without_rapl_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no RAPL here"):
        find(tmp_path)


@pytest.mark.parametrize("file", ["energy_uj", "name", "max_energy_range_uj"])
def test_a_file_that_is_missing_is_named(folder: Path, file: str) -> None:
    (folder / "intel-rapl:0" / file).unlink()
    opened = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - as text
    with pytest.raises(InputError, match=f"intel-rapl:0/{file}"):
        find(folder)
    assert len(os.listdir("/proc/self/fd")) == opened  # noqa: PTH208


def test_a_range_that_is_no_number_is_told(folder: Path) -> None:
    (folder / "intel-rapl:0/max_energy_range_uj").write_text("much")
    with pytest.raises(InputError, match="'much'"):
        find(folder)
