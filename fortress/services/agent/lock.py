# SPDX-License-Identifier: Apache-2.0
"""One agent for a state folder, and for an interface of a network namespace: files with a pid."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from fortress.errors import OutputError


@contextlib.contextmanager
def alone(state: Path, sockets: Path, interfaces: Sequence[str]) -> Iterator[None]:
    """Nobody else has the folder or an interface while the block runs; OutputError names who has.

    Interfaces are told apart by their network namespace. The locks end with the process, however it
    ends.
    """
    space = Path("/proc/self/ns/net").stat().st_ino
    wanted = {state / "agent.lock": f"state_dir {state}"}
    for name in interfaces:
        wanted[sockets / f"agent-{space}-{name}.lock"] = f"interface {name}"
    with contextlib.ExitStack() as held:
        for path, what in wanted.items():
            held.enter_context(_locked(path, what))
        yield


@contextlib.contextmanager
def _locked(path: Path, what: str) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise OutputError(f"{path}: cannot be locked: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise OutputError(f"{what}: another agent has it, pid {pid} ({path})") from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the pid
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(lock)
