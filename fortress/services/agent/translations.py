# SPDX-License-Identifier: Apache-2.0
"""Where the kernel's news of translated connections comes from: the guard, else our capability.

Who reads the socket may not ask for the whole table without CAP_NET_ADMIN: the guard, which opened
it, asks on the connection that it was given to. That may take its time, so a thread does it.
"""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from fortress_core import Conntrack, ConntrackError, Stream, open_conntrack

from fortress.errors import GuardError
from fortress.respond.client import GuardClient

GUARD_WAIT_S = 5.0
LOOK_S = 1.0
# How often the whole table is asked for: while some of it is not known, before anything has been
# told to have ended (the kernel may tell no events at all), and else.
SOON_S, SILENT_S, AGAIN_S = 1.0, 3.0, 60.0
_NETLINK_NETFILTER = 12


class Translations:
    """Has the socket opened, and again when the guard has been away; all but the thread is the
    loop's alone.
    """

    def __init__(self, guard: Path | None) -> None:
        self.why = ""
        self.has_come = False
        self._guard = guard
        self._client: GuardClient | None = None
        self._is_own = False
        self._fresh: queue.SimpleQueue[Conntrack] = queue.SimpleQueue()
        self._current: Conntrack | None = None
        self._every_s = SOON_S
        self._stop = Event()
        self._thread: Thread | None = None

    def open(self) -> Conntrack | None:
        """The socket at the start, this object's to close; without one `why` says why."""
        self._current = self._opened()
        self.has_come = self._current is not None
        return self._current

    def begin(self) -> None:
        """From now on the table is asked for, and a socket that is lacking is asked for."""
        self._thread = Thread(target=self._run, name="conntrack", daemon=True)
        self._thread.start()

    def look(self, stream: Stream) -> None:
        """Give the stream a socket that has come, and see how soon the table is to be asked for."""
        while not self._fresh.empty():
            conntrack = self._fresh.get_nowait()
            stream.replace_conntrack(conntrack)
            if self._current is not None:
                self._current.close()
            self._current, self.has_come = conntrack, True
        nat = stream.nat()
        self._every_s = AGAIN_S if nat.complete and nat.ended else SILENT_S
        if not nat.complete:
            self._every_s = SOON_S

    def close(self) -> None:
        """Give the sockets back; the stream has its own."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2 * GUARD_WAIT_S)
        while not self._fresh.empty():
            self._fresh.get_nowait().close()
        if self._current is not None:
            self._current.close()
        self._leave()

    def _opened(self) -> Conntrack | None:
        """From the guard; by our own capability only where none gives it."""
        refused = ""
        if self._guard is not None:
            try:
                self._client = GuardClient(self._guard, session="", wait_s=GUARD_WAIT_S)
                return self._client.open_conntrack()
            except GuardError as error:
                refused = f"{error}; "
                self._leave()
        try:
            own = open_conntrack()
        except ConntrackError as error:
            self.why = f"{refused}{error}"
            return None
        self._is_own = True  # the core asks for the table itself
        return own

    def _leave(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    # ---- the thread ----

    def _run(self) -> None:
        asked_s = time.monotonic()
        while not self._stop.wait(LOOK_S):
            if self._client is not None:
                if time.monotonic() - asked_s < self._every_s:
                    continue
                try:
                    self._client.ask_conntrack()
                except GuardError as error:
                    self.why = str(error)
                    self._leave()
            elif not self._is_own and (conntrack := self._opened()) is not None:
                self._fresh.put(conntrack)
            asked_s = time.monotonic()


@contextmanager
def placeholder() -> Iterator[Conntrack | None]:
    """A socket that hears nothing, for a stream that is to be given one later; None where the
    kernel has no such sockets.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    try:
        deaf = socket.socket(socket.AF_NETLINK, kind, _NETLINK_NETFILTER)
    except OSError:
        yield None
        return
    with deaf:
        yield Conntrack(deaf.fileno())
