# SPDX-License-Identifier: Apache-2.0
"""EVE JSON lines into a file, whole lines only, set aside when it grows large."""

from __future__ import annotations

import os
from pathlib import Path

from fortress.errors import OutputError
from fortress.events import Event

BUFFER_BYTES = 256 * 1024
PERMISSIONS = 0o640


class EveFile:
    """Appends to `path`; at `rotate_bytes` it becomes `path.1`, older ones up to `path.keep`."""

    name = "eve"

    def __init__(self, path: Path, rotate_bytes: int, keep: int) -> None:
        self.path = path
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._fd = -1
        self._open()

    def apply(self, event: Event) -> None:
        """Take the event's lines."""
        if self._fd < 0:
            raise OutputError(f"{self.path}: is closed")
        self._lines.append(event.line)
        self._waiting_bytes += len(event.line)
        if self._waiting_bytes >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits; a line that does not fit on the disk is taken back whole."""
        if not self._lines:
            return
        waiting = b"".join(self._lines)
        self._forget()
        if self._size_bytes and self._size_bytes + len(waiting) > self._rotate_bytes:
            self._rotate()
        try:
            write_all(self._fd, waiting)
        except OSError as error:
            self._take_back_half_a_line(waiting)
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._size_bytes += len(waiting)

    def close(self) -> None:
        """Flush and close the file."""
        if self._fd < 0:
            return
        try:
            self.flush()
        finally:
            os.close(self._fd)
            self._fd = -1
            self._forget()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, flags, PERMISSIONS)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be opened: {error.strerror}") from error
        self._size_bytes = os.fstat(self._fd).st_size
        self._end_last_line()

    def _end_last_line(self) -> None:
        """A file that was cut within a line (power loss) must not spoil the next line."""
        if self._size_bytes and os.pread(self._fd, 1, self._size_bytes - 1) not in (b"\n", b""):
            self._lines.append(b"\n")
            self._waiting_bytes += 1

    def _take_back_half_a_line(self, waiting: bytes) -> None:
        written = max(os.fstat(self._fd).st_size - self._size_bytes, 0)
        whole = waiting.rfind(b"\n", 0, written) + 1
        self._size_bytes += whole
        os.ftruncate(self._fd, self._size_bytes)

    def _rotate(self) -> None:
        os.close(self._fd)
        self._fd = -1
        try:
            for number in range(self._keep - 1, 0, -1):
                older = self._aside(number)
                if older.exists():
                    older.replace(self._aside(number + 1))
            if self._keep:
                self.path.replace(self._aside(1))
            else:
                self.path.unlink()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be set aside: {error.strerror}") from error
        self._open()

    def _aside(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _forget(self) -> None:
        self._lines.clear()
        self._waiting_bytes = 0


def write_all(fd: int, waiting: bytes) -> None:
    """Write every byte; OSError as the system says it."""
    rest = memoryview(waiting)
    while rest:
        rest = rest[os.write(fd, rest) :]
