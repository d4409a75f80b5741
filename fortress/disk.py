# SPDX-License-Identifier: Apache-2.0
"""Files and names that are on the disk when the call returns, whatever happens next."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_synced(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file that is not there yet and have it on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def replace_synced(path: Path, content: bytes) -> None:
    """Put `content` in the place of the file at `path`, at once for whoever reads it.

    Raises OSError; the old file then stays.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        write_synced(part, content)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
