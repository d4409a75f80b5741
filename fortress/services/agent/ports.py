# SPDX-License-Identifier: Apache-2.0
"""Where the agent's ports come from, the guard or its own capability, and how they come back.

An interface that went away and came again needs a new socket, which the loop puts into the stream
(comeback.py).
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fortress_core import (
    Port,
    PortError,
    PortState,
    Stream,
    XdpPort,
    open_port,
    open_xdp_port,
    ring_share,
    xdp_refusal,
)
from fortress_core.af_xdp import FRAMES_LEAST

from fortress.errors import FortressError, GuardError, InputError
from fortress.kernel.capabilities import CAP_NET_RAW, held
from fortress.respond.client import GuardClient, PortGrant
from fortress.services.agent.comeback import Comeback

GUARD_WAIT_S = 5.0
_SIOCGIFFLAGS, _UP_AND_RUNNING = 0x8913, 0x1 | 0x40

Opener = Literal["guard", "own"]


class CaptureError(InputError):
    """No interface can be captured; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who opens ports, and why."""

    opener: Opener
    why: str


def choose(guard: Path | None) -> Choice:
    """The guard where one answers, else this process if it may; CaptureError names the remedy."""
    reason = "respond.guard is empty"
    if guard is not None:
        try:
            with GuardClient(guard, session="", wait_s=GUARD_WAIT_S) as client:
                facts = client.hello()
            return Choice("guard", f"the guard (pid {facts.pid}) opens the ports")
        except GuardError as error:
            reason = error.what
    if may_open():
        return Choice("own", f"this process has CAP_NET_RAW; {reason}")
    raise CaptureError(
        f"no interface can be captured: {reason}, and this process lacks CAP_NET_RAW;"
        " start `fortress guard run` as root, or run the agent as root"
        " (or `fortress up` to replay the sample)"
    )


def may_open() -> bool:
    """Whether this process has CAP_NET_RAW."""
    return CAP_NET_RAW in held()


class Ports:
    """The ports on some interfaces: opened all or none, and opened again when they come back."""

    source: Literal["packet", "af_xdp"] = "packet"

    def __init__(
        self, choice: Choice, interfaces: Sequence[str], ring_bytes: int, guard: Path | None
    ) -> None:
        self.choice = choice
        self.interfaces = tuple(interfaces)
        self.tap_reason = "the agent opened the ports itself"
        self._guard = guard
        self._share = ring_share(len(interfaces), ring_bytes)
        self._grants: list[PortGrant] = []
        self._comeback = Comeback(interfaces, self._opened)

    def open(self) -> list[Port]:
        """A port on each interface; CaptureError when one cannot be had, and none is open then."""
        with ExitStack() as stack:
            for name in self.interfaces:
                try:
                    grant = self._opened(name)
                except (PortError, FortressError) as error:
                    raise _refused(name, error) from error
                stack.callback(grant.close)
                self._grants.append(grant)
            stack.pop_all()
        self._comeback.start()
        return [grant.port for grant in self._grants]

    @property
    def only(self) -> str:
        """The interface where one alone is watched, "" where a flow may be of any."""
        return self.interfaces[0] if len(self.interfaces) == 1 else ""

    @property
    def grants(self) -> Sequence[PortGrant]:
        """What was opened, in order of the interfaces."""
        return self._grants

    def look(self, stream: Stream) -> tuple[PortState, ...]:
        """How the ports do, having put those that came back into the stream."""
        for number, grant in self._comeback.taken():
            stream.replace_port(number, grant.port)
            self._grants[number].close()
            self._grants[number] = grant
        states = stream.ports()
        for number, state in enumerate(states):
            if not state.alive:
                self._comeback.miss(number, self._grants[number].port.ifindex)
        return states

    def why_gone(self, number: int) -> str:
        """Why a port could not be opened anew, "" if that was not tried."""
        return self._comeback.why_gone(number)

    def close(self) -> None:
        """Give the ports back; the stream has its own."""
        self._comeback.close()
        for grant in self._grants:
            grant.close()

    def _opened(self, name: str) -> PortGrant:
        if self.choice.opener == "guard" and self._guard is not None:
            with GuardClient(self._guard, session="", wait_s=GUARD_WAIT_S) as client:
                return client.open_port(name, self._share)
        return PortGrant(open_port(name, ring_bytes=self._share), None, None, self.tap_reason)


def _refused(name: str, error: Exception) -> CaptureError:
    """The error with the interface named once."""
    return CaptureError(f"interface {name}: {str(error).removeprefix(f'{name}: ')}")


class Mirror(Ports):
    """An AF_XDP port on one interface, which gets no frame any more itself: a mirror port."""

    source = "af_xdp"

    def __init__(
        self, choice: Choice, interfaces: Sequence[str], ring_bytes: int, guard: Path | None
    ) -> None:
        why = f"AF_XDP: the mirror port's frames come here alone; {choice.why}"
        super().__init__(Choice(choice.opener, why), interfaces, ring_bytes, guard)
        self._ring_bytes = ring_bytes
        self._xdp: XdpPort | None = None
        self._mirror_comeback = Comeback(interfaces, self._opened_mirror)

    def open_mirror(self) -> XdpPort:
        """The port, the same one when it is open; CaptureError says why there is none."""
        (name,) = self.interfaces
        if self._xdp is not None:
            return self._xdp
        try:
            self._xdp = self._opened_mirror(name)
        except (PortError, FortressError) as error:
            raise _refused(name, error) from error
        self._mirror_comeback.start()
        frames = self._xdp.queues[0].frames
        if frames < FRAMES_LEAST:
            why = f"{self.choice.why}; its limit of locked memory (LimitMEMLOCK=) leaves room for"
            self.choice = Choice(self.choice.opener, f"{why} {frames} frames a queue only")
        return self._xdp

    def _opened_mirror(self, name: str) -> XdpPort:
        if self.choice.opener == "guard" and self._guard is not None:
            with GuardClient(self._guard, session="", wait_s=GUARD_WAIT_S) as client:
                return client.open_mirror(name, self._ring_bytes)
        return open_xdp_port(name, budget_bytes=self._ring_bytes)

    def look(self, stream: Stream) -> tuple[PortState, ...]:
        """How the port does, all its queues together."""
        for _, port in self._mirror_comeback.taken():
            try:
                stream.replace_xdp(port)
            except PortError:  # it has gone again before it was read
                port.close()
                continue
            if self._xdp is not None:
                self._xdp.close()
            self._xdp = port
        state = _together(stream.ports())
        if not state.alive:
            self._mirror_comeback.miss(0, state.ifindex)
        return (state,)

    def why_gone(self, number: int) -> str:
        """Why the port could not be opened anew, "" if that was not tried."""
        return self._mirror_comeback.why_gone(number)

    def close(self) -> None:
        """Give the interface back."""
        super().close()
        self._mirror_comeback.close()
        if self._xdp is not None:
            self._xdp.close()


def _together(queues: Sequence[PortState]) -> PortState:
    """The state of an interface, of those of its queues."""
    return replace(
        queues[0],
        packets=sum(one.packets for one in queues),
        drops=sum(one.drops for one in queues),
        freezes=sum(one.freezes for one in queues),
    )


def ports_for(
    source: Literal["auto", "packet", "af_xdp"],
    interfaces: Sequence[str],
    ring_bytes: int,
    guard: Path | None,
) -> Ports:
    """What watches the interfaces, its choice with the reason; CaptureError as of `choose`.

    `auto` takes AF_XDP for a mirror port where that can be had, and packet rings else: on a port
    that the kernel works with AF_XDP would take its frames away.
    """
    choice = choose(guard)
    if source == "af_xdp":
        asked = Choice(choice.opener, f"as was asked for; {choice.why}")
        return Mirror(asked, interfaces, ring_bytes, guard)
    if source == "packet":
        asked = Choice(choice.opener, f"a packet ring, as was asked for; {choice.why}")
        return Ports(asked, interfaces, ring_bytes, guard)
    why = no_mirror(interfaces)
    if not why:
        mirror = Mirror(choice, interfaces, ring_bytes, guard)
        try:
            mirror.open_mirror()
            return mirror
        except CaptureError as error:
            mirror.close()
            why = f"it looks like a mirror port, but there is no AF_XDP: {error}"
    return Ports(Choice(choice.opener, f"a packet ring: {why}; {choice.why}"), interfaces,
                 ring_bytes, guard)  # fmt: skip


def no_mirror(interfaces: Sequence[str]) -> str:
    """Why these are no mirror port, "" when they are one.

    An interface without an address may be one that is about to get it: it must be up and have a
    carrier, for then IPv6 has given it one unless somebody has switched that off.
    """
    if len(interfaces) > 1:
        return "several interfaces are watched together"
    (name,) = interfaces
    flags = 0
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", name.encode()[:15], 0)
        flags = struct.unpack_from("=H", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request), 16)[0]
    if flags & _UP_AND_RUNNING != _UP_AND_RUNNING:
        return f"{name} is not up, or has no carrier"
    return xdp_refusal(name)
