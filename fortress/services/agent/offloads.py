# SPDX-License-Identifier: Apache-2.0
"""Looks, in a thread, whether something forwards packets past the watched interfaces.

Only CAP_NET_ADMIN may ask for flowtables: where this process lacks it, the guard tells.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from fortress.errors import GuardError
from fortress.kernel.offloads import (
    TC_OFFLOAD,
    Flowtable,
    features_on,
    flowtables,
    hidden,
    masters,
)
from fortress.respond.client import GuardClient

EVERY_S = 5.0
GUARD_WAIT_S = 2.0


class Offloads:
    """Runs while it is entered; `hides` never waits."""

    def __init__(self, interfaces: Sequence[str], guard: Path | None) -> None:
        self._interfaces, self._guard = tuple(interfaces), guard
        self._why: dict[str, str] = {}
        self._stop = Event()
        self._thread = Thread(target=self._run, name="offloads", daemon=True)

    def hides(self, name: str) -> str:
        """Why packets of an interface are not seen; "" as far as is known."""
        return self._why.get(name, "")

    def look(self) -> None:
        """Looks once."""
        found: dict[str, str] = {}
        with suppress(OSError):
            found = hidden(self._interfaces, self._tables(), masters())
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            for name in self._interfaces:
                if TC_OFFLOAD in features_on(any_socket, name):
                    found[name] = f"{TC_OFFLOAD} is on: the hardware forwards packets unseen"
        self._why = found

    def __enter__(self) -> Offloads:
        self.look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(2 * GUARD_WAIT_S)

    def _tables(self) -> tuple[Flowtable, ...]:
        try:
            return flowtables()
        except PermissionError:
            return self._told()

    def _told(self) -> tuple[Flowtable, ...]:
        if self._guard is None or not self._guard.exists():
            return ()
        with (
            suppress(GuardError),
            GuardClient(self._guard, session="", wait_s=GUARD_WAIT_S) as client,
        ):
            return client.status().flowtables
        return ()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.look()
