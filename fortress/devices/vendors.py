# SPDX-License-Identifier: Apache-2.0
"""Who made a device, by the first bits of its MAC: IEEE's tables as Debian's ieee-data has them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from fortress.devices.words import clean, is_randomized

FOLDER = Path("/usr/share/ieee-data")
# Longest assignments first: MA-S has 36 bits, MA-M 28, MA-L 24.
FILES = (("oui36.csv", 36), ("mam.csv", 28), ("oui.csv", 24))
_MOST_BYTES = 32 << 20
_MOST_ROWS = 200_000


class Vendors:
    """Makers by prefix; read at the first question, nothing known where there are no tables."""

    def __init__(self, folder: Path | None = FOLDER) -> None:
        self._folder = folder
        self._tables: list[tuple[int, dict[int, str]]] | None = None
        self.trouble = ""

    def of(self, mac: str) -> str:
        """The maker of a MAC, nothing where it is made up or not in the tables."""
        if is_randomized(mac):
            return ""
        number = int(mac.replace(":", ""), 16)
        for bits, makers in self._read():
            if (maker := makers.get(number >> 48 - bits)) is not None:
                return maker
        return ""

    def _read(self) -> list[tuple[int, dict[int, str]]]:
        if self._tables is None:
            self._tables = []
            for name, bits in FILES if self._folder is not None else ():
                file = (self._folder or Path()) / name
                try:
                    if file.stat().st_size > _MOST_BYTES:
                        self.trouble = f"{file}: larger than {_MOST_BYTES >> 20} MiB: not read"
                        continue
                    with file.open(encoding="utf-8", errors="replace", newline="") as opened:
                        self._tables.append((bits, parse_makers(opened, bits)))
                except FileNotFoundError:
                    continue
                except (OSError, csv.Error) as error:
                    self.trouble = f"{file}: {error}"
        return self._tables


def parse_makers(lines: Iterable[str], bits: int) -> dict[int, str]:
    """Makers by prefix from IEEE's rows `Registry,Assignment,Organization Name,…`."""
    makers: dict[int, str] = {}
    names: dict[str, str] = {}  # many prefixes of one maker share one string
    for number, row in enumerate(csv.reader(lines)):
        if number > _MOST_ROWS:
            break
        if len(row) < 3 or len(row[1]) != bits // 4:
            continue
        try:
            prefix = int(row[1], 16)
        except ValueError:
            continue
        name = clean(row[2])
        if name and name != "IEEE Registration Authority":  # holds what others have a part of
            makers[prefix] = names.setdefault(name, name)
    return makers
