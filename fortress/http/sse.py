# SPDX-License-Identifier: Apache-2.0
"""Server-sent events: what one thread says, many readers hear, none of whom can slow it down.

The form is that of the HTML standard (§ 9.2): `id`, `event`, `data` lines and an empty one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Condition

READERS = 6  # each holds a thread of the server
WAITING = 512  # events that a slow reader may be behind before it loses some
KEPT = 256  # events that a reader who comes back is given again
HEARTBEAT_S = 5.0  # a comment after so much silence: so a reader who has gone is noticed


@dataclass(frozen=True, slots=True)
class Said:
    """An event as it goes out; `number` rises by one with each."""

    number: int
    text: bytes


class TooManyReadersError(Exception):
    """Every place is taken."""


class Broadcast:
    """Hands events to readers; `publish` never blocks. `lost` counts what slow readers missed."""

    def __init__(self, readers: int = READERS, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.lost = 0
        self.closed = False
        self._most_readers = readers
        self._heartbeat_s = heartbeat_s
        self._changed = Condition()
        self._kept: deque[Said] = deque(maxlen=KEPT)
        self._readers: list[deque[Said]] = []
        self._number = 0

    def publish(self, kind: str, line: bytes) -> None:
        """Say a line of JSON under the name `kind`."""
        with self._changed:
            self._number += 1
            head = f"id: {self._number}\nevent: {kind}\ndata: ".encode()
            said = Said(self._number, head + line.rstrip(b"\n") + b"\n\n")
            self._kept.append(said)
            for reader in self._readers:
                if len(reader) == WAITING:
                    reader.popleft()
                    self.lost += 1
                reader.append(said)
            self._changed.notify_all()

    def listen(self, after: int | None = None) -> Reader:
        """Everything said from now on, ready to be sent, until `close`.

        `after` is the number of the last event that the reader knows: those kept since come first.
        TooManyReadersError when every place is taken.
        """
        with self._changed:
            if self.closed or len(self._readers) >= self._most_readers:
                raise TooManyReadersError
            missed = [] if after is None else [said for said in self._kept if said.number > after]
            waiting = deque(missed, WAITING)
            self._readers.append(waiting)
        return Reader(self, waiting, after)

    def take(self, waiting: deque[Said]) -> list[Said]:
        """What waits in a reader's queue, after a while nothing; StopIteration at the end."""
        with self._changed:
            if not waiting and not self.closed:
                self._changed.wait(self._heartbeat_s)
            if self.closed:
                raise StopIteration
            return [waiting.popleft() for _ in range(len(waiting))]

    def leave(self, waiting: deque[Said]) -> None:
        """Give a reader's place back; once more does nothing."""
        with self._changed:
            self._readers[:] = [one for one in self._readers if one is not waiting]

    def close(self) -> None:
        """End every reader's stream."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()


class Reader:
    """One reader's stream of bytes, as a WSGI server wants it: it closes what it does not read."""

    def __init__(self, source: Broadcast, waiting: deque[Said], last: int | None) -> None:
        self._source = source
        self._waiting = waiting
        self._last = last
        self._ready = [b"retry: 2000\n\n"]

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._ready:
            return self._ready.pop()
        said = self._source.take(self._waiting)
        if not said:
            return b":\n\n"
        text = b"".join(one.text for one in said)
        missing = 0 if self._last is None else said[0].number - self._last - 1
        self._last = said[-1].number
        if missing > 0:
            text = b'event: lost\ndata: {"events":%d}\n\n' % missing + text
        return text

    def close(self) -> None:
        """Give the place back."""
        self._source.leave(self._waiting)
