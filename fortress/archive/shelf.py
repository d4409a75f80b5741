# SPDX-License-Identifier: Apache-2.0
"""Where the archive's files lie, what their names say, and which go when it grows too large.

    archive/day=2026-11-23/hour=14/1795439090395594056-1795439691000000000-20000.parquet

Day and hour are UTC, of the flows' last packets; the name holds the first and last of these and
the number of flows, so that a reader opens only what it needs. Only whole files have such names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fortress.disk import sync_folder
from fortress.errors import OutputError

PART = ".part"  # what is being written ends in this, and begins with a dot
HOUR_NS = 3_600_000_000_000
_NAME = re.compile(r"(\d+)-(\d+)-(\d+)(?:\.\d+)?\.parquet")


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A whole file: when its flows ended (ns since 1970, both ends included), rows and size."""

    path: Path
    first_ns: int
    last_ns: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """What the archive holds and what it did since it was opened; `error` is "" while it works."""

    files: int
    bytes: int
    rows_written: int
    rows_lost: int
    rows_waiting: int
    error: str = ""


def files(folder: Path, since_ns: int = 0, until_ns: int | None = None) -> list[ArchiveFile]:
    """Every whole file with flows that ended in [since_ns, until_ns), oldest first.

    Needs no lock: files appear whole and are never changed, though one may be gone by the time it
    is opened. A folder that does not exist holds none.
    """
    found = [
        one
        for one in _whole(folder)
        if one.last_ns >= since_ns and (until_ns is None or one.first_ns < until_ns)
    ]
    return sorted(found, key=lambda one: (one.last_ns, one.first_ns, one.path.name))


def place(folder: Path, first_ns: int, last_ns: int, rows: int) -> Path:
    """The path of a new file with these flows; its folder may not be there yet."""
    moment = datetime.fromtimestamp(last_ns // 1_000_000_000, UTC)
    inner = folder / f"day={moment:%Y-%m-%d}" / f"hour={moment:%H}"
    stem = f"{first_ns}-{last_ns}-{rows}"
    names = (f"{stem}{f'.{more}' if more else ''}.parquet" for more in range(1_000_000))
    return next(path for name in names if not (path := inner / name).exists())


def write(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is there whole or not at all, also after a power loss; OSError says why."""
    _folders(path.parent)
    part = path.with_name(f".{path.name}{PART}")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        part.rename(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def tidy(folder: Path) -> int:
    """Remove what a crash left half written and say how much; for the holder of the lock."""
    left = list(folder.glob(f"day=*/hour=*/.*{PART}"))
    for part in left:
        part.unlink(missing_ok=True)
    return len(left)


def too_much(
    known: Iterable[ArchiveFile], keep_bytes: int, oldest_ns: int
) -> Iterator[ArchiveFile]:
    """Which of these files must go, the oldest first: over the size, or ended before oldest_ns."""
    ordered = sorted(known, key=lambda one: one.last_ns)
    size = sum(one.bytes for one in ordered)
    for one in ordered:
        if size <= keep_bytes and one.last_ns >= oldest_ns:
            return
        size -= one.bytes
        yield one


def remove(one: ArchiveFile) -> None:
    """Remove a file, and its hour and day when nothing else is in them."""
    try:
        one.path.unlink(missing_ok=True)
        for inner in (one.path.parent, one.path.parent.parent):
            inner.rmdir()
    except OSError:  # not empty, most of the time; what cannot be removed is tried again later
        return


def _whole(folder: Path) -> Iterator[ArchiveFile]:
    for path in folder.glob("day=*/hour=*/*.parquet"):
        name = _NAME.fullmatch(path.name)
        if name is None:
            continue
        try:
            size = path.stat().st_size
        except FileNotFoundError:  # pruned meanwhile
            continue
        yield ArchiveFile(path, int(name[1]), int(name[2]), int(name[3]), size)


def _folders(inner: Path) -> None:
    for folder in (inner.parent, inner):
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)


def made(folder: Path) -> Path:
    """The archive's folder, there from now on; OutputError when it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"archive.path {folder}: cannot be made: {error.strerror}") from error
    return folder
