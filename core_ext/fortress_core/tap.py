# SPDX-License-Identifier: Apache-2.0
"""The tap: the socket filter of bpf/tap.bpf.c, what it copies whole, and when it is worth having.

Loading needs CAP_BPF and CAP_NET_ADMIN; who has the descriptors needs no capability to attach the
program to a port, to take it off and to work the maps.
"""

import mmap
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from fortress_core._native import lib
from fortress_core.bpf_object import BpfError, BpfObject
from fortress_core.closing import Closing

if TYPE_CHECKING:
    from fortress_core.live import Port

# Names, leases, discovery, time: what protocol parsers read beyond the first packets of a flow.
WHOLE_UDP: Final = (53, 67, 68, 123, 137, 546, 547, 1900, 5353, 5355)
WHOLE_TCP: Final = (53,)

_LINKTYPE_ETHERNET: Final = 1
_PORTS: Final = 65536
_WHOLE_BYTES: Final = 2 * _PORTS // 8  # UDP's bits, then TCP's: include/fx/shunt.h


class Tap(Closing):
    """The loaded program and its maps; they live until it is closed and nobody else has them."""

    def __init__(self, loaded: BpfObject) -> None:
        self._loaded = loaded

    @classmethod
    def load(
        cls,
        shunted: int = 65_536,
        *,
        whole_udp: Iterable[int] = WHOLE_UDP,
        whole_tcp: Iterable[int] = WHOLE_TCP,
    ) -> Self:
        """A tap that can shunt so many directions of flows; packets of the ports are whole always.

        Raises BpfError with the remedy, ValueError for a port that is none.
        """
        if not 1 <= shunted <= 1 << 22:
            raise ValueError(f"shunted: {shunted} is not between 1 and {1 << 22}")
        bits = _port_bits(whole_udp, whole_tcp)
        tap = cls(BpfObject.load("tap", entries={"shunted": shunted, "slots": shunted}))
        try:
            with mmap.mmap(tap._loaded.map_fd("whole"), _WHOLE_BYTES) as memory:
                memory[:] = bits
        except OSError as error:
            tap.close()
            raise BpfError(f"the tap's ports: {error}", "needs Linux 5.19 or newer") from error
        return tap

    @property
    def program_fd(self) -> int:
        """The program for ports with Ethernet frames; it ends with the tap."""
        return self._loaded.program_fd("tap_ethernet")

    def program_fd_for(self, linktype: int) -> int:
        """The program for ports of the link type: Ethernet frames, or bare IP packets."""
        if linktype == _LINKTYPE_ETHERNET:
            return self.program_fd
        return self._loaded.program_fd("tap_raw")

    @property
    def map_fds(self) -> tuple[int, int]:
        """What Stream.shunt() takes: the keys and the slots; they end with the tap."""
        return self._loaded.map_fd("shunted"), self._loaded.map_fd("slots")

    def close(self) -> None:
        """Give program and maps back; what is attached or duplicated lives on."""
        self._loaded.close()


@dataclass(frozen=True, slots=True)
class TapSwitch:
    """When a tap saves more than it costs: frames large enough, and enough of them.

    Both are needed to attach it; it stays until the bytes fall below half of theirs.
    """

    bytes_per_s: float = 12_500_000.0  # 100 Mbit/s
    frame_bytes: float = 512.0

    def wanted(self, bytes_per_s: float, frames_per_s: float, *, attached: bool) -> bool:
        """Whether the tap should be attached to a port that sees so much, all of it counted."""
        if attached:
            return bytes_per_s >= self.bytes_per_s / 2
        return bytes_per_s >= max(self.bytes_per_s, self.frame_bytes * frames_per_s)


def attach_tap(port: "Port", program_fd: int) -> None:
    """Let the program choose what the port's ring gets, in the place of what did; PortError."""
    _set_filter(port, program_fd)


def detach_tap(port: "Port") -> None:
    """Let the port's ring get every frame again, up to what a ring keeps of one; PortError."""
    _set_filter(port, -1)


def _set_filter(port: "Port", program_fd: int) -> None:
    from fortress_core.live import native_ports, port_error

    code = lib.fx_packet_port_filter(native_ports([port]), program_fd)
    if code < 0:
        raise port_error(code)


def _port_bits(udp: Iterable[int], tcp: Iterable[int]) -> bytes:
    words = [0] * (_WHOLE_BYTES // 8)
    for first, ports in ((0, udp), (_PORTS, tcp)):
        for port in ports:
            if not 0 < port < _PORTS:
                raise ValueError(f"{port} is no port whose packets could be whole")
            words[(first + port) // 64] |= 1 << port % 64
    return struct.pack(f"<{len(words)}Q", *words)
