# SPDX-License-Identifier: Apache-2.0
"""Sockets that the guard opens for the agent: a port with its ring and a tap, and conntrack's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from fortress.errors import GuardError
from fortress.respond.messages import OpenPort, PortFacts

if TYPE_CHECKING:
    from fortress_core import Port
    from fortress_core.conntrack import Conntrack
    from fortress_core.tap import Tap

TAPS = 2  # loaded where guard.toml names no interfaces to capture: LAN and WAN


class PortGrants:
    """Opens ports. Taps are loaded at the start, while the guard may load them, and then belong to
    an interface for good: a reader that comes later drops what the one before left in the maps.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = tuple(allowed)
        self._taps = ExitStack()
        self._free: list[Tap] = []
        self._of: dict[str, Tap] = {}
        self._reason = f"all {len(self._allowed) or TAPS} taps are in use (guard.toml: capture)"
        self._load(len(self._allowed) or TAPS)

    def open(self, asked: OpenPort) -> tuple[PortFacts, list[int]]:
        """What the agent needs to know of the port, and descriptors that are the caller's to close:
        the port's, then (with a tap) the tap's program, its keys and its slots.

        GuardError says why there is no port; why there is no tap is in the facts.
        """
        if self._allowed and asked.interface not in self._allowed:
            raise GuardError(
                f"interface {asked.interface} is not in guard.toml's capture list",
                f"it names {', '.join(self._allowed)}",
            )
        try:
            from fortress_core.live import PortError, open_port
        except ImportError as error:
            raise GuardError(f"the C core does not load: {error}", "./dev setup") from error
        try:
            port = open_port(asked.interface, ring_bytes=asked.ring_bytes, fanout=asked.fanout)
        except PortError as error:
            raise GuardError(error.what, error.remedy) from error
        with port:
            tap_fds, reason = self._tap_fds(port) if asked.tap else ([], "not asked for")
            facts = PortFacts(
                port.interface, port.ifindex, port.linktype, port.ring_bytes, port.fanout, reason
            )
            return facts, [os.dup(port.fd), *tap_fds]

    def close(self) -> None:
        """Give the taps back; what was granted lives on."""
        self._taps.close()

    def __enter__(self) -> PortGrants:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _load(self, count: int) -> None:
        try:
            from fortress_core.bpf_object import BpfError
            from fortress_core.tap import Tap
        except ImportError as error:  # the guard blocks without the core as well
            self._reason = f"the C core does not load: {error}"
            return
        try:
            for _ in range(count):
                self._free.append(self._taps.enter_context(Tap.load()))
        except BpfError as error:
            self._reason = str(error)

    def _tap_fds(self, port: Port) -> tuple[list[int], str]:
        """The descriptors of the interface's tap, or none and why."""
        tap = self._of.get(port.interface)
        if tap is None:
            if not self._free:
                return [], self._reason
            tap = self._of[port.interface] = self._free.pop()
        fds = (tap.program_fd_for(port.linktype), *tap.map_fds)
        return [os.dup(fd) for fd in fds], ""


class ConntrackGrant:
    """The conntrack socket of one connection: handed out, and asked for the table in its name."""

    def __init__(self) -> None:
        self._socket: Conntrack | None = None

    def open(self) -> int:
        """A new socket's descriptor, the whole table asked for; it stays the grant's to close.

        GuardError says why there is none.
        """
        try:
            from fortress_core.conntrack import ConntrackError, open_conntrack
        except ImportError as error:
            raise GuardError(f"the C core does not load: {error}", "./dev setup") from error
        self.close()
        try:
            self._socket = open_conntrack()
        except ConntrackError as error:
            raise GuardError(error.what, error.remedy) from error
        return self._socket.fd

    def ask(self) -> None:
        """Have the whole table sent to the socket; GuardError when that cannot be."""
        if self._socket is None:
            raise GuardError("this connection has no conntrack socket", "send open_conntrack first")
        from fortress_core.conntrack import ConntrackError

        try:
            self._socket.ask()
        except ConntrackError as error:
            raise GuardError(error.what, error.remedy) from error

    def close(self) -> None:
        """Give the socket back; who reads it has its own copy."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
