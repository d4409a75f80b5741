# SPDX-License-Identifier: Apache-2.0
"""The guard's loop: one thread that answers its socket, follows the kernel, and lets time pass."""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from fortress.errors import GuardError
from fortress.respond import answers, channel, conntrack, messages
from fortress.respond.answers import GuardEvent, GuardFacts
from fortress.respond.backend import Backend
from fortress.respond.device_desk import DeviceDesk
from fortress.respond.device_file import DeviceFile
from fortress.respond.device_tables import DeviceTables
from fortress.respond.guard import Guard
from fortress.respond.judge import Asker
from fortress.respond.messages import Request
from fortress.respond.nftables import NftBackend
from fortress.respond.peers import admit
from fortress.respond.plain import Misread
from fortress.respond.port_grants import ConntrackGrant, Granted, PortGrants
from fortress.respond.watch import TableWatch, WorldWatch

MOST_CONNECTIONS = 64
IDLE_S = 30.0
RESTORE_EVERY_S = 0.3  # two programs that undo each other must not spin
RETRY_S = 2.0
GARBAGE_AFTER, ALL_EVERY = 100_000, 64  # objects made and not freed; rounds


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    asker: Asker
    subscribed: bool = False
    conntrack: ConntrackGrant = field(default_factory=ConntrackGrant)


@dataclass(frozen=True, slots=True)
class Means:
    """What the guard works with: opened while there was the privilege to open it."""

    backends: Sequence[Backend]
    grants: PortGrants
    confined: tuple[str, ...]


class Server:
    """Serves a guard on a listening socket until it is asked to stop."""

    def __init__(
        self, guard: Guard, listener: socket.socket, world: WorldWatch, means: Means
    ) -> None:
        self._guard, self._listener, self._world = guard, listener, world
        self._means = means
        self._tables = TableWatch()
        self._selector = selectors.DefaultSelector()
        self._connections: dict[int, _Connection] = {}
        self._stopping = False
        self._restore_why = ""
        self._restore_due_s = 0.0
        self._numbers: tuple[tuple[str, int], ...] = ()
        self._said: set[str] = set()
        self._missed_events = 0
        self._collections = 0
        file = DeviceFile(guard.settings.state / "devices.json")
        self._devices = DeviceDesk(file, DeviceTables(), guard.teller.audit)
        guard.teller.tell = self._devices.tell = self._tell
        guard.teller.is_heard = lambda: any(one.subscribed for one in self._connections.values())

    def start(self) -> None:
        """Makes the kernel's state the desired one; GuardError when it cannot."""
        nft = self._nft()
        if self._guard.ledger.lost and nft is not None:
            self._guard.adopt(nft.standing())
        spared, place = self._world.look()
        self._guard.see(spared, place)
        self._numbers = self._world.port_numbers
        self._devices.see(self._guard.judge.never, self._world.surroundings)
        self._guard.rebuild("start")
        self._tables.touched(self._own_ports)

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serves until SIGTERM or SIGINT."""
        waking, woken = socket.socketpair()
        waking.setblocking(False)
        woken.setblocking(False)
        before = {one: signal.signal(one, self._stop) for one in (signal.SIGTERM, signal.SIGINT)}
        wakeup = signal.set_wakeup_fd(waking.fileno())
        self._listener.setblocking(False)
        register = self._selector.register
        register(woken, selectors.EVENT_READ, lambda: woken.recv(64))
        register(self._listener, selectors.EVENT_READ, self._accept)
        register(self._tables, selectors.EVENT_READ, self._check_tables)
        register(self._world, selectors.EVENT_READ, self._world.hear)
        ready()
        gc.disable()  # in the midst of a hundred thousand blocks it would look through all of them
        try:
            while not self._stopping:
                for key, _ in self._selector.select(self._wait_s()):
                    key.data()
                self._pass_time()
        finally:
            gc.enable()
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            for connection in list(self._connections.values()):
                self._hang_up(connection)
            self._devices.close(keep=self._guard.settings.on_stop == "keep")
            self._tables.close()
            self._selector.close()
            waking.close()
            woken.close()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    # ---- time ----

    def _wait_s(self) -> float:
        if self._guard.to_forget or self._guard.feeds_follow:
            return 0.0
        waits = [IDLE_S, self._world.due_s(), self._devices.due_s()]
        end_s = self._guard.ledger.next_end_s()
        if end_s is not None:
            waits.append(end_s - time.clock_gettime(time.CLOCK_BOOTTIME))
        if self._restore_why:
            waits.append(self._restore_due_s - time.monotonic())
        return max(0.0, min(waits))

    def _pass_time(self) -> None:
        self._attempt(self._guard.expire)
        if self._guard.to_forget:  # after the answer: their packets are dropped already
            self._attempt(self._check_tables)
            self._attempt(self._forget_one)
        self._attempt(self._devices.pass_time)
        if self._restore_why and time.monotonic() >= self._restore_due_s:
            self._restore()
        elif self._guard.feeds_follow:
            self._restore_feeds()
        if self._world.due_s() <= 0:
            self._attempt(self._look_around)
        if gc.get_count()[0] > GARBAGE_AFTER:
            self._collect_garbage()

    def _collect_garbage(self) -> None:
        """Looks for garbage among what is new; now and then among all, which takes longer."""
        self._collections += 1
        if self._collections % ALL_EVERY == 0:
            gc.unfreeze()
        gc.collect()
        gc.freeze()  # what lives now is not looked through again each time

    def _forget_one(self) -> None:
        """Where nothing forwards packets past our chains, cut connections need not be forgotten."""
        target = self._guard.to_forget.popleft()
        if self._tables.is_bypassed():
            conntrack.forget(target)

    def _look_around(self) -> None:
        spared, place = self._world.look()
        moved = self._guard.see(spared, place)
        if moved or self._numbers != self._world.port_numbers:
            self._numbers = self._world.port_numbers
            self._devices.forget()
            self._guard.rebuild("the network has changed")
            self._tell(GuardEvent("world", "", "addresses, links or ports have changed"))
        self._devices.see(self._guard.judge.never, self._world.surroundings)

    def _check_tables(self) -> None:
        touched, lost = self._tables.touched(self._own_ports)
        self._missed_events += lost
        if lost:
            self._attempt(self._devices.rebuild)
        if touched:
            self._restore_why = "somebody else changed our nftables tables"
        elif lost and (damage := self._damage()):
            self._restore_why = f"the kernel had more to tell than was heard, and {damage}"

    def _damage(self) -> str:
        """What the kernel holds and should not, or the reverse; "" if all is as it should be."""
        nft, desired = self._nft(), self._guard.desired()
        if self._guard.feeds_follow:
            desired = replace(desired, feeds=())
        return nft.damage(desired) if nft is not None else ""

    def _restore(self) -> None:
        why, self._restore_why = self._restore_why, ""
        self._restore_due_s = time.monotonic() + RESTORE_EVERY_S
        try:
            self._devices.rebuild()
            self._guard.restore(why)
        except GuardError as error:
            self._restore_later(why, error)

    def _restore_feeds(self) -> None:
        try:
            self._guard.restore_feeds()
        except GuardError as error:
            self._restore_later("lists could not be restored", error)

    def _restore_later(self, why: str, error: GuardError) -> None:
        self._say(str(error))
        self._restore_why, self._restore_due_s = why, time.monotonic() + RETRY_S

    def _attempt(self, act: Callable[[], None]) -> None:
        """Does what must not end the guard when the kernel refuses it."""
        try:
            act()
        except (GuardError, OSError) as error:
            self._say(str(error))

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            with suppress(OSError):
                sys.stderr.write(f"fortress guard: {text}\n")

    # ---- connections ----

    def _accept(self) -> None:
        with suppress(OSError):  # the peer has gone already
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            asker = admit(connection, self._guard.settings.access)
            if asker is None:
                what = "your user may not ask the guard"
                remedy = "be root, or in a group that guard.toml names in [access]"
            elif len(self._connections) >= MOST_CONNECTIONS:
                what = f"{MOST_CONNECTIONS} connections are open already"
                remedy = "close some"
            else:
                known = _Connection(connection, asker)
                self._connections[connection.fileno()] = known
                self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(known))
                return
            with suppress(OSError):
                channel.send(connection, messages.encode_refusal(what, remedy))
            connection.close()

    def _hear(self, connection: _Connection) -> None:
        """One message and its answer; what is malformed is answered, and the connection closed."""
        most = self._guard.settings.limits.message_mib << 20
        fds: list[int] = []
        try:
            data, strange = channel.receive(connection.socket, most)
            channel.close_all(strange)
            if not data:
                self._hang_up(connection)
                return
            answered = self._answer(messages.decode_request(data), connection)
            if isinstance(answered, Granted):
                fds, answered = answered.fds, answered.facts
            answer = messages.encode_answer(answered)
        except (channel.Malformed, Misread) as error:
            what = error.what if isinstance(error, GuardError) else str(error)
            remedy = error.remedy if isinstance(error, GuardError) else "see docs/respond.md"
            self._send(connection, messages.encode_refusal(what, remedy))
            self._hang_up(connection)
            return
        except GuardError as error:
            answer = messages.encode_refusal(error.what, error.remedy)
        except BlockingIOError:
            return
        except OSError:
            self._hang_up(connection)
            return
        except Exception:  # a defect of ours must not end the blocking of others
            traceback.print_exc()
            answer = messages.encode_refusal("the guard failed at this", "see its log, report it")
        sent = self._send(connection, answer, fds)
        channel.close_all(fds)
        if not sent:
            self._hang_up(connection)

    def _answer(self, request: Request, connection: _Connection) -> object:
        guard, asker = self._guard, connection.asker
        match request:
            case messages.Add():
                return guard.add(request, asker)
            case messages.Remove():
                return guard.remove(request, asker)
            case messages.Undo():
                return guard.undo(asker)
            case messages.LoadFeed():
                return guard.load_feed(request, asker)
            case messages.SetDevices():
                return self._devices.put(request, asker)
            case messages.Devices():
                return self._devices.standing(request.macs)
            case messages.Blocks():
                return guard.blocks()
            case messages.Explain():
                return guard.explain(request.target, request.session)
            case messages.Status():
                told = guard.status(
                    confined=self._means.confined, missed_events=self._missed_events
                )
                return replace(told, troubles=(*told.troubles, *self._devices.troubles))
            case messages.Subscribe():
                connection.subscribed = True
                return answers.Subscribed()
            case messages.AskConntrack():
                connection.conntrack.ask()
                return answers.ConntrackAsked()
            case messages.OpenPort():
                return self._granted("open_port", self._means.grants.port(request), asker)
            case messages.OpenMirror():
                return self._granted("open_mirror", self._means.grants.mirror(request), asker)
            case messages.OpenDhcp():
                return self._granted("open_dhcp", self._means.grants.dhcp(), asker)
            case messages.OpenConntrack():
                return self._granted("open_conntrack", connection.conntrack.open(), asker)
            case messages.Hello():
                return self._facts(asker)

    def _granted(self, act: str, granted: Granted, asker: Asker) -> Granted:
        self._guard.audit.write(act, [granted.told], asker.name)
        return granted

    def _facts(self, asker: Asker) -> GuardFacts:
        role = "operator" if asker.operator else "agent"
        backends = tuple(one.name for one in self._guard.backends)
        return GuardFacts(messages.PROTOCOL, os.getpid(), version("fortress"), role, backends)

    def _tell(self, event: GuardEvent) -> None:
        """Tells subscribers; one that does not read loses the connection, and so knows."""
        listening = [one for one in self._connections.values() if one.subscribed]
        if not listening:
            return
        told = messages.encode_answer(event)
        for connection in listening:
            if not self._send(connection, told):
                self._hang_up(connection)

    def _send(self, connection: _Connection, message: bytes, fds: Sequence[int] = ()) -> bool:
        try:
            channel.send(connection.socket, message, fds)
        except OSError:
            return False
        return True

    def _hang_up(self, connection: _Connection) -> None:
        fd = connection.socket.fileno()
        if self._connections.pop(fd, None) is not None:
            self._selector.unregister(connection.socket)
            connection.socket.close()
            connection.conntrack.close()

    # ---- backends ----

    def _nft(self) -> NftBackend | None:
        return next((one for one in self._guard.backends if isinstance(one, NftBackend)), None)

    def _own_ports(self) -> frozenset[int]:
        nft = self._nft()
        return nft.ports() if nft is not None else frozenset()
