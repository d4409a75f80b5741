# SPDX-License-Identifier: Apache-2.0
"""Keeps the store's devices: a thread that hears the kernel's neighbours, reads leases, and takes
what ARP, neighbour discovery and DHCP packets of each tick tell of who is there.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from fortress_core import format_addr, format_mac

from fortress.config import Settings
from fortress.devices.dhcp_port import heard, open_dhcp_port
from fortress.devices.table import DeviceTable
from fortress.devices.vendors import Vendors
from fortress.devices.watch import LEASES_EVERY_S, DeviceWatch
from fortress.devices.words import parse_mac
from fortress.errors import GuardError, StoreError
from fortress.logs import logger
from fortress.respond.client import GuardClient
from fortress.services.agent.view import SensorRow, SensorState

if TYPE_CHECKING:
    from fortress.store import Store

WRITE_EVERY_S = 5.0
NAMES_EVERY_S = 60.0
DHCP_EVERY_S = 30.0  # until somebody opens a socket for what DHCP clients say
MOST_A_TICK = 64  # sightings of one tick that are looked at; a flood tells nothing more
_WAITING = 1024
_WAIT_S = 0.5
_STOP_S = 10.0

Sighting = tuple[str, str, str]


class Census:
    """Runs while it is entered; `trouble` says what does not work, and `see` never waits."""

    def __init__(self, settings: Settings, interfaces: Sequence[str] = ()) -> None:
        self._settings, self._ports = settings, tuple(interfaces)
        self._seen: deque[Sighting] = deque(maxlen=_WAITING)
        self._dhcp: socket.socket | None = None
        self._stop = Event()
        self._thread = Thread(target=self._run, name="census", daemon=True)
        chosen = settings.devices
        self.table = DeviceTable(Vendors(chosen.vendors), chosen.most)
        self.trouble = ""

    def see(self, packets: Mapping[str, npt.NDArray[Any]]) -> None:
        """Takes a tick's packet rows: who says in ARP or neighbour discovery where it is."""
        if not self._settings.devices.enabled or not len(packets["arp_op"]):
            return
        said = np.flatnonzero((packets["arp_op"] != 0) & (packets["arp_mac"] != 0))
        for row in said[:MOST_A_TICK]:
            with suppress(ValueError, IndexError):  # a group's MAC; an interface without a name
                mac = parse_mac(format_mac(int(packets["arp_mac"][row])))
                address = format_addr(packets["src_addr"][row])
                self._seen.append((mac, address, self._ports[int(packets["iface"][row])]))

    def rows(self) -> list[SensorRow]:
        """The sensor `devices`, where devices are kept: stale while something does not work."""
        if not self._settings.devices.enabled:
            return []
        trouble = self.trouble
        state: SensorState = "stale" if trouble else "live"
        return [SensorRow("devices", "devices", state, trouble, facts={"known": len(self.table)})]

    def __enter__(self) -> Census:
        if self._settings.devices.enabled:
            self._dhcp = _dhcp_port(self._settings.respond.guard)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    # ---- the thread ----

    def _run(self) -> None:
        log, chosen = logger("census"), self._settings.devices
        dhcp_due_s = time.monotonic() + DHCP_EVERY_S
        try:
            with DeviceWatch(self.table, chosen.leases, chosen.interfaces) as watch:
                keeper = _Keeper(self._settings, self.table)
                try:
                    while not self._stop.is_set():
                        keeper.keep()
                        if self._dhcp is None and time.monotonic() >= dhcp_due_s:
                            dhcp_due_s = time.monotonic() + DHCP_EVERY_S
                            self._dhcp = _dhcp_port(self._settings.respond.guard)
                        self._look(watch)
                        trouble = "; ".join(filter(None, (*watch.troubles, keeper.trouble)))
                        if trouble and trouble != self.trouble:
                            log.warning("devices", trouble=trouble)
                        self.trouble = trouble
                    self._look(watch)
                    keeper.write()
                finally:
                    keeper.close()
        except OSError as error:  # a kernel that tells nothing of neighbours
            self.trouble = str(error)
            log.error("devices are not watched", why=self.trouble)
        finally:
            if self._dhcp is not None:
                self._dhcp.close()

    def _look(self, watch: DeviceWatch) -> None:
        readable: list[DeviceWatch | socket.socket] = [watch]
        if self._dhcp is not None:
            readable.append(self._dhcp)
        select.select(readable, [], [], 0 if self._stop.is_set() else min(_WAIT_S, LEASES_EVERY_S))
        watch.look()
        now_ns = time.time_ns()
        for told, interface in heard(self._dhcp) if self._dhcp is not None else ():
            if told.mac not in watch.own_macs and watch.is_inside(interface):
                self.table.dhcp(told, now_ns, interface)
        while self._seen:
            mac, address, interface = self._seen.popleft()
            known = address not in ("0.0.0.0", "::")
            if mac not in watch.own_macs and watch.is_inside(interface):
                self.table.see(mac, now_ns, address if known else "", interface)


def _dhcp_port(guard: str) -> socket.socket | None:
    """What hears DHCP clients, from the guard, else by our own capability; None where neither may:
    then leases alone name devices.
    """
    if guard:
        with suppress(GuardError), GuardClient(guard, session="", wait_s=2.0) as client:
            return client.open_dhcp()
    with suppress(PermissionError):
        return open_dhcp_port()
    return None


class _Keeper:
    """Writes what changed, in batches, and reads what operators have named and restricted."""

    def __init__(self, settings: Settings, table: DeviceTable) -> None:
        self._settings, self._table = settings, table
        self._store: Store | None = None
        self._write_due_s = self._names_due_s = 0.0
        self._loaded = False
        self.trouble = ""

    def keep(self) -> None:
        """Does what is due."""
        now_s = time.monotonic()
        if now_s >= self._names_due_s:
            self._names_due_s = now_s + NAMES_EVERY_S
            self._ask_guard()
            self._read()
        if now_s >= self._write_due_s:
            self._write_due_s = now_s + WRITE_EVERY_S
            self.write()

    def write(self) -> None:
        """Tells the store what has changed; what it does not take is told again."""
        if not self._settings.store.enabled:
            self._table.take_changes()
            return
        told = self._table.take_changes()
        if not told.changed and not told.gone:
            return
        try:
            self._opened().write_devices(told.changed, told.gone)
            self.trouble = ""
        except StoreError as error:
            self._table.take_back(told)
            self.trouble = str(error)
            self.close()

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _read(self) -> None:
        if not self._settings.store.enabled:
            return
        try:
            devices = self._opened().devices()
        except StoreError as error:
            self.trouble = str(error)
            self.close()
            return
        if not self._loaded:
            self._loaded = True
            self._table.load(devices)
        self._table.named((one.mac, one.name) for one in devices)

    def _ask_guard(self) -> None:
        socket = self._settings.respond.guard
        if not socket or not Path(socket).exists():
            return
        with suppress(GuardError), GuardClient(socket, wait_s=2.0) as guard:
            self._table.keep(one.rule.mac for one in guard.devices())

    def _opened(self) -> Store:
        if self._store is None:
            from fortress.store import Store

            self._store = Store(self._settings.store_url())
        return self._store
