# SPDX-License-Identifier: Apache-2.0
"""What agent and commands call to ask the guard; every failure is a GuardError with a remedy."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from fortress.errors import GuardError
from fortress.respond import channel, messages
from fortress.respond.answers import (
    ConntrackAsked,
    DeviceList,
    DeviceStanding,
    DhcpOpened,
    Explanation,
    FeedLoaded,
    GuardEvent,
    GuardFacts,
    GuardStatus,
    MirrorFacts,
    Notes,
    PortFacts,
    StandingList,
    Subscribed,
)
from fortress.respond.block import Block, Origin, Outcome, Standing
from fortress.respond.guard_settings import SOCKET
from fortress.respond.messages import Group, Request
from fortress.respond.plain import Misread, read

if TYPE_CHECKING:
    from fortress_core.af_xdp import XdpPort
    from fortress_core.conntrack import Conntrack
    from fortress_core.live import Port

    from fortress.devices.policy import DeviceRule

T = TypeVar("T")
WAIT_S = 30.0
_MOST_ANSWER_BYTES = 256 << 20


@dataclass(slots=True)
class PortGrant:
    """A port that the guard opened, and the descriptors of a tap for it (or why there is none)."""

    port: Port
    tap_program_fd: int | None
    tap_map_fds: tuple[int, int] | None
    tap_reason: str

    def close(self) -> None:
        """Give everything back; what a stream has taken over is its own."""
        self.port.close()
        fds = [one for one in (self.tap_program_fd, *(self.tap_map_fds or ())) if one is not None]
        channel.close_all(fds)
        self.tap_program_fd = self.tap_map_fds = None


class GuardClient:
    """A connection to the guard, used as a context.

    `session` is the address the operator works from (first word of $SSH_CONNECTION), which the
    guard then does not block.
    """

    def __init__(
        self, path: str | Path = SOCKET, *, session: str | None = None, wait_s: float = WAIT_S
    ) -> None:
        self._path = path
        if session is None:
            session = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
        self._session = session
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._socket.settimeout(wait_s)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise GuardError(f"no guard at {path} ({error.strerror})", _remedy(error)) from error

    def hello(self) -> GuardFacts:
        """Who the guard is."""
        return self._ask(messages.Hello(), GuardFacts)

    def add(self, blocks: Sequence[Block], *, confirmed: bool = False) -> tuple[Outcome, ...]:
        """Block; the outcome of each says whether it stands, and why not."""
        order, groups = _grouped(blocks)
        notes = self._ask(messages.Add(groups, confirmed, self._session), Notes)
        outcomes = dict(
            zip(order, _outcomes([blocks[at].target for at in order], notes), strict=True)
        )
        return tuple(outcomes[at] for at in range(len(blocks)))

    def remove(
        self, targets: Sequence[str], origin: Origin = "operator", why: str = ""
    ) -> tuple[Outcome, ...]:
        """Unblock; the outcome of each says whether it is gone, and why not."""
        return _outcomes(targets, self._ask(messages.Remove(tuple(targets), origin, why), Notes))

    def blocks(self) -> tuple[Standing, ...]:
        """Everything that stands, without the entries of block lists."""
        return self.standing().blocks

    def standing(self) -> StandingList:
        """Everything that stands, and who is left alone because an operator unblocked it."""
        return self._ask(messages.Blocks(), StandingList)

    def undo(self) -> tuple[Outcome, ...]:
        """Take the last act of an operator back; the outcomes name what it had touched."""
        notes = self._ask(messages.Undo(), Notes)
        return _outcomes(notes.targets, notes)

    def explain(self, target: str) -> Explanation:
        """All that holds for a target."""
        return self._ask(messages.Explain(target, self._session), Explanation)

    def open_port(
        self, interface: str, ring_bytes: int, tap: bool = True, *, fanout: int | None = None
    ) -> PortGrant:
        """A port on the interface, opened by the guard; close what the grant holds."""
        asked = messages.OpenPort(interface, ring_bytes, tap, fanout)
        facts, fds = self._granted(asked, PortFacts, 1, 4)
        from fortress_core.live import Port

        port = Port(
            fds[0], facts.interface, facts.ifindex, facts.linktype, facts.ring_bytes, facts.fanout
        )
        if len(fds) == 1:
            return PortGrant(port, None, None, facts.tap_reason or "none came")
        return PortGrant(port, fds[1], (fds[2], fds[3]), "")

    def open_conntrack(self) -> Conntrack:
        """A socket for translated connections, the whole table asked for; the caller closes it.

        Its reader may not ask: `ask_conntrack` does, on this connection, which is to be kept.
        """
        _, fds = self._granted(messages.OpenConntrack(), ConntrackAsked, 1)
        from fortress_core.conntrack import Conntrack

        return Conntrack(fds[0])

    def open_mirror(self, interface: str, ring_bytes: int) -> XdpPort:
        """A mirror port, opened by the guard, whose frames its reader alone sees; the caller closes
        it, and then the interface is as before.
        """
        facts, fds = self._granted(messages.OpenMirror(interface, ring_bytes), MirrorFacts)
        from fortress_core.af_xdp import XdpQueue, put_together

        queues = [
            XdpQueue(-1, -1, -1, q.ifindex, q.queue, q.frames, q.frame_bytes, -1, facts.interface)
            for q in facts.queues
        ]
        try:
            return put_together(queues, facts.mode, fds)
        except ValueError as error:
            channel.close_all(fds)
            raise GuardError(f"the guard's answer makes no sense: {error}", _GONE) from error

    def open_dhcp(self) -> socket.socket:
        """A socket for fortress.devices.dhcp_port.heard; the caller closes it."""
        _, fds = self._granted(messages.OpenDhcp(), DhcpOpened, 1)
        return socket.socket(fileno=fds[0])

    def ask_conntrack(self) -> None:
        """Have the whole table sent to the socket that this connection was given."""
        self._ask(messages.AskConntrack(), ConntrackAsked)

    def load_feed(self, name: str, targets: Iterable[str], seconds: float) -> FeedLoaded:
        """Replace a block list's entries, in one transaction."""
        return self._ask(messages.LoadFeed(name, tuple(targets), seconds), FeedLoaded)

    def devices(self, macs: Iterable[str] = ()) -> tuple[DeviceStanding, ...]:
        """What these devices may reach, all that have a rule when none are named."""
        return self._ask(messages.Devices(tuple(macs)), DeviceList).devices

    def set_devices(self, rules: Iterable[DeviceRule]) -> tuple[DeviceStanding, ...]:
        """Let rules hold for their devices, all of them or none; what holds now."""
        asked = messages.SetDevices(tuple(rules), self._session)
        return self._ask(asked, DeviceList).devices

    def status(self) -> GuardStatus:
        """How the guard is."""
        return self._ask(messages.Status(), GuardStatus)

    def subscribe(self, wait_s: float | None = None) -> Iterator[GuardEvent]:
        """What happens from now on; this connection serves nothing else any more.

        GuardError when the guard is gone, or when nothing happened for `wait_s`.
        """
        self._ask(messages.Subscribe(), Subscribed)
        self._socket.settimeout(wait_s)
        return self._events()

    def _events(self) -> Iterator[GuardEvent]:
        while True:
            told, fds = self._receive()
            channel.close_all(fds)
            yield read(GuardEvent, told)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> GuardClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Request, answer: type[T]) -> T:
        plain, fds = self._ask_with_fds(request)
        channel.close_all(fds)
        try:
            return read(answer, plain)
        except Misread as error:
            raise GuardError(f"the guard's answer makes no sense: {error}", _GONE) from error

    def _granted(self, request: Request, facts: type[T], *fds: int) -> tuple[T, list[int]]:
        """The facts and as many descriptors as one of these numbers; any when none is named."""
        plain, came = self._ask_with_fds(request)
        try:
            if fds and len(came) not in fds:
                raise Misread(f"{len(came)} descriptors came")
            return read(facts, plain), came
        except Misread as error:
            channel.close_all(came)
            raise GuardError(f"the guard's answer makes no sense: {error}", _GONE) from error

    def _ask_with_fds(self, request: Request) -> tuple[object, list[int]]:
        try:
            channel.send(self._socket, messages.encode_request(request))
        except BrokenPipeError:
            pass  # the guard has hung up: it may have said why
        except OSError as error:
            raise GuardError(f"guard at {self._path}: {error.strerror}", _GONE) from error
        return self._receive()

    def _receive(self) -> tuple[object, list[int]]:
        try:
            try:
                data, fds = channel.receive(self._socket, _MOST_ANSWER_BYTES)
            except ConnectionResetError:  # hung up on what we asked: its reason comes after that
                data, fds = channel.receive(self._socket, _MOST_ANSWER_BYTES)
        except TimeoutError:
            raise GuardError(f"the guard at {self._path} does not answer", _GONE) from None
        except OSError as error:
            raise GuardError(f"guard at {self._path}: {error.strerror}", _GONE) from error
        if not data:
            raise GuardError(f"the guard at {self._path} hung up", _GONE)
        try:
            return messages.decode_answer(data), fds
        except GuardError:
            channel.close_all(fds)
            raise


_GONE = "see `systemctl status fortress-guard` and its audit"


def _grouped(blocks: Sequence[Block]) -> tuple[list[int], tuple[Group, ...]]:
    """Blocks that differ in the target only together, and which block each target was."""
    members: dict[tuple[object, ...], list[int]] = {}
    for at, one in enumerate(blocks):
        key = (one.action, one.seconds, one.why, one.origin, one.signatures)
        members.setdefault(key, []).append(at)
    groups = []
    for ats in members.values():
        b, targets = blocks[ats[0]], tuple([blocks[at].target for at in ats])
        groups.append(Group(b.action, b.seconds, b.why, b.origin, targets, b.signatures))
    return [at for ats in members.values() for at in ats], tuple(groups)


def _outcomes(targets: Sequence[str], notes: Notes) -> tuple[Outcome, ...]:
    said = {note.at: note for note in notes.notes}
    return tuple(
        Outcome(text, said[at].done, said[at].reason) if at in said else Outcome(text, True)
        for at, text in enumerate(targets)
    )


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "be root, or in a group that guard.toml names in [access]"
    return "start it with `fortress guard run` (as root)"
