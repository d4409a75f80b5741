# SPDX-License-Identifier: Apache-2.0
"""LAN and WAN watched together: each connection once, as the device behind the gateway has it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from fortress_core import Conntrack, ConntrackError, Stream, open_conntrack

from fortress.errors import ConfigError
from fortress.services.agent.view import SensorRow, SensorState

ASK_S = 60.0  # how often the whole table is asked for


class Sides:
    """Tells the stream which interfaces face outside, and keeps translations coming."""

    def __init__(self, interfaces: Sequence[str], outside: Sequence[str]) -> None:
        self._conntrack: Conntrack | None = None
        self._why = ""
        self._ask_s = 0.0
        chosen = outside or ([default_route()] if len(interfaces) > 1 else [])
        for name in outside:
            if name not in interfaces:
                raise ConfigError(f"capture.outside: {name} is not watched")
        self.ports = [number for number, name in enumerate(interfaces) if name in chosen]
        if len(self.ports) == len(interfaces):
            self.ports = []  # nothing is inside: nothing can be seen twice

    def join(self, stream: Stream) -> None:
        """Before the stream is read."""
        if not self.ports:
            return
        try:
            self._conntrack = open_conntrack()
        except ConntrackError as error:
            self._why = str(error)
        stream.outside(self.ports, self._conntrack)

    def rows(self, stream: Stream) -> list[SensorRow]:
        """The sensor `conntrack`, where both sides are watched; asks again when it is time."""
        if not self.ports:
            return []
        if self._conntrack is None:
            return [SensorRow("conntrack", "conntrack", "missing", self._why)]
        if time.monotonic() >= self._ask_s:
            self._ask_s = time.monotonic() + ASK_S
            try:
                self._conntrack.ask()
            except ConntrackError as error:
                self._why = str(error)
        nat = stream.nat()
        facts = {"mappings": nat.mappings, "translated": nat.translated, "twice": nat.seen_twice}
        state: SensorState = "live" if nat.complete else "stale"
        return [SensorRow("conntrack", "conntrack", state, nat.reason or self._why, facts=facts)]

    def close(self) -> None:
        """Leave the kernel's news."""
        if self._conntrack is not None:
            self._conntrack.close()


def default_route(table: str | None = None) -> str:
    """The interface of the default route in /proc/net/route's text; "" without one."""
    text = Path("/proc/net/route").read_text(encoding="ascii") if table is None else table
    rows = [line.split() for line in text.splitlines()[1:]]
    found = [(int(row[6]), row[0]) for row in rows if len(row) > 7 and row[1] == row[7] == "0" * 8]
    return min(found)[1] if found else ""
