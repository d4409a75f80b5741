# SPDX-License-Identifier: Apache-2.0
"""What `fortress doctor` tells of interfaces: driver, MTU, XDP, and hardware that hides packets.

All is asked of the kernel, by netlink and ioctl. Numbers are those of linux/if_link.h,
linux/netdev.h and linux/ethtool.h.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from fortress.cli.check import Check
from fortress.kernel.netlink import ROUTE, Netlink, attributes
from fortress.kernel.offloads import TC_OFFLOAD, ethtool, features_on, flowtables

MOST_INTERFACES = 32  # a host of containers has hundreds, which tell nothing new
_GENERIC = 16
_GETLINK, _IFNAME, _MTU, _XDP, _XDP_ATTACHED = 18, 3, 4, 43, 2
_GET_FAMILIES, _FAMILY_ID, _FAMILY_NAME = (0x10, 3), 1, 2
_NETDEV_GET, _NETDEV_IFINDEX, _NETDEV_XDP = 1, 1, 3
_XDP_BASIC = 1
_DRIVER = 0x3
_LOOPBACK = 0x8
_MODES = {1: "native", 2: "generic", 3: "hardware", 4: "several"}


@dataclass(frozen=True, slots=True)
class Link:
    """An interface; `xdp` is the mode a program is attached in, "" without one; `can_native` is
    whether the driver takes one itself, None where this kernel does not tell.
    """

    name: str
    mtu: int
    driver: str
    xdp: str
    can_native: bool | None
    has_tc_offload: bool

    def check(self) -> Check:
        """What is told of it."""
        possible = {True: "native", False: "generic only", None: "not told by this kernel"}
        words = f"{self.driver or 'no driver named'}, MTU {self.mtu}, "
        words += f"XDP {possible[self.can_native]}, {self.xdp or 'none'} attached"
        if self.has_tc_offload:
            words += "; hw-tc-offload is on: what the hardware forwards is not seen"
            return Check(self.name, "note", words, f"ethtool -K {self.name} hw-tc-offload off")
        return Check(self.name, "ok", words)


def ports(wanted: Sequence[str]) -> Iterator[Check]:
    """A line for each of the interfaces, or of all but loopback where none is named."""
    found = links(wanted)
    for link in found[:MOST_INTERFACES]:
        yield link.check()
    if len(found) > MOST_INTERFACES:
        left = len(found) - MOST_INTERFACES
        yield Check("interfaces", "note", f"{left} more", "name yours in capture.interfaces")
    for name in wanted:
        if name not in {link.name for link in found}:
            how = "`ip link` lists those of this network namespace; see capture.interfaces"
            yield Check(name, "note", "there is no such interface", how)
    if not found and not wanted:
        yield Check("interfaces", "note", "none but loopback in this network namespace")


def links(wanted: Sequence[str] = ()) -> list[Link]:
    """The interfaces of this network namespace, without loopback unless it is wanted."""
    native = _native_xdp()
    found = []
    with Netlink(ROUTE) as route, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for message in route.dump(_GETLINK, bytes(16)):
            _, _, number, flags, _ = struct.unpack_from("=BxHiII", message.payload)
            told = attributes(message.payload[16:])
            name = bytes(told[_IFNAME]).rstrip(b"\0").decode(errors="replace")
            if (name not in wanted) if wanted else (flags & _LOOPBACK):
                continue
            attached = attributes(told.get(_XDP, memoryview(b""))).get(_XDP_ATTACHED, b"\0")
            found.append(
                Link(
                    name=name,
                    mtu=int.from_bytes(told[_MTU], sys.byteorder),
                    driver=_driver(any_socket, name),
                    xdp=_MODES.get(attached[0], ""),
                    can_native=None if native is None else number in native,
                    has_tc_offload=TC_OFFLOAD in features_on(any_socket, name),
                )
            )
    return found


def hidden() -> Check:
    """Whether a flowtable lets the hardware forward packets that nobody sees."""
    name = "flowtable"
    try:
        told = [one.name for one in flowtables() if one.in_hardware]
    except PermissionError:
        return Check(name, "note", "not known: only CAP_NET_ADMIN may ask", "run doctor as root")
    except OSError as error:
        return Check(name, "ok", f"none: this kernel has no nftables flowtables ({error.strerror})")
    if not told:
        return Check(name, "ok", "none that hides packets")
    words = f"{', '.join(told)}: the hardware forwards connections that nobody sees then"
    return Check(name, "note", words, "take `flags offload` out of the flowtable")


def _native_xdp() -> set[int] | None:
    """Numbers of the interfaces whose drivers take XDP, None before Linux 6.3, which tells it."""
    kind, command = _GET_FAMILIES
    with Netlink(_GENERIC) as generic:
        for message in generic.dump(kind, struct.pack("=BBH", command, 1, 0)):
            told = attributes(message.payload[4:])
            if bytes(told.get(_FAMILY_NAME, b"")) == b"netdev\0":
                family = int.from_bytes(told[_FAMILY_ID], sys.byteorder)
                break
        else:
            return None
    with Netlink(_GENERIC) as generic:
        devices = [
            attributes(message.payload[4:])
            for message in generic.dump(family, struct.pack("=BBH", _NETDEV_GET, 1, 0))
        ]
    return {
        int.from_bytes(told[_NETDEV_IFINDEX], sys.byteorder)
        for told in devices
        if int.from_bytes(told.get(_NETDEV_XDP, b""), sys.byteorder) & _XDP_BASIC
    }


def _driver(any_socket: socket.socket, name: str) -> str:
    """What ethtool calls the driver, "" where it does not tell."""
    with suppress(OSError):
        told = ethtool(any_socket, name, struct.pack("=I", _DRIVER).ljust(196, b"\0"))
        return told[4:36].partition(b"\0")[0].decode(errors="replace")
    return ""
