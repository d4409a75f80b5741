# SPDX-License-Identifier: Apache-2.0
"""Files of a registry: read whole and bounded, written by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from fortress.errors import BusyError
from fortress.inference.rejection import ModelRejected

MAX_FILE_BYTES = 16 << 20  # a forest of 250,000 nodes takes 9.6 MB; ours are far smaller
LOCK_WAIT_S = 10.0
_LOCK_POLL_S = 0.05


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of a regular file, not one more than `most` ever read.

    Raises ModelRejected ("missing", "size"): a link, a pipe and a device are no files here.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = "is a link" if path.is_symlink() else f"cannot be read: {error.strerror}"
        raise ModelRejected("missing", path, why) from None
    try:
        told = os.fstat(descriptor)
        if not stat.S_ISREG(told.st_mode):
            raise ModelRejected("missing", path, "is no regular file")
        if told.st_size > most:
            raise ModelRejected("size", path, f"{told.st_size} bytes, {most} are allowed")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ModelRejected("missing", path, f"cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(content) > most:  # it grew meanwhile
        raise ModelRejected("size", path, f"more than {most} bytes")
    return content


@contextlib.contextmanager
def only_writer(
    folder: Path, wait_s: float = LOCK_WAIT_S, name: str = ".lock", who: str = "process"
) -> Iterator[None]:
    """Be the only one that writes into `folder` while the block runs; the kernel ends the lock when
    the process ends, however it does.

    Raises BusyError when another one has the lock for longer than `wait_s`.
    """
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        until_s = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    told = f" for {wait_s:g} s" if wait_s else ""
                    raise BusyError(
                        f"{folder}: another {who} has been writing{told}; try again"
                    ) from None
                time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)
