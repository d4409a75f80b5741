# SPDX-License-Identifier: Apache-2.0
"""Which networks are inside, and what came from outside in the name of one of their addresses."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from fortress_core._native import ffi, lib
from fortress_core.conntrack import check
from fortress_core.flows import format_addr, format_mac

_V4_BEFORE, _V4_BITS = bytes(10) + b"\xff\xff", 96


@dataclass(frozen=True, slots=True)
class Forged:
    """Packets that came in on a port that faces outside, from an address that is inside.

    They are in no flow and in no row. All but `packets` is of the last one: its stamp in ns, the
    addresses, and the MAC that sent the frame ("" where the link has none).
    """

    packets: int
    last_ns: int
    source: str
    target: str
    mac: str


def tell_inside(stream: Any, networks: Iterable[str]) -> None:
    """Tells the native stream which networks are inside; ValueError for what is none."""
    told = [ip_network(text, strict=False) for text in networks]
    out = ffi.new("fx_network[]", max(1, len(told)))
    for entry, network in zip(out, told, strict=False):
        packed = network.network_address.packed
        ffi.buffer(entry.address)[:] = _V4_BEFORE + packed if network.version == 4 else packed
        entry.bits = network.prefixlen + (_V4_BITS if network.version == 4 else 0)
    check(lib.fx_stream_inside(stream, out, len(told)))


def forged_at(stream: Any, port: int) -> Forged:
    """What a port of the native stream saw of it."""
    out = ffi.new("fx_forged *")
    lib.fx_stream_forged(stream, port, out)
    source, target = (format_addr(bytes(one)) for one in (out.src_addr, out.dst_addr))
    mac = format_mac(out.src_mac) if out.src_mac else ""
    return Forged(out.packets, out.last_ns, source, target, mac)
