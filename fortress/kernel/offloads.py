# SPDX-License-Identifier: Apache-2.0
"""What forwards packets past those who watch an interface: flowtables, and hardware by itself.

A flowtable that the hardware serves hides packets of all its devices; one in software takes
them from a bridge's port to the uplink, past the bridge. Numbers are those of linux/ethtool.h,
linux/if_link.h and linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from fortress.kernel.netlink import NETFILTER, ROUTE, Netlink, attributes

TC_OFFLOAD = "hw-tc-offload"
_GETLINK, _IFNAME, _MASTER = 18, 3, 10
_GETFLOWTABLE, _TABLE, _NAME, _HOOK, _FLAGS, _HW_OFFLOAD = (10 << 8) | 23, 1, 2, 3, 7, 1
_HOOK_DEVICES, _DEVICE_NAME = 3, 1
_SIOCETHTOOL = 0x8946
_STRINGS, _STRING_COUNTS, _FEATURES, _FEATURE_NAMES = 0x1B, 0x37, 0x3A, 4


@dataclass(frozen=True, slots=True)
class Flowtable:
    """A flowtable: its table and name, the interfaces it serves, and whether hardware does."""

    name: str
    devices: tuple[str, ...]
    in_hardware: bool


def flowtables_if_any() -> tuple[Flowtable, ...]:
    """The same, none where the kernel cannot be asked."""
    with suppress(OSError):
        return flowtables()
    return ()


def flowtables() -> tuple[Flowtable, ...]:
    """Those of this network namespace; PermissionError without CAP_NET_ADMIN, OSError where the
    kernel has none.
    """
    with Netlink(NETFILTER) as nft:
        return tuple(parse_flowtable(one.payload) for one in nft.dump(_GETFLOWTABLE, bytes(4)))


def parse_flowtable(payload: memoryview) -> Flowtable:
    """The flowtable that a message tells of."""
    told = attributes(payload[4:])
    named = (bytes(told.get(which, b"")).rstrip(b"\0") for which in (_TABLE, _NAME))
    hook = attributes(told.get(_HOOK, memoryview(b"")))
    flags = int.from_bytes(told.get(_FLAGS, b""), "big")
    return Flowtable(
        b" ".join(named).decode(errors="replace"),
        tuple(_names(hook.get(_HOOK_DEVICES, memoryview(b"")))),
        bool(flags & _HW_OFFLOAD),
    )


def hidden(
    watched: Iterable[str], tables: Iterable[Flowtable], masters: Mapping[str, str]
) -> dict[str, str]:
    """Why packets pass by without being seen, for each watched interface where some may; `masters`
    knows the bridge of each port.
    """
    found: dict[str, str] = {}
    tables = tuple(tables)
    for name in watched:
        ports = {port for port, master in masters.items() if master == name}
        for table in tables:
            behind = ports.intersection(table.devices)
            if table.in_hardware and (behind or name in table.devices):
                found[name] = f"flowtable {table.name}: the hardware forwards packets unseen"
            elif behind and name not in table.devices:
                through = ", ".join(sorted(behind))
                found[name] = f"flowtable {table.name} forwards packets past it ({through})"
    return found


def masters() -> dict[str, str]:
    """The bridge, or other master, of each interface that has one; OSError as of any dump."""
    names: dict[int, str] = {}
    found: dict[str, int] = {}
    with Netlink(ROUTE) as route:
        for message in route.dump(_GETLINK, bytes(16)):
            _, _, number, _, _ = struct.unpack_from("=BxHiII", message.payload)
            told = attributes(message.payload[16:])
            names[number] = bytes(told[_IFNAME]).rstrip(b"\0").decode(errors="replace")
            if (master := told.get(_MASTER)) is not None and len(master) == 4:
                found[names[number]] = struct.unpack("=I", master)[0]
    return {port: names[number] for port, number in found.items() if number in names}


def features_on(any_socket: socket.socket, name: str) -> set[str]:
    """Names of the driver's features that are on, none where it tells none; needs no capability."""
    with suppress(OSError):
        asked = struct.pack("=IIQI", _STRING_COUNTS, 0, 1 << _FEATURE_NAMES, 0)
        (count,) = struct.unpack_from("=I", ethtool(any_socket, name, asked), 16)
        asked = struct.pack("=III", _STRINGS, _FEATURE_NAMES, count) + bytes(32 * count)
        names = ethtool(any_socket, name, asked)[12:]
        words = (count + 31) // 32
        told = ethtool(any_socket, name, struct.pack("=II", _FEATURES, words) + bytes(16 * words))
        return {
            names[32 * at : 32 * at + 32].partition(b"\0")[0].decode(errors="replace")
            for at in range(count)
            if struct.unpack_from("=I", told, 8 + 16 * (at // 32) + 8)[0] >> at % 32 & 1
        }
    return set()


def ethtool(any_socket: socket.socket, name: str, asked: bytes) -> bytes:
    """What the driver answers in the place of the question; OSError when it does not."""
    memory = array.array("B", asked)
    request = struct.pack("16sP16x", name.encode()[:15], memory.buffer_info()[0])
    fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
    return memory.tobytes()


def _names(devices: memoryview) -> Iterator[str]:
    """A list has many attributes of one type, which a mapping would lose."""
    at = 0
    while at + 4 <= len(devices):
        length, kind = struct.unpack_from("=HH", devices, at)
        if length < 4 or at + length > len(devices):
            return
        if kind & 0x3FFF == _DEVICE_NAME:
            name = bytes(devices[at + 4 : at + length])
            yield name.rstrip(b"\0").decode(errors="replace")
        at += (length + 3) & ~3
