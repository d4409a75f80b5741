# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of this machine: links, addresses, gateways, neighbours, TCP peers."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fortress.kernel.netlink import SOCK_DIAG, Netlink, attributes
from fortress.kernel.routes import gateways, routes

_NEWLINK, _GETLINK, _GETADDR, _GETNEIGH, _DIAG = 16, 18, 22, 30, 20
_IFLA_ADDRESS, _IFLA_IFNAME, _IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 3, 1, 2, 8
_NDA_DST, _NDA_LLADDR = 1, 2
_IFF_LOOPBACK = 8
_ESTABLISHED = 1 << 1  # inet_diag counts states in bits, TCP_ESTABLISHED is 1
_TCP = 6
LINK_GROUPS = 1 | 0x10 | 0x100 | 0x40 | 0x400 | 4  # links, v4/v6 addresses and routes, neighbours


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface: its number, name and MAC (nothing where it has none)."""

    index: int
    name: str
    mac: str
    loopback: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What the kernel knows: `networks` are those of our links, `neighbours` address → MAC."""

    links: tuple[Link, ...]
    addresses: tuple[str, ...]
    networks: tuple[str, ...]
    gateways: tuple[str, ...]
    neighbours: dict[str, str]


def look_around(netlink: Netlink) -> Facts:
    """What the kernel says now; OSError when it cannot be asked."""
    links = tuple(_links(netlink))
    addresses, networks = [], []
    loopbacks = {link.index for link in links if link.loopback}
    for index, address, bits in _addresses(netlink):
        addresses.append(address)
        if index not in loopbacks:
            networks.append(str(ipaddress.ip_network(f"{address}/{bits}", strict=False)))
    return Facts(
        links,
        tuple(dict.fromkeys(addresses)),
        tuple(dict.fromkeys(networks)),
        gateways(routes(netlink)),
        dict(_neighbours(netlink)),
    )


def tcp_peers(local_ports: frozenset[int]) -> set[tuple[str, int]]:
    """Address and port of each established TCP peer of one of our ports."""
    found: set[tuple[str, int]] = set()
    with Netlink(SOCK_DIAG) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            request = struct.pack("=BBBBI48x", family, _TCP, 0, 0, _ESTABLISHED)
            for message in netlink.dump(_DIAG, request):
                if len(message.payload) < 56:
                    continue
                source, peer_port = struct.unpack_from("!HH", message.payload, 4)
                if source in local_ports:
                    found.add((_address_of(family, message.payload[24:40]), peer_port))
    return found


def mac_text(value: bytes) -> str:
    """A MAC's six bytes as text."""
    return ":".join(f"{byte:02x}" for byte in value)


def _links(netlink: Netlink) -> Iterator[Link]:
    for message in netlink.dump(_GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0)):
        if message.kind != _NEWLINK:
            continue
        _, _, index, flags = struct.unpack_from("=BxHiI", message.payload)
        told = attributes(message.payload[16:])
        name = bytes(told.get(_IFLA_IFNAME, b"")).rstrip(b"\0").decode(errors="replace")
        mac = bytes(told.get(_IFLA_ADDRESS, b""))
        usable = len(mac) == 6 and any(mac)
        yield Link(index, name, mac_text(mac) if usable else "", bool(flags & _IFF_LOOPBACK))


def _addresses(netlink: Netlink) -> Iterator[tuple[int, str, int]]:
    for message in netlink.dump(_GETADDR, struct.pack("=BBBBI", 0, 0, 0, 0, 0)):
        family, bits, _, _, index = struct.unpack_from("=BBBBI", message.payload)
        told = attributes(message.payload[8:])
        value = told.get(_IFA_LOCAL, told.get(_IFA_ADDRESS))
        if value is not None and family in (socket.AF_INET, socket.AF_INET6):
            yield index, _address_of(family, value), bits


def _neighbours(netlink: Netlink) -> Iterator[tuple[str, str]]:
    for message in netlink.dump(_GETNEIGH, struct.pack("=BxxxiHBB", 0, 0, 0, 0, 0)):
        family = message.payload[0]
        told = attributes(message.payload[12:])
        address, mac = told.get(_NDA_DST), told.get(_NDA_LLADDR)
        if family in (socket.AF_INET, socket.AF_INET6) and address and mac and len(mac) == 6:
            yield _address_of(family, address), mac_text(bytes(mac))


def _address_of(family: int, value: memoryview) -> str:
    return socket.inet_ntop(family, bytes(value[: 4 if family == socket.AF_INET else 16]))
