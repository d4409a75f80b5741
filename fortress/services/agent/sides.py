# SPDX-License-Identifier: Apache-2.0
"""LAN and WAN watched together: each connection once, as the device behind the gateway has it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fortress_core import Conntrack, ConntrackError, Stream

from fortress.errors import ConfigError
from fortress.services.agent.translations import Translations, placeholder
from fortress.services.agent.view import SensorRow, SensorState

LOOK_S = 2.0  # how often it is looked whether a default route has come
_UP, _REJECT = 0x1, 0x200  # flags of a route, linux/route.h
_WHICH = "which side is outside? set capture.outside"


class Sides:
    """Tells the stream which interfaces face outside, and keeps translations coming."""

    def __init__(
        self, interfaces: Sequence[str], outside: Sequence[str], guard: Path | None = None
    ) -> None:
        for name in outside:
            if name not in interfaces:
                raise ConfigError(f"capture.outside: {name} is not watched")
        self._interfaces = tuple(interfaces)
        self._translations = Translations(guard)
        self._why = ""
        self.begins_anew = ""  # why the agent has to, once it has
        self._look_s = 0.0
        self._is_asked = len(interfaces) > 1 and not outside
        self.ports = self._numbers(default_routes() if self._is_asked else outside)

    def join(self, stream: Stream) -> None:
        """Before the stream is read."""
        if self.ports:
            self._join(stream, self._translations.open())

    def rows(self, stream: Stream) -> list[SensorRow]:
        """The sensor `conntrack`, where both sides are watched."""
        if self._is_asked and not self.ports and not self.begins_anew:
            self._look_again(stream)
        if not self.ports:
            return [_row("stale", self._why)] if self._is_asked else []
        self._translations.look(stream)
        if not self._translations.has_come:
            return [_row("missing", self._translations.why)]
        nat = stream.nat()
        facts = {"mappings": nat.mappings, "translated": nat.translated, "twice": nat.seen_twice}
        state: SensorState = "live" if nat.complete else "stale"
        return [SensorRow("conntrack", "conntrack", state, nat.reason, facts=facts)]

    def close(self) -> None:
        """Leave the kernel's news."""
        self._translations.close()

    def _numbers(self, outside: Sequence[str]) -> list[int]:
        ports = [number for number, name in enumerate(self._interfaces) if name in outside]
        if len(ports) == len(self._interfaces):
            return []  # nothing is inside: nothing can be seen twice
        return ports

    def _join(self, stream: Stream, conntrack: Conntrack | None) -> None:
        with placeholder() as unheard:
            stream.outside(self.ports, conntrack or unheard)
        self._translations.begin()

    def _look_again(self, stream: Stream) -> None:
        """A default route that comes before the first packet is in time; the core cannot take back
        what it counted, so that later the agent has to begin anew.
        """
        if time.monotonic() < self._look_s:
            return
        self._look_s = time.monotonic() + LOOK_S
        routed = default_routes()
        names = " and ".join(routed)
        self.ports = self._numbers(routed)
        if not self.ports:
            where = f"the default route is on {names}" if routed else "there is no default route"
            self._why = f"{_WHICH} ({where}); connections may be in two flows"
            return
        try:
            self._join(stream, None)
        except ConntrackError:
            self.ports = []
            self.begins_anew = f"{names} has a default route now, and faces outside"
            self._why = f"the agent begins anew: {self.begins_anew}"


def default_routes() -> list[str]:
    """The interfaces of the IPv4 and of the IPv6 default route, one where they are the same."""
    found = [default_route(), default_route6()]
    return list(dict.fromkeys(filter(None, found)))


def default_route(table: str | None = None) -> str:
    """The interface of the default route in /proc/net/route's text; "" without one."""
    found = [
        (int(row[6]), row[0])
        for row in _rows("/proc/net/route", table)
        if len(row) > 7 and row[1] == row[7] == "0" * 8 and _leads_on(row[3])
    ]
    return min(found)[1] if found else ""


def default_route6(table: str | None = None) -> str:
    """The interface of the default route in /proc/net/ipv6_route's text; "" without one.

    Those for some sources alone count, as a provider's router announces them.
    """
    found = [
        (int(row[5], 16), row[9])
        for row in _rows("/proc/net/ipv6_route", table)
        if len(row) > 9 and row[0] == "0" * 32 and row[1] == "00" and _leads_on(row[8])
    ]
    return min(found)[1] if found else ""


def _leads_on(flags: str) -> bool:
    return int(flags, 16) & (_UP | _REJECT) == _UP


def _rows(path: str, table: str | None) -> Iterator[list[str]]:
    """The words of each line, without a heading; nothing where the kernel lacks the protocol."""
    try:
        text = Path(path).read_text(encoding="ascii") if table is None else table
    except FileNotFoundError:
        return
    for line in text.splitlines():
        if not line.startswith("Iface"):
            yield line.split()


def _row(state: SensorState, why: str) -> SensorRow:
    return SensorRow("conntrack", "conntrack", state, why)
