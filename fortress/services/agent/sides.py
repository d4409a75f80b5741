# SPDX-License-Identifier: Apache-2.0
"""Which watched interfaces face outside, and what is inside: followed as routes change.

LAN and WAN watched together are one flow for each connection, as the device behind the gateway has
it. What faced outside once stays outside, whatever becomes of its route: an uplink that fails over
to another one, or is made anew, is no LAN meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fortress_core import Conntrack, Forged, Stream

from fortress.errors import ConfigError
from fortress.qsecbit.places import OurSide
from fortress.services.agent.surroundings import Surroundings
from fortress.services.agent.translations import Translations, placeholder
from fortress.services.agent.view import SensorRow, SensorState
from fortress.verdict import Notice

FORGED_AGAIN_NS = 60_000_000_000  # how often forging that goes on is told
_WHICH = "which side is outside? set capture.outside"


@dataclass(slots=True)
class _Told:
    """What was told of forged packets of a port, and when."""

    packets: int = 0
    ns: int = 0


class Sides:
    """Tells the stream which interfaces face outside, and keeps translations coming."""

    def __init__(
        self, interfaces: Sequence[str], outside: Sequence[str], guard: Path | None = None
    ) -> None:
        for name in outside:
            if name not in interfaces:
                raise ConfigError(f"capture.outside: {name} is not watched")
        self._interfaces = tuple(interfaces)
        self._named = tuple(outside)
        self._translations = Translations(guard)
        self._surroundings = Surroundings(interfaces)
        self._facing: tuple[str, ...] = ()  # outside, in the order in which that was learned
        self._networks: tuple[str, ...] = ()
        self._joined: list[int] = []  # the ports that the stream knows of
        self._translates = False
        self._told: dict[int, _Told] = {}
        self._learn()

    @property
    def ports(self) -> list[int]:
        """The numbers of the interfaces that face outside."""
        return [number for number, name in enumerate(self._interfaces) if name in self._facing]

    @property
    def inside(self) -> OurSide:
        """What is known of our side."""
        return self._surroundings.inside(self._facing, self.ports)

    def join(self, stream: Stream) -> None:
        """Before the stream is read."""
        if self._sees_both:
            self._translate(stream, self._translations.open())
        self._tell(stream)

    def look(self, stream: Stream, ns: int) -> list[Notice]:
        """Each second: takes what has changed around us; what there is to be told of it."""
        told = []
        if self._surroundings.have_changed():
            before = self._facing
            self._learn()
            if come := [name for name in self._facing if name not in before]:
                told.append(_faces(ns, come, before))
            if self._sees_both and not self._translates:
                self._translate(stream, None)
            self._tell(stream)
        return told + self._look_at_forged(stream, ns)

    def rows(self, stream: Stream) -> list[SensorRow]:
        """The sensor `conntrack`, where both sides are watched."""
        if len(self._interfaces) < 2:
            return []
        if not self._sees_both:
            return [] if self._named else [_row("stale", self._why())]
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
        self._surroundings.close()

    @property
    def _sees_both(self) -> bool:
        return 0 < len(self.ports) < len(self._interfaces)

    def _learn(self) -> None:
        leading = self._named or self._surroundings.leading_out()
        for name in leading:
            # never all of several: what comes last, or is preferred least, is inside
            is_last = len(self._facing) == len(self._interfaces) - 1 and bool(self._facing)
            if name in self._interfaces and name not in self._facing and not is_last:
                self._facing = (*self._facing, name)
        self._networks = self._surroundings.networks(self._facing)

    def _translate(self, stream: Stream, conntrack: Conntrack | None) -> None:
        """From now on packets outside get the addresses that they have inside."""
        with placeholder() as unheard:
            stream.outside(self.ports, conntrack or unheard)
        self._translations.begin()
        self._translates, self._joined = True, self.ports

    def _tell(self, stream: Stream) -> None:
        """Tell the stream what it does not know yet."""
        if self._joined != self.ports:
            self._joined = self.ports
            stream.outside(self.ports, None)
        if self._joined:
            stream.inside(self._networks)

    def _why(self) -> str:
        leading = self._surroundings.leading_out()
        where = f"the default route is on {' and '.join(leading)}"
        if not leading:
            where = "there is no default route"
        return f"{_WHICH} ({where}); connections may be in two flows"

    def _look_at_forged(self, stream: Stream, ns: int) -> list[Notice]:
        told = []
        for number in self._joined:
            known, seen = self._told.setdefault(number, _Told()), stream.forged(number)
            fresh = seen.packets - known.packets
            if fresh and (not known.ns or ns - known.ns >= FORGED_AGAIN_NS):
                self._told[number] = _Told(seen.packets, ns)
                told.append(_forged(ns, self._interfaces[number], fresh, seen))
        return told


def _faces(ns: int, come: Sequence[str], before: Sequence[str]) -> Notice:
    words = f"{' and '.join(come)} faces outside from now on: a default route leads there"
    if before:
        words += f" (as {' and '.join(before)} did before, and still does)"
    return Notice(ns, "sides", words, {"outside": " ".join((*before, *come))})


def _forged(ns: int, name: str, packets: int, seen: Forged) -> Notice:
    many = "a packet" if packets == 1 else f"{packets} packets"
    words = f"{name}: {many} came from outside in the name of an address inside, left out"
    sender = f", sent by {seen.mac}" if seen.mac else ""
    words += f": the last one of {seen.source} to {seen.target}{sender}"
    facts: dict[str, float | int | str] = {
        "interface": name,
        "packets": packets,
        "source": seen.source,
        "target": seen.target,
        "mac": seen.mac,
    }
    return Notice(ns, "forged", words, facts)


def _row(state: SensorState, why: str) -> SensorRow:
    return SensorRow("conntrack", "conntrack", state, why)
