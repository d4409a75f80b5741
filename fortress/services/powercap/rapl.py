# SPDX-License-Identifier: Apache-2.0
"""RAPL's energy counters, from files as the kernel shows them under /sys/class/powercap.

Each domain is a folder with `name`, `energy_uj` and `max_energy_range_uj` (Documentation/power/
powercap); counters wrap there. Only root may open `energy_uj`: read fast and fine it tells what
other programs compute (CVE-2020-8694), which is why averages of a second are all that leaves here.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fortress.errors import InputError

POWERCAP = Path("/sys/class/powercap")
MOST_WATTS = 2000.0  # of a domain; above what one socket draws: the counter was set back, not worn
LONGEST_S = 30.0  # a longer pause (the machine slept) may hide that a counter wrapped twice
_ZONE = re.compile(r"intel-rapl:(\d+)(?::\d+)?")  # AMD's have the same name; mmio ones are copies
_KNOWN = re.compile(r"package-\d+|core|uncore|dram|psys")


@dataclass(frozen=True, slots=True)
class Domain:
    """A counter that is open: `package-0`, `package-0/core`, `package-0/dram`, `psys` …"""

    name: str
    fd: int
    range_uj: int


@dataclass(frozen=True, slots=True)
class Average:
    """What each domain drew on average over the last `seconds`."""

    seconds: float
    watts: Mapping[str, float]


def find(root: Path = POWERCAP) -> tuple[Domain, ...]:
    """Every domain, its counter open; InputError says what is missing or who may read it."""
    found: list[Domain] = []
    zones = sorted(path for path in root.glob("intel-rapl:*") if _ZONE.fullmatch(path.name))
    try:
        for zone in zones:
            name = _name(root, zone)
            if name:
                range_uj = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
                fd = os.open(zone / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)
                found.append(Domain(name, fd, range_uj))
    except PermissionError as error:
        close(found)
        raise InputError(f"{error.filename}: only root may read it: run this as root") from None
    except (OSError, ValueError) as error:
        close(found)
        raise InputError(f"{root}: RAPL cannot be read: {error}") from error
    if not found:
        raise InputError(f"{root}: no RAPL here (intel-rapl:*): this processor or machine has none")
    return tuple(found)


def close(domains: list[Domain] | tuple[Domain, ...]) -> None:
    """Close the counters."""
    for domain in domains:
        os.close(domain.fd)


class Averages:
    """Turns counters into watts, one average for each call; a counter that wraps goes on."""

    def __init__(
        self, domains: tuple[Domain, ...], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._domains = domains
        self._monotonic_s = monotonic_s
        self._when_s, self._before = self._read()

    def next(self) -> Average | None:
        """Averages since the last call; None when there is no honest number.

        That is after a pause too long, and for a domain whose counter cannot be read or has jumped.
        """
        when_s, now = self._read()
        seconds = when_s - self._when_s
        before, self._before, self._when_s = self._before, now, when_s
        if not 0 < seconds <= LONGEST_S:
            return None
        watts: dict[str, float] = {}
        for domain in self._domains:
            first_uj, last_uj = before.get(domain.name), now.get(domain.name)
            if first_uj is None or last_uj is None:
                continue
            used_uj = last_uj - first_uj
            used_uj += domain.range_uj if used_uj < 0 else 0
            if 0 <= used_uj / 1e6 / seconds <= MOST_WATTS:
                watts[domain.name] = used_uj / 1e6 / seconds
        return Average(seconds, watts) if watts else None

    def _read(self) -> tuple[float, dict[str, int]]:
        values: dict[str, int] = {}
        for domain in self._domains:
            try:
                values[domain.name] = int(os.pread(domain.fd, 32, 0))
            except (OSError, ValueError):  # ENODATA while a socket is offline
                continue
        return self._monotonic_s(), values


def total_watts(watts: Mapping[str, float]) -> float:
    """The power of the machine as far as RAPL sees it: packages and memory.

    core and uncore are parts of their package, psys holds it all once more.
    """
    return sum(value for name, value in watts.items() if re.fullmatch(r"package-\d+(/dram)?", name))


def _name(root: Path, zone: Path) -> str:
    """`package-0`, or `package-0/core` for what is inside; "" for a domain we do not know."""
    own = (zone / "name").read_text(encoding="ascii").strip()
    if not _KNOWN.fullmatch(own):
        return ""
    if zone.name.count(":") == 1:
        return own
    parent = root / zone.name.rpartition(":")[0]
    return f"{(parent / 'name').read_text(encoding='ascii').strip()}/{own}"
