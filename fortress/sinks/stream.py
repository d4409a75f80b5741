# SPDX-License-Identifier: Apache-2.0
"""EVE JSON lines onto an open descriptor: `--json` on standard output."""

from __future__ import annotations

from fortress.errors import OutputError
from fortress.events import Event
from fortress.sinks.eve import BUFFER_BYTES, write_all


class LineStream:
    """Writes lines to `fd`, which stays the caller's; BrokenPipeError when the reader has gone."""

    name = "stream"

    def __init__(self, fd: int, title: str) -> None:
        self._fd = fd
        self._title = title
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._closed = False

    def apply(self, event: Event) -> None:
        """Take the event's lines."""
        if self._closed:
            raise OutputError(f"{self._title}: is closed")
        self._lines.append(event.line)
        self._waiting_bytes += len(event.line)
        if self._waiting_bytes >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        waiting = b"".join(self._lines)
        self._lines.clear()
        self._waiting_bytes = 0
        try:
            write_all(self._fd, waiting)
        except BrokenPipeError:
            self._closed = True
            raise
        except OSError as error:
            self._closed = True
            raise OutputError(f"{self._title}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Write what waits; the descriptor stays open."""
        if not self._closed:
            self._closed = True
            self.flush()
