# SPDX-License-Identifier: Apache-2.0
"""Tells systemd how a service fares: sd_notify(3)'s datagrams, written here, no library.

Without $NOTIFY_SOCKET every call does nothing, so that services need not ask where they run.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

from fortress.errors import OutputError


class Notifier:
    """Sends READY, RELOADING, STOPPING, STATUS and WATCHDOG; one for each process.

    `environ` names the socket (a path, or abstract with a leading @) and the watchdog's time;
    OutputError when it names what cannot be one. A supervisor that has gone is no error.

        notifier = Notifier(os.environ)
        notifier.ready("watching eth1")
        while running:
            notifier.beat(ticks)        # a counter that only rises while work is done
    """

    def __init__(
        self, environ: Mapping[str, str], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic_s = monotonic_s
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.beat_every_s = _half_of_watchdog_s(environ)
        self._due_s = 0.0
        self._progress = -1

    def ready(self, status: str = "") -> None:
        """Say that start or reload is over."""
        self._send("READY=1", status)

    def reloading(self, status: str = "") -> None:
        """Say that the configuration is being read again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={round(self._monotonic_s() * 1e6)}", status)

    def stopping(self, status: str = "") -> None:
        """Say that the service is on its way out."""
        self._send("STOPPING=1", status)

    def status(self, status: str) -> None:
        """Say one line that `systemctl status` shows."""
        self._send("", status)

    def beat(self, progress: int) -> bool:
        """Feed the watchdog when it is due and `progress` has risen since; True when it was fed.

        A loop that stands still feeds nothing however often it calls: systemd then restarts it.
        """
        now_s = self._monotonic_s()
        if not self.beat_every_s or now_s < self._due_s or progress <= self._progress:
            return False
        self._progress, self._due_s = progress, now_s + self.beat_every_s
        return self._send("WATCHDOG=1", "")

    def _send(self, state: str, status: str) -> bool:
        if not self._address:
            return False
        told = f"STATUS={' '.join(status.split())}" if status else ""
        text = "\n".join(filter(None, (state, told)))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.setblocking(False)  # a supervisor that does not read must not stop us
            try:
                out.sendto(text.encode("utf-8", "replace"), self._address)
            except OSError:  # full, gone, or not allowed: nobody there to tell
                return False
        return True


def _address(name: str) -> str:
    if not name or name.startswith("/"):
        return name
    if name.startswith("@"):
        return "\0" + name[1:]
    raise OutputError(f"NOTIFY_SOCKET: {name!r} is neither a path nor an abstract name (@…)")


def _half_of_watchdog_s(environ: Mapping[str, str]) -> float:
    """Half of what systemd waits for, as sd_watchdog_enabled(3) advises; 0 = not watched."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0  # another process of the service is meant
    text = environ.get("WATCHDOG_USEC", "0")
    if not text.isdecimal():
        raise OutputError(f"WATCHDOG_USEC: {text!r} is no number of microseconds")
    return int(text) / 2e6
