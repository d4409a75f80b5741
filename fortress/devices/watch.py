# SPDX-License-Identifier: Apache-2.0
"""Keeps a table of devices up to date: the kernel's neighbours as they change, DHCP's leases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from fortress.devices.leases import Lease, file_mark, read_leases
from fortress.devices.neighbours import Neighbour, Neighbours
from fortress.devices.table import DeviceTable
from fortress.errors import InputError
from fortress.kernel.routes import default_interfaces

LEASES_EVERY_S = 2.0
ALL_EVERY_S = 300.0  # confirmations of known neighbours are not all told


class DeviceWatch:
    """Watches neighbours and leases; used as a context.

    `interfaces` names where devices are; none: everywhere but where a default route leads. Wait
    for `fileno()` for at most `LEASES_EVERY_S`, then call `look()`.
    """

    def __init__(
        self,
        table: DeviceTable,
        leases: Iterable[Path],
        interfaces: Iterable[str] = (),
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.table = table
        self.troubles: tuple[str, ...] = ()
        self._files, self._interfaces = tuple(leases), frozenset(interfaces)
        self._clock_ns = clock_ns
        self._neighbours = Neighbours()
        self._marks: object = None
        self._outside: frozenset[str] = frozenset()
        self.own_macs: frozenset[str] = frozenset()
        self._all_due_s = self._leases_due_s = 0.0

    def fileno(self) -> int:
        """The descriptor that tells of neighbours, to be waited for."""
        return self._neighbours.fileno()

    def look(self) -> None:
        """Takes in what has changed since the last time; OSError when the kernel is not to be
        asked.
        """
        news, lost = self._neighbours.news()
        now_s = time.monotonic()
        if lost or now_s >= self._all_due_s:
            self._neighbours.forget_names()
            self._all_due_s = now_s + ALL_EVERY_S
            self._outside = frozenset(default_interfaces())
            self.own_macs = frozenset(self._neighbours.own_macs())
            self._take(self._neighbours.all())
        self._take(news)
        if now_s >= self._leases_due_s:
            self._leases_due_s = now_s + LEASES_EVERY_S
            self._look_at_leases()

    def is_inside(self, interface: str) -> bool:
        """Whether devices are to be looked for there."""
        if self._interfaces:
            return interface in self._interfaces
        return interface not in self._outside

    def close(self) -> None:
        """Stop watching."""
        self._neighbours.close()

    def __enter__(self) -> DeviceWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, told: Iterable[Neighbour]) -> None:
        now_ns = self._clock_ns()
        for one in told:
            interface = self._neighbours.interface(one.ifindex)
            if self.is_inside(interface):
                self.table.see_neighbour(one, interface, now_ns)

    def _look_at_leases(self) -> None:
        marks = tuple(file_mark(file) for file in self._files)
        if marks == self._marks:
            return
        first, self._marks = self._marks is None, marks
        if first and not any(marks):  # nothing is known of leases
            return
        leases: list[Lease] = []
        troubles: list[str] = []
        unread = False
        for file in self._files:
            try:
                found = read_leases(file)
            except InputError as error:
                troubles.append(str(error))
                unread = True
                continue
            leases += found.leases
            if found.damaged:
                troubles.append(f"{file}: {found.damaged} lines left out, {found.damages[0]}")
        self.troubles = tuple(troubles)
        if unread:  # its leases may go on
            return
        self.table.leases(leases)
