# SPDX-License-Identifier: Apache-2.0
"""What a client's DHCPv4 message tells of it: RFC 2131 (layout) and RFC 2132 (options)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

from fortress.devices.words import clean, mac_of

_REQUEST, _ETHERNET = 1, 1
_COOKIE = b"\x63\x82\x53\x63"
_OPTIONS_AT, _FILE_AT, _SNAME_AT = 240, 108, 44
_PAD, _END, _OVERLOAD = 0, 255, 52
_HOST_NAME, _REQUESTED, _TYPE, _PARAMETERS, _VENDOR_CLASS, _FQDN = 12, 50, 53, 55, 60, 81
MOST_FINGERPRINT = 48


@dataclass(frozen=True, slots=True)
class DhcpTold:
    """A client's words: `fingerprint` is the options it asks for, in its order (option 55)."""

    mac: str
    kind: int
    host_name: str = ""
    vendor_class: str = ""
    fingerprint: str = ""
    address: str = ""


def parse_dhcp(message: bytes | memoryview) -> DhcpTold | None:
    """What a client's message tells; None for a server's, and for what is no DHCP message."""
    data = bytes(message[:1500])
    if len(data) < _OPTIONS_AT or data[0] != _REQUEST or data[1] != _ETHERNET or data[2] != 6:
        return None
    if data[236:240] != _COOKIE:
        return None
    try:
        mac = mac_of(data[28:34])
    except ValueError:
        return None
    options = _options(data)
    kind = options.get(_TYPE, b"")
    if len(kind) != 1:
        return None
    asked = options.get(_REQUESTED, b"")
    address = asked if len(asked) == 4 else data[12:16]
    wanted = options.get(_PARAMETERS, b"")[:MOST_FINGERPRINT]
    return DhcpTold(
        mac,
        kind[0],
        _text(options.get(_HOST_NAME, b"")) or _fqdn(options.get(_FQDN, b"")),
        _text(options.get(_VENDOR_CLASS, b"")),
        ",".join(map(str, wanted)),
        socket.inet_ntoa(address) if any(address) else "",
    )


def _options(data: bytes) -> dict[int, bytes]:
    """Options by number; one in several parts is one (RFC 3396), overloaded fields are read."""
    found: dict[int, bytes] = {}
    areas = [data[_OPTIONS_AT:]]
    for at in range(3):  # options, then `file`, then `sname`, where option 52 says so
        if at >= len(areas):
            break
        for number, value in _walk(areas[at]):
            found[number] = found.get(number, b"") + value
        if at == 0:
            overload = found.get(_OVERLOAD, b"\0")[:1]
            if overload in (b"\1", b"\3"):
                areas.append(data[_FILE_AT:236])
            if overload in (b"\2", b"\3"):
                areas.append(data[_SNAME_AT:_FILE_AT])
    return found


def _walk(area: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(area):
        number = area[at]
        if number == _END:
            return
        if number == _PAD:
            at += 1
            continue
        if at + 1 >= len(area) or at + 2 + area[at + 1] > len(area):
            return  # cut short
        yield number, area[at + 2 : at + 2 + area[at + 1]]
        at += 2 + area[at + 1]


def _text(value: bytes) -> str:
    return clean(value.rstrip(b"\0").decode("utf-8", "replace"))


def _fqdn(value: bytes) -> str:
    """The first label of option 81 (RFC 4702): three octets, then text or DNS labels."""
    if len(value) < 4:
        return ""
    name = value[3:]
    if value[0] & 0x04:  # canonical wire format
        length = name[0]
        return _text(name[1 : 1 + length]) if length < 64 else ""
    return _text(name).partition(".")[0]
