# SPDX-License-Identifier: Apache-2.0
"""AF_XDP: frames of a mirror (SPAN) port, which the kernel then never sees.

Opening a port needs CAP_NET_RAW, CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and CAP_IPC_LOCK or a
limit of locked memory (LimitMEMLOCK=) as large as its frames; reading it needs nothing. All of a
port is descriptors: who may open it hands them to who may not (`XdpPort.fds`, `put_together`).
"""

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from fortress_core._native import ffi, lib
from fortress_core.closing import Closing
from fortress_core.live import RING_BUDGET_BYTES, PortError

if TYPE_CHECKING:
    from fortress_core.bpf_object import BpfObject
    from fortress_core.capture import Stream, StreamOptions

Mode = Literal["native", "generic"]
FRAMES_LEAST: Final = 16384  # of each queue: a reader has to wait for its processor at times
FRAMES_FEW: Final = 1024  # where the limit of locked memory leaves no more: losses are likely

_REMEDIES: Final = {
    errno.EPERM: "let `fortress guard` open it, or run with CAP_NET_RAW, CAP_BPF and CAP_NET_ADMIN",
    errno.EBUSY: "AF_XDP takes an interface's frames away from the kernel and is for mirror ports "
    "alone: use the packet source here, or take from the interface what the kernel does with it "
    "(IPv6: sysctl net.ipv6.conf.NAME.disable_ipv6=1)",
    errno.EEXIST: "take it off (`ip link set dev NAME xdp off`), or use the packet source",
    errno.ENODEV: "`ip link` lists the interfaces of this network namespace",
    errno.EPFNOSUPPORT: "use the packet source",
    errno.EMSGSIZE: "make the MTU smaller, or use the packet source",
    errno.ERANGE: "choose a power of two, 16384 or more where frames are many",
    errno.ENOBUFS: "raise the limit of locked memory (LimitMEMLOCK= in its unit), or fewer frames",
    errno.ENOMEM: "raise the limit of locked memory (LimitMEMLOCK= in its unit), or fewer frames",
    errno.EAFNOSUPPORT: "needs a kernel with CONFIG_XDP_SOCKETS; use the packet source",
    errno.EOPNOTSUPP: "use the packet source",
    errno.EINVAL: "use the packet source",
    errno.EBADF: "open the port anew",
    errno.EALREADY: "open the port anew",
}


@dataclass(frozen=True, slots=True)
class XdpQueue:
    """An AF_XDP socket on a queue of an interface; the fields of fx_xsk_port in include/fx/abi.h.

    `frames` of `frame_bytes` lie in the memory behind `memory_fd`; `look_fd` asks for the
    interface's state; `map_fd`, the same for all queues, is where the program finds the socket.
    """

    fd: int
    memory_fd: int
    look_fd: int
    ifindex: int
    queue: int
    frames: int
    frame_bytes: int
    map_fd: int
    interface: str


@dataclass(slots=True)
class XdpPort(Closing):
    """All queues of an interface, and what its frames' way to them hangs on (`link_fd`)."""

    queues: tuple[XdpQueue, ...]
    link_fd: int
    mode: Mode

    @property
    def fds(self) -> tuple[int, ...]:
        """The descriptors that whoever reads the port needs copies of: three of each queue, the
        map's, and the link's.
        """
        return (
            *(fd for q in self.queues for fd in (q.fd, q.memory_fd, q.look_fd)),
            *{q.map_fd for q in self.queues},
            self.link_fd,
        )

    @property
    def memory_bytes(self) -> int:
        """How much memory its frames take."""
        return sum(queue.frames * queue.frame_bytes for queue in self.queues)

    def close(self) -> None:
        """Give it back; the interface is as before when nobody else has copies."""
        for fd in self.fds:
            if fd >= 0:
                os.close(fd)
        self.queues, self.link_fd = (), -1


def xdp_refusal(interface: str) -> str:
    """Why AF_XDP may not have the interface, "" where it may; needs no capability."""
    code = lib.fx_xsk_check(os.fsencode(interface))
    return "" if code == 0 else _words()


def put_together(queues: Sequence[XdpQueue], mode: Mode, fds: Sequence[int]) -> XdpPort:
    """The port that another process took apart: its queues, and copies of its `fds` in order.

    ValueError when these are not as many as the queues need; the copies are the port's now.
    """
    if not queues or len(fds) != 3 * len(queues) + 2:
        raise ValueError(f"{len(fds)} descriptors for {len(queues)} queues")
    whole = tuple(
        replace(q, fd=fds[at], memory_fd=fds[at + 1], look_fd=fds[at + 2], map_fd=fds[-2])
        for at, q in zip(range(0, len(fds), 3), queues, strict=False)
    )
    return XdpPort(whole, fds[-1], mode)


def open_xdp_port(
    interface: str,
    *,
    frames: int | None = None,
    budget_bytes: int = RING_BUDGET_BYTES,
    program: "BpfObject | None" = None,
) -> XdpPort:
    """A port on every queue of an interface, in its driver and without copies where that can be.

    `frames` are the places of each queue, a power of two; if it is None as many as the budget has,
    and the limit of locked memory. `program` is the object `xsk`, loaded before, for who may load
    none any more; its map serves one interface.
    Raises PortError, then nothing is left open: where the interface has an address, a route or a
    master, where capabilities are missing, where the frames would take more than the budget.
    """
    from fortress_core.bpf_object import BpfError, BpfObject

    name = os.fsencode(interface)
    _check(lib.fx_xsk_check(name))
    queues = _check(lib.fx_xsk_queues(name))
    places = _frames(interface, queues, frames, budget_bytes)
    native = ffi.new("fx_xsk_port[]", queues)
    port = XdpPort((), -1, "native")
    try:
        while not _open_queues(port, native, name, places, last=bool(frames)):
            places //= 2
        generic = ffi.new("int *")
        with nullcontext(program) if program else BpfObject.load("xsk") as loaded:
            sockets = os.dup(loaded.map_fd("sockets"))
            port.queues = tuple(replace(queue, map_fd=sockets) for queue in port.queues)
            program_fd = loaded.program_fd("fortress_xsk")
            port.link_fd = _check(lib.fx_xsk_attach(native, program_fd, generic))
        port.mode = "generic" if generic[0] else "native"
    except BpfError as error:
        port.close()
        raise PortError(f"{interface}: {error.what}", error.remedy) from error
    except BaseException:
        port.close()
        raise
    return port


def open_xdp(
    port: XdpPort,
    *,
    options: "StreamOptions | None" = None,
    batch_packets: int = 4096,
    flow_columns: Iterable[str] | None = None,
    interval_columns: Iterable[str] | None = None,
    packet_columns: Iterable[str] | None = None,
) -> "Stream":
    """A stream over what the port sees from now on; needs no capability.

    A port is read once. It stays the caller's to close, but its `link_fd` must stay open somewhere
    as long as the stream is read. Stamps are of the frames' arrival, where the driver lets the
    program write them, else of their reading. Raises PortError, ValueError as open_capture does.
    """
    from fortress_core.capture import stream_over

    source = ffi.new("fx_source **")
    _check(lib.fx_source_open_xsk(*native_queues(port), source))
    return stream_over(
        source[0], options, batch_packets, packet_columns, flow_columns, interval_columns
    )


def native_queues(port: XdpPort) -> tuple[Any, int]:
    """The port's queues as an array of fx_xsk_port, and how many there are."""
    native = ffi.new("fx_xsk_port[]", len(port.queues))
    for out, queue in zip(native, port.queues, strict=True):
        for field in fields(XdpQueue):
            value = getattr(queue, field.name)
            setattr(out, field.name, os.fsencode(value) if field.name == "interface" else value)
    return native, len(port.queues)


def _open_queues(port: XdpPort, native: Any, name: bytes, frames: int, *, last: bool) -> bool:
    """Gives the port all of its queues; False where so much memory cannot be locked, and fewer
    frames may do unless this is the last attempt.
    """
    for number in range(len(native)):
        code = lib.fx_xsk_port_open(name, number, frames, ffi.addressof(native, number))
        if code == -errno.ENOBUFS and frames > FRAMES_FEW and not last:
            port.close()
            return False
        _check(code)
        port.queues += (_queue(native[number]),)
    return True


def _queue(native: Any) -> XdpQueue:
    values = {field.name: getattr(native, field.name) for field in fields(XdpQueue)}
    return XdpQueue(**values | {"interface": os.fsdecode(ffi.string(native.interface))})


def _frames(interface: str, queues: int, asked: int | None, budget_bytes: int) -> int:
    """The places of each queue within the budget of all."""
    frame_bytes = _check(lib.fx_xsk_frame_bytes(os.fsencode(interface)))
    most = budget_bytes // (queues * frame_bytes)
    if most < (asked or FRAMES_LEAST):
        raise PortError(
            f"{interface}: {asked or FRAMES_LEAST} frames of {frame_bytes} bytes for each of "
            f"{queues} queues are more than the budget of {budget_bytes} bytes",
            "have it receive on fewer queues (`ethtool -L NAME combined 1`), or fewer frames",
        )
    return asked or 1 << most.bit_length() - 1


def _words() -> str:
    return os.fsdecode(ffi.string(lib.fx_last_error()))


def _check(code: int) -> int:
    if code < 0:
        raise PortError(_words(), _REMEDIES.get(-code, "see the kernel's log (`dmesg`)"))
    return code
