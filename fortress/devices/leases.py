# SPDX-License-Identifier: Apache-2.0
"""dnsmasq's lease file (dhcp-leasefile), line by line; broken lines are counted, not fatal.

An IPv4 line is `EXPIRY MAC ADDRESS NAME CLIENT-ID`; after a line `duid …` come IPv6 lines with an
IAID in the MAC's place and the client's DUID at the end (lease.c of dnsmasq writes them so).
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fortress.devices.words import clean, mac_of, parse_mac
from fortress.errors import InputError

MOST_BYTES = 4 << 20  # dnsmasq holds 1000 leases by default: a hundred times as many
_MOST_LINES = 50_000
_MOST_DAMAGES = 20


@dataclass(frozen=True, slots=True)
class Lease:
    """An address lent to a device until `until_s` seconds of 1970; 0 is for ever."""

    mac: str
    address: str
    name: str
    until_s: int


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases of a file, and what was wrong with it (the first lines, and how many)."""

    leases: tuple[Lease, ...] = ()
    damages: tuple[str, ...] = ()
    damaged: int = 0


def read_leases(file: Path) -> Leases:
    """The leases of a file, none where there is no file; InputError when it cannot be read."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return Leases()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        data = data[: data.rfind(b"\n", 0, MOST_BYTES) + 1]
        found = parse_leases(data.decode("utf-8", "replace").split("\n"))
        cut = f"larger than {MOST_BYTES} bytes: the rest is not read"
        return Leases(found.leases, (cut, *found.damages), found.damaged + 1)
    return parse_leases(data.decode("utf-8", "replace").split("\n"))


def parse_leases(lines: Iterable[str]) -> Leases:
    """The leases that lines name; a line that makes no sense is left out and told."""
    leases: list[Lease] = []
    damages: list[str] = []
    damaged = 0
    for number, line in enumerate(lines, 1):
        if number > _MOST_LINES:
            damaged += 1
            damages.append(f"more than {_MOST_LINES} lines: the rest is not read")
            break
        words = line.split()
        if not words or words[0] == "duid":
            continue
        try:
            lease = _parsed(words)
        except ValueError as error:
            damaged += 1
            if len(damages) < _MOST_DAMAGES:
                damages.append(f"line {number}: {error}")
            continue
        if lease is not None:
            leases.append(lease)
    return Leases(tuple(leases), tuple(damages), damaged)


def file_mark(file: Path) -> tuple[int, int, int] | None:
    """What changes when the file does, None while there is none."""
    try:
        told = os.stat(file)  # noqa: PTH116 - one call for all three
    except OSError:
        return None
    return told.st_ino, told.st_mtime_ns, told.st_size


def _parsed(words: list[str]) -> Lease | None:
    """The lease of a line, None where it tells no MAC; ValueError where it makes no sense."""
    if len(words) < 4:
        raise ValueError(f"{len(words)} words, not at least 4")
    expiry, key, address, name, *rest = words
    if not expiry.isascii() or not expiry.isdigit() or len(expiry) > 12:
        raise ValueError("no time at which it ends")
    until_s = int(expiry)
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        raise ValueError("no address") from None
    if getattr(known, "scope_id", None):
        raise ValueError("an address with a zone")
    name = "" if name == "*" else clean(name)
    if known.version == 6:
        mac = _mac_of_duid(rest[0] if rest else "")
        return Lease(mac, str(known), name, until_s) if mac else None
    if re.fullmatch(r"[0-9a-f]{2}-([0-9a-f]{2}(:[0-9a-f]{2})*)?", key.lower()):
        return None  # a hardware type is written before what is not Ethernet
    return Lease(parse_mac(key), str(known), name, until_s)


def _mac_of_duid(text: str) -> str:
    """The MAC inside a DUID of type 1 (with time) or 3 (without; RFC 8415, 11), or nothing."""
    with suppress(ValueError):
        duid = bytes.fromhex(text.replace(":", ""))
        if duid[:4] == b"\0\1\0\1" and len(duid) == 14:
            return mac_of(duid[8:])
        if duid[:4] == b"\0\3\0\1" and len(duid) == 10:
            return mac_of(duid[4:])
    return ""
