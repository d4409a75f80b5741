# SPDX-License-Identifier: Apache-2.0
"""The state of every input, and a notice each time one changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fortress_core import PortState

from fortress.qsecbit.energy import EnergySensor
from fortress.services.agent.view import SensorRow
from fortress.sinks.aside import Aside
from fortress.verdict import Notice

_SEEING = ("capture", "conntrack")  # the kinds of sensors without which traffic is misread


class Sensors:
    """Keeps what was last known of the inputs and outputs, so that only news is told."""

    def __init__(self) -> None:
        self.rows: tuple[SensorRow, ...] = ()
        self._packets: dict[str, int] = {}

    @property
    def any_stale(self) -> bool:
        """Whether an interface, or what the kernel translates between two, is not watched as it
        should be: what is seen is less than what happens, or is seen twice.
        """
        return any(row.kind in _SEEING and row.state != "live" for row in self.rows)

    def look(self, ns: int, rows: Iterable[SensorRow]) -> list[Notice]:
        """Take what is known now; a notice for each that changed its state since."""
        before = {(row.kind, row.name): row for row in self.rows}
        self.rows = tuple(rows)
        told = []
        for row in self.rows:
            known = before.get((row.kind, row.name))
            if known is None and row.state == "live":
                continue
            if known is None or _news(known) != _news(row):
                told.append(_notice(ns, row))
        return told

    def port_row(
        self, ns: int, name: str, state: PortState, *, why: str = "", hidden: str = ""
    ) -> SensorRow:
        """An interface; `name` is the one it was asked for by, `why` it cannot be opened again,
        `hidden` says why packets pass by it unseen.
        """
        packets, before = state.packets, self._packets.get(name, 0)
        self._packets[name] = packets
        last_ns = next((row.last_ns for row in self.rows if row.name == name), 0)
        reason = (hidden or state.reason) if state.alive else (why or state.reason)
        return SensorRow(
            name=name,
            kind="capture",
            state="live" if state.alive and not hidden else "stale",
            reason=reason,
            last_ns=ns if packets > before else last_ns,
            facts={"packets": packets, "drops": state.drops, "ifindex": state.ifindex},
        )


def output_rows(asides: Sequence[Aside]) -> list[SensorRow]:
    """Where events go: stale while it cannot be written."""
    return [
        SensorRow(
            name=one.name,
            kind="output",
            state="stale" if one.trouble else "live",
            reason=one.trouble,
            facts={"lost": one.lost},
        )
        for one in asides
    ]


def energy_row(energy: EnergySensor) -> SensorRow:
    """The energy sensor."""
    return SensorRow("energy", "energy", energy.state, energy.reason)


def _news(row: SensorRow) -> tuple[str, str]:
    """What a change of is told: why a guard or disk is still away has many words."""
    return row.state, row.reason if row.kind == "capture" else ""


def _notice(ns: int, row: SensorRow) -> Notice:
    words = f"{row.name} is {row.state}"
    message = f"{words}: {row.reason}" if row.reason else words
    return Notice(ns, "sensor", message, {"sensor": row.name, "state": row.state})
