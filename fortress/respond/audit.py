# SPDX-License-Identifier: Apache-2.0
"""The audit: one JSON line for each act and each refusal of the guard."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

_encode = json.JSONEncoder(ensure_ascii=False).encode
MOST_BYTES = 32 << 20  # then the file is set aside as `.1`, and the one before is forgotten


class Audit:
    """Appends lines to a file; what cannot be written is told on standard error and counted."""

    def __init__(self, file: Path, wall_s: Callable[[], float]) -> None:
        self._file, self._wall_s = file, wall_s
        self.lost = 0
        self.lines = 0
        self._fd = -1
        self._bytes = 0

    def write(self, act: str, facts: list[dict[str, object]], asker: str = "guard") -> None:
        """One line for each of the facts, with the time, the act and who asked for it."""
        head = self._head(act, asker)
        self._append("".join(f"{_encode({**head, **one})}\n" for one in facts), len(facts))

    def _head(self, act: str, asker: str) -> dict[str, object]:
        time = datetime.fromtimestamp(self._wall_s(), UTC).isoformat(timespec="milliseconds")
        return {"time": time, "act": act, "asker": asker}

    def _append(self, text: str, lines: int) -> None:
        data = text.encode()
        try:
            self._open(len(data))
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            self._bytes += len(data)
            self.lines += lines
        except OSError as error:
            self.lost += lines
            self.close()
            with suppress(OSError):
                sys.stderr.write(f"fortress guard: audit {self._file}: {error.strerror}\n")

    def write_alike(
        self, act: str, targets: Sequence[str], facts: dict[str, object], asker: str = "guard"
    ) -> None:
        """One line for each of the targets, in the form that needs no quoting; the facts are the
        same for all of them.
        """
        head = f'{_encode(self._head(act, asker))[:-1]}, "target": "'
        rest = _encode(facts)[1:]
        tail = f'", {rest}\n' if facts else f'"{rest}\n'
        self._append("".join([f"{head}{one}{tail}" for one in targets]), len(targets))

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self, more: int) -> None:
        if self._fd >= 0 and self._bytes and self._bytes + more > MOST_BYTES:
            self.close()
            self._file.rename(self._file.with_suffix(self._file.suffix + ".1"))
        if self._fd < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(self._file, flags, 0o640)
            self._bytes = os.fstat(self._fd).st_size
