# SPDX-License-Identifier: Apache-2.0
"""The flow archive that the agent writes: flows in, whole Parquet files out, by its own thread.

    with Archive(settings.archive_path(), settings.archive) as archive:
        stream = open_live(…, flow_columns=[*needed, *archive.columns])
        for batch in stream:
            archive.add(batch.flows)            # copies columns; never waits for the disk
            archive.tick(batch.tick_ns)         # a file is written after some minutes anyway

For 10,000 flows the loop spends 6 ms (in batches of 200) and the thread 31 ms; a flow is 62 bytes
on disk; 15 MiB of memory at the default 5,000 flows a file, beside pyarrow's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from fortress_core import Column

from fortress.archive import shelf
from fortress.archive.arrow import SEQUENCE, array, flow_columns, schema
from fortress.archive.files import Parquet
from fortress.archive.shelf import ArchiveFile, ArchiveState
from fortress.config.settings import Archive as Settings
from fortress.errors import OutputError

STOP_S = 15.0  # that a stop waits for a disk that hangs
WAITING = 2  # full chunks that wait for the disk; flows of more are lost, and counted
_DAY_NS = 86_400_000_000_000
_ALIGN = 16

Columns = Mapping[str, npt.NDArray[Any]]


class Table(Protocol):
    """The part of the core's `Rows` that is read here."""

    @property
    def rows(self) -> int:
        """How many flows there are."""

    def __getitem__(self, name: str) -> npt.NDArray[Any]: ...


class Archive:
    """Takes ended flows and keeps them; one at a time for a folder, by a lock in it.

    Flows that were added less than `minutes_per_file` ago are lost when the process is killed; a
    file is there whole or not at all. A disk that is full or slow costs flows, never the loop:
    `state` tells how many and why.
    """

    def __init__(
        self, folder: Path, settings: Settings, wall_s: Callable[[], float] = time.time
    ) -> None:
        self._folder = shelf.made(folder)
        self._settings = settings
        self._wall_s = wall_s
        self._lock = _locked(folder)
        self._columns = [
            one for one in flow_columns().values() if not one.name.startswith(SEQUENCE)
        ]
        self._chunk = _Chunk(self._columns, settings.rows_per_file)
        self._since_ns: int | None = None
        self._queue: queue.Queue[_Chunk | None] = queue.Queue(WAITING)
        self._lost = self._written = 0
        self._lost_by_disk = 0
        self._error = ""
        try:
            shelf.tidy(folder)
            self._files = shelf.files(folder)
            self._prune()
        except OSError as error:
            os.close(self._lock)
            raise OutputError(f"archive.path {folder}: {error.strerror or error}") from error
        self._thread = Thread(target=self._run, name="archive", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def columns(self) -> tuple[str, ...]:
        """The flow columns that `add` reads, to be selected in the stream."""
        return tuple(column.name for column in self._columns)

    def add(self, flows: Table) -> None:
        """Take a batch's ended flows; their values are copied."""
        begin = 0
        while begin < flows.rows:
            begin += self._chunk.add(flows, begin)
            if self._chunk.is_full:
                self._hand_over()

    def tick(self, now_ns: int) -> None:
        """Tell the time of the capture: flows do not wait longer than `minutes_per_file`."""
        if not self._chunk.rows:
            self._since_ns = None
            return
        if self._since_ns is None or now_ns < self._since_ns:
            self._since_ns = now_ns
        elif now_ns - self._since_ns >= self._settings.minutes_per_file * 60e9:
            self._hand_over()

    def files(self, since_ns: int = 0, until_ns: int | None = None) -> list[ArchiveFile]:
        """Every whole file with flows that ended in [since_ns, until_ns), oldest first."""
        return shelf.files(self._folder, since_ns, until_ns)

    def state(self) -> ArchiveState:
        """What there is and what was done; may be called from any thread."""
        known = self._files
        return ArchiveState(
            files=len(known),
            bytes=sum(one.bytes for one in known),
            rows_written=self._written,
            rows_lost=self._lost + self._lost_by_disk,
            rows_waiting=self._chunk.rows,
            error=self._error,
        )

    def close(self) -> None:
        """Write what waits and let the folder go; closing again does nothing."""
        if self._lock < 0:
            return
        try:
            if self._chunk.rows:
                self._queue.put(self._chunk, timeout=STOP_S)
            self._queue.put(None, timeout=STOP_S)
            self._thread.join(STOP_S)
        except queue.Full:  # the disk hangs; the thread ends with the process
            self._lost += self._chunk.rows
        os.close(self._lock)
        self._lock = -1

    def _hand_over(self) -> None:
        full, self._since_ns = self._chunk, None
        self._chunk = _Chunk(self._columns, self._settings.rows_per_file)
        try:
            self._queue.put_nowait(full)
        except queue.Full:
            self._lost += full.rows

    # ---- the thread ----

    def _run(self) -> None:
        while (chunk := self._queue.get()) is not None:
            for hour in chunk.by_hour():
                rows = len(hour["last_ns"])
                try:
                    self._write(hour, rows)
                    self._error = ""
                except Exception as error:  # whatever it is, the next chunk may fare better
                    self._lost_by_disk += rows
                    why = getattr(error, "strerror", None) or error
                    self._error = f"{self._folder}: cannot be written: {why}"

    def _write(self, flows: Columns, rows: int) -> None:
        ends = flows["last_ns"]
        first_ns, last_ns = int(ends.min()), int(ends.max())
        path = shelf.place(self._folder, first_ns, last_ns, rows)
        content = _parquet(self._columns, flows)
        shelf.write(path, content)
        self._written += rows
        self._files = [*self._files, ArchiveFile(path, first_ns, last_ns, rows, len(content))]
        self._prune()

    def _prune(self) -> None:
        keep_bytes = round(self._settings.keep_gib * (1 << 30))
        oldest_ns = round(self._wall_s() * 1e9 - self._settings.keep_days * _DAY_NS)
        gone = set(shelf.too_much(self._files, keep_bytes, oldest_ns))
        for one in gone:
            shelf.remove(one)
        if gone:
            self._files = [one for one in self._files if one not in gone]


class _Chunk:
    """Columns of up to `most` flows in one piece of memory, of which only used pages are real."""

    def __init__(self, columns: Sequence[Column], most: int) -> None:
        self.rows = 0
        self._most = most
        sizes = [-(-np.dtype(one.dtype).itemsize * most // _ALIGN) * _ALIGN for one in columns]
        memory = np.empty(sum(sizes), np.uint8)
        self._columns: dict[str, npt.NDArray[Any]] = {}
        begin = 0
        for column, size in zip(columns, sizes, strict=True):
            values = np.frombuffer(memory.data, column.dtype, most, begin)
            self._columns[column.name] = values
            begin += size

    @property
    def is_full(self) -> bool:
        """Whether no flow fits any more."""
        return self.rows == self._most

    def add(self, flows: Table, begin: int) -> int:
        """Copy flows from row `begin` on, as many as fit; how many those were."""
        taken = min(flows.rows - begin, self._most - self.rows)
        end = self.rows + taken
        for name, values in self._columns.items():
            values[self.rows : end] = flows[name][begin : begin + taken]
        self.rows = end
        return taken

    def by_hour(self) -> Iterator[Columns]:
        """The flows, apart by the UTC hour in which they ended."""
        used = {name: values[: self.rows] for name, values in self._columns.items()}
        hours = used["last_ns"] // shelf.HOUR_NS
        distinct = np.unique(hours)
        if len(distinct) == 1:
            yield used
            return
        for hour in distinct:
            mask = hours == hour
            yield {name: values[mask] for name, values in used.items()}


def _parquet(columns: Sequence[Column], flows: Columns) -> bytes:
    arrow = schema(columns)
    file = io.BytesIO()
    writer = Parquet(file, arrow)
    arrays = [array(column, flows[column.name]) for column in columns]
    writer.write(pa.Table.from_arrays(arrays, schema=arrow))
    writer.close()
    return file.getvalue()


def _locked(folder: Path) -> int:
    path = folder / ".lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise OutputError(f"archive.path {folder}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the pid
            os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    except BlockingIOError:
        pid = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise OutputError(f"archive.path {folder}: another agent writes there, pid {pid}") from None
    return lock
