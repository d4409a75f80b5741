# SPDX-License-Identifier: Apache-2.0
"""A sink in a thread of its own: a disk or database that is slow or gone holds no loop up."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from threading import Event as Flag
from threading import Thread

from fortress.errors import FortressError, OutputError
from fortress.events import Event
from fortress.sinks.sink import Sink

WAITING = 8192  # events that may wait; more are lost, and counted
AGAIN_S, LONGEST_S = 1.0, 60.0  # after a failure it is opened again, later each time
STOP_S = 10.0  # that a stop waits for a world that hangs


class Aside:
    """Opens a sink, feeds it and opens it again when it fails; `trouble` says why it does not work.

    `flush_s` is how long an event may wait in the sink itself.
    """

    def __init__(self, name: str, opened: Callable[[], Sink], flush_s: float) -> None:
        self.name = name
        self.lost = 0
        self.trouble = ""
        self._opened = opened
        self._flush_s = flush_s
        self._queue: queue.Queue[Event | None] = queue.Queue(WAITING)
        self._given = 0  # to the sink since it was last flushed
        self._stopping = Flag()
        self._closed = False
        self._thread = Thread(target=self._run, name=f"sink {name}", daemon=True)
        self._thread.start()

    def apply(self, event: Event) -> None:
        """Take an event; where too many wait already it is lost."""
        if self._closed:
            raise OutputError(f"{self.name}: is closed")
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self.lost += 1

    def flush(self) -> None:
        """The thread does, in its own time."""

    def close(self) -> None:
        """Hand on what waits, if the world takes it soon."""
        if self._closed:
            return
        self._closed = True
        self._stopping.set()
        try:
            self._queue.put(None, timeout=STOP_S)
        except queue.Full:
            self.lost += self._queue.qsize()
            return
        self._thread.join(STOP_S)

    # ---- the thread ----

    def _run(self) -> None:
        wait_s, over = AGAIN_S, False
        while not over:
            sink: Sink | None = None
            try:
                sink = self._opened()
                self.trouble, wait_s = "", AGAIN_S
                over = self._feed(sink)
            except FortressError as error:
                self.trouble = str(error)
                self.lost, self._given = self.lost + self._given, 0
            finally:
                self._let_go(sink)
            if not over and self._stopping.wait(wait_s):
                over = True
                self.lost += self._queue.qsize()
            wait_s = min(2 * wait_s, LONGEST_S)

    def _feed(self, sink: Sink) -> bool:
        """Hand events on until there are to be no more."""
        due_s = time.monotonic() + self._flush_s
        while True:
            try:
                event = self._queue.get(timeout=max(due_s - time.monotonic(), 0.01))
                if event is None:
                    sink.flush()
                    self._given = 0
                    return True
                self._given += 1
                sink.apply(event)
            except queue.Empty:
                pass
            if time.monotonic() >= due_s:
                if self._given:
                    sink.flush()
                self._given = 0
                due_s = time.monotonic() + self._flush_s

    def _let_go(self, sink: Sink | None) -> None:
        if sink is None:
            return
        try:
            sink.close()
        except FortressError as error:
            self.trouble = str(error)
