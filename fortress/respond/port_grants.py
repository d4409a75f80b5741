# SPDX-License-Identifier: Apache-2.0
"""Sockets that the guard opens for the agent: ports with their rings and taps, mirror ports, what
DHCP clients say, and conntrack's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from fortress.devices.dhcp_port import open_dhcp_port
from fortress.errors import GuardError
from fortress.respond.answers import (
    ConntrackAsked,
    DhcpOpened,
    MirrorFacts,
    MirrorQueue,
    PortFacts,
)
from fortress.respond.messages import OpenMirror, OpenPort

if TYPE_CHECKING:
    from fortress_core import BpfObject, Port
    from fortress_core.conntrack import Conntrack
    from fortress_core.tap import Tap

T = TypeVar("T")
_SOL_PACKET, _PACKET_FANOUT, _FANOUT_CPU, _FANOUT_UNIQUEID = 263, 18, 2, 0x2000  # if_packet.h
AT_ONCE = 2  # programs of a kind where guard.toml names no interfaces to capture: LAN and WAN


@dataclass(frozen=True, slots=True)
class Granted:
    """What goes out: the facts, descriptors that are the receiver's to close, and for the audit
    what was opened.
    """

    facts: object
    fds: list[int]
    told: dict[str, object] = field(default_factory=dict)


class _Stock(Generic[T]):
    """Kernel programs of a kind, loaded while the guard may load them. One belongs to an interface
    for good: who comes later finds in its maps what the one before left, and drops it.
    """

    def __init__(self, count: int) -> None:
        self._free: list[T] = []
        self._of: dict[str, T] = {}
        self.reason = f"all {count} programs for it are in use (guard.toml: capture)"

    def put(self, one: T) -> None:
        """Add one that is nobody's yet."""
        self._free.append(one)

    def of(self, interface: str) -> T | None:
        """The interface's; None when there is none left, and then `reason` says why."""
        if interface not in self._of and self._free:
            self._of[interface] = self._free.pop()
        return self._of.get(interface)


def _keep_bound(fd: int) -> None:
    """Make the socket a group of its own: whoever holds a member cannot bind it to another
    interface, which an ungrouped packet socket lets anybody do. Before Linux 6.13 a port that is
    down has no group.
    """
    alone = (_FANOUT_CPU | _FANOUT_UNIQUEID) << 16
    with suppress(OSError), socket.socket(fileno=os.dup(fd)) as port:
        port.setsockopt(_SOL_PACKET, _PACKET_FANOUT, alone)


class PortGrants:
    """Opens ports, with what was loaded for them at the start."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = tuple(allowed)
        self._loaded = ExitStack()
        count = len(self._allowed) or AT_ONCE
        self._taps: _Stock[Tap] = _Stock(count)
        self._mirrors: _Stock[BpfObject] = _Stock(count)
        self._load(count)

    def port(self, asked: OpenPort) -> Granted:
        """A port's PortFacts and descriptor, then (with a tap) the tap's program, keys and slots.

        GuardError says why there is no port; why there is no tap is in the facts.
        """
        self._check_allowed(asked.interface)
        with _words_of_the_core():
            from fortress_core.live import open_port

            port = open_port(asked.interface, ring_bytes=asked.ring_bytes, fanout=asked.fanout)
        with port:
            if asked.fanout is None:
                _keep_bound(port.fd)
            tap_fds, reason = self._tap_fds(port) if asked.tap else ([], "not asked for")
            facts = PortFacts(
                port.interface, port.ifindex, port.linktype, port.ring_bytes, port.fanout, reason
            )
            told: dict[str, object] = {"interface": port.interface, "tap": not reason}
            return Granted(facts, [os.dup(port.fd), *tap_fds], told)

    def mirror(self, asked: OpenMirror) -> Granted:
        """A mirror port's MirrorFacts and the descriptors of XdpPort.fds; what the guard had of it
        is closed, so that the interface is as before when its reader is gone.

        GuardError says why there is none.
        """
        self._check_allowed(asked.interface)
        program = self._mirrors.of(asked.interface)
        if program is None:
            raise GuardError(f"{asked.interface}: {self._mirrors.reason}", "use the packet source")
        with _words_of_the_core():
            from fortress_core.af_xdp import open_xdp_port

            budget = asked.ring_bytes
            port = open_xdp_port(asked.interface, budget_bytes=budget, program=program)
        with port:
            queues = tuple(
                MirrorQueue(one.ifindex, one.queue, one.frames, one.frame_bytes)
                for one in port.queues
            )
            facts = MirrorFacts(asked.interface, port.mode, queues)
            told: dict[str, object] = {"interface": asked.interface, "mode": port.mode}
            return Granted(facts, [os.dup(fd) for fd in port.fds], told)

    def dhcp(self) -> Granted:
        """A socket that hears DHCP clients; GuardError when the kernel gives none."""
        try:
            return Granted(DhcpOpened(), [open_dhcp_port().detach()])
        except OSError as error:
            raise GuardError(
                f"no socket for what DHCP clients say: {error.strerror}",
                "needs a kernel with CONFIG_PACKET",
            ) from error

    def close(self) -> None:
        """Give what was loaded back; what was granted lives on."""
        self._loaded.close()

    def __enter__(self) -> PortGrants:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _check_allowed(self, interface: str) -> None:
        if self._allowed and interface not in self._allowed:
            raise GuardError(
                f"interface {interface} is not in guard.toml's capture list",
                f"it names {', '.join(self._allowed)}",
            )

    def _load(self, count: int) -> None:
        try:
            from fortress_core.bpf_object import BpfError, BpfObject
            from fortress_core.tap import Tap
        except ImportError as error:  # the guard blocks without the core as well
            self._taps.reason = self._mirrors.reason = f"the C core does not load: {error}"
            return

        def fill(stock: _Stock[T], load: Callable[[], T]) -> None:
            try:
                for _ in range(count):
                    stock.put(load())
            except BpfError as error:
                stock.reason = str(error)

        fill(self._taps, lambda: self._loaded.enter_context(Tap.load()))
        fill(self._mirrors, lambda: self._loaded.enter_context(BpfObject.load("xsk")))

    def _tap_fds(self, port: Port) -> tuple[list[int], str]:
        """The descriptors of the interface's tap, or none and why."""
        tap = self._taps.of(port.interface)
        if tap is None:
            return [], self._taps.reason
        fds = (tap.program_fd_for(port.linktype), *tap.map_fds)
        return [os.dup(fd) for fd in fds], ""


class ConntrackGrant:
    """The conntrack socket of one connection: handed out, and asked for the table in its name."""

    def __init__(self) -> None:
        self._socket: Conntrack | None = None

    def open(self) -> Granted:
        """A new socket, the whole table asked for; GuardError says why there is none."""
        self.close()
        with _words_of_the_core():
            from fortress_core.conntrack import open_conntrack

            self._socket = open_conntrack()
        return Granted(ConntrackAsked(), [os.dup(self._socket.fd)])

    def ask(self) -> None:
        """Have the whole table sent to the socket; GuardError when that cannot be."""
        if self._socket is None:
            raise GuardError("this connection has no conntrack socket", "send open_conntrack first")
        with _words_of_the_core():
            self._socket.ask()

    def close(self) -> None:
        """Give the socket back; who reads it has its own copy."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@contextmanager
def _words_of_the_core() -> Iterator[None]:
    """What the core refuses, as a GuardError."""
    try:
        from fortress_core.refusal import Refusal
    except ImportError as error:
        raise GuardError(f"the C core does not load: {error}", "./dev setup") from error
    try:
        yield
    except Refusal as error:
        raise GuardError(error.what, error.remedy) from error
