# SPDX-License-Identifier: Apache-2.0
"""Ports on interfaces and the stream that reads them.

A port needs CAP_NET_RAW to be opened, and nothing to be read: who may open them can hand them to
who may not. Nothing here needs numpy before a stream is opened.
"""

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fortress_core._native import ffi, lib
from fortress_core.closing import Closing
from fortress_core.refusal import Refusal

if TYPE_CHECKING:
    from fortress_core.capture import Stream, StreamOptions

RING_BUDGET_BYTES: Final = 64 << 20  # of all ports of a process together
RING_STEP_BYTES: Final = 128 << 10  # a ring is a whole number of these

_REMEDIES: Final = {
    errno.EPERM: "let `fortress guard` open it, or run with the capability CAP_NET_RAW",
    errno.EACCES: "let `fortress guard` open it, or run with the capability CAP_NET_RAW",
    errno.ENODEV: "`ip link` lists the interfaces of this network namespace",
    errno.EPFNOSUPPORT: "capture on Ethernet, a bridge, Wi-Fi in managed mode, PPP or raw IP",
    errno.ERANGE: (
        f"choose from {lib.FX_PORT_RING_MIN} to {lib.FX_PORT_RING_MAX} bytes"
        f" in steps of {RING_STEP_BYTES}"
    ),
    errno.ENOMEM: "make the ring smaller",
    errno.ENOBUFS: "make the ring smaller",
    errno.EEXIST: "capture on one of them",
    errno.ENETDOWN: "bring it up (`ip link set … up`)",
    errno.EBADF: "open the port anew",
}


class PortError(Refusal):
    """An interface cannot be captured: what is wrong, and what to do about it."""


@dataclass(slots=True)
class Port(Closing):
    """A packet socket bound to an interface, with its ring; `fanout` names its group of rings."""

    fd: int
    interface: str
    ifindex: int
    linktype: int
    ring_bytes: int
    fanout: int = 0

    def close(self) -> None:
        """Give the socket back; a stream that reads it has its own copy."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@dataclass(frozen=True, slots=True)
class PortState:
    """How a port does: `packets` were read from its ring, `drops` found no room in it."""

    interface: str
    ifindex: int
    alive: bool
    reason: str
    packets: int
    drops: int
    freezes: int


def ring_share(ports: int, budget_bytes: int = RING_BUDGET_BYTES) -> int:
    """How large the ring of each of `ports` may be, so that all of them keep the budget.

    >>> ring_share(3)
    22282240
    """
    return max(budget_bytes // ports // RING_STEP_BYTES * RING_STEP_BYTES, lib.FX_PORT_RING_MIN)


def open_port(
    interface: str,
    *,
    ring_bytes: int = RING_BUDGET_BYTES,
    filter_fd: int | None = None,
    fanout: int | None = None,
) -> Port:
    """A port on the interface; needs CAP_NET_RAW.

    `filter_fd` is a BPF program of type socket filter. A second ring on the same interface takes
    part of its packets, chosen by flow: open the first with `fanout=0`, the others with the
    first's. Raises PortError; then nothing is left open.
    """
    out = ffi.new("fx_packet_port *")
    code = lib.fx_packet_port_open(
        os.fsencode(interface),
        ring_bytes,
        -1 if filter_fd is None else filter_fd,
        -1 if fanout is None else fanout,
        out,
    )
    if code < 0:
        raise port_error(code)
    return Port(out.fd, interface, out.ifindex, out.linktype, ring_bytes, out.fanout)


def open_live(
    ports: Sequence[Port],
    *,
    options: "StreamOptions | None" = None,
    ring_budget_bytes: int = RING_BUDGET_BYTES,
    batch_packets: int = 4096,
    flow_columns: Iterable[str] | None = None,
    interval_columns: Iterable[str] | None = None,
    packet_columns: Iterable[str] | None = None,
) -> "Stream":
    """A stream over what the ports see from now on; needs no capability.

    The column `iface` is the port's place in `ports`, which stay the caller's to close at any time.
    Raises PortError when two ports would show the same packets or their rings exceed the budget,
    ValueError as open_capture does.
    """
    from fortress_core.capture import stream_over

    rings = sum(port.ring_bytes for port in ports)
    if rings > ring_budget_bytes:
        raise PortError(
            f"the rings of {len(ports)} ports are {rings} bytes, the budget is {ring_budget_bytes}",
            f"open each with at most {ring_share(len(ports), ring_budget_bytes)} bytes",
        )
    out = ffi.new("fx_source **")
    code = lib.fx_source_open_packet(native_ports(ports), len(ports), out)
    if code < 0:
        raise port_error(code)
    return stream_over(
        out[0], options, batch_packets, packet_columns, flow_columns, interval_columns
    )


def native_ports(ports: Sequence[Port]) -> Any:
    """The ports as an array of fx_packet_port."""
    out = ffi.new("fx_packet_port[]", len(ports))
    for native, port in zip(out, ports, strict=True):
        native.fd, native.ifindex, native.linktype = port.fd, port.ifindex, port.linktype
        native.ring_bytes, native.fanout = port.ring_bytes, port.fanout
        native.interface = os.fsencode(port.interface)
    return out


def port_states(source: Any) -> tuple[PortState, ...]:
    """How the ports of a live source do; none of another one."""
    count = lib.fx_source_ports(source, ffi.NULL, 0)
    out = ffi.new("fx_port_state[]", count)
    lib.fx_source_ports(source, out, count)
    return tuple(
        PortState(
            os.fsdecode(ffi.string(state.interface)),
            state.ifindex,
            bool(state.alive),
            os.fsdecode(ffi.string(state.reason)),
            state.packets,
            state.drops,
            state.freezes,
        )
        for state in out
    )


def port_error(code: int) -> PortError:
    """The error that the library's last words are about."""
    what = os.fsdecode(ffi.string(lib.fx_last_error()))
    return PortError(what, _REMEDIES.get(-code, "see the kernel's log (`dmesg`)"))
