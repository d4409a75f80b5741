# SPDX-License-Identifier: Apache-2.0
"""What a sink is, and all sinks of a run as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from fortress.errors import OutputError
from fortress.events import Event, Value, event


class Sink(Protocol):
    """Takes events; `fortress/sinks/checks.py` holds what each one promises."""

    name: str

    def apply(self, event: Event) -> None:
        """Take an event, perhaps only into memory; OutputError when the world refuses it."""

    def flush(self) -> None:
        """Hand everything taken so far to the world."""

    def close(self) -> None:
        """Flush and let go; closing again does nothing."""


class Outputs:
    """All sinks of a run: one that fails is told once and left out, the others go on.

    `mode` says whether verdicts are carried out; it may be changed.
    """

    def __init__(
        self, sinks: Sequence[Sink], mode: str, complain: Callable[[OutputError], None]
    ) -> None:
        self.failures: list[OutputError] = []
        self._sinks = list(sinks)
        self.mode = mode
        self._complain = complain

    def say(self, value: Value) -> Event:
        """Give every sink the event that tells `value`, and return it."""
        told = event(value, self.mode)
        self._each(lambda sink: sink.apply(told))
        return told

    def flush(self) -> None:
        """Hand everything said so far to the world."""
        self._each(lambda sink: sink.flush())

    def close(self) -> None:
        """Close every sink."""
        self._each(lambda sink: sink.close())
        self._sinks.clear()

    def _each(self, act: Callable[[Sink], None]) -> None:
        for sink in tuple(self._sinks):
            try:
                act(sink)
            except OutputError as error:
                self._sinks.remove(sink)
                self.failures.append(error)
                self._complain(error)
                self._let_go(sink)

    def _let_go(self, sink: Sink) -> None:
        try:
            sink.close()
        except OutputError as error:
            self.failures.append(error)  # it was told that this sink fails
