# SPDX-License-Identifier: Apache-2.0
"""Bound sockets for services: an address, or a path with one owner at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fortress.errors import OutputError

BACKLOG = 64
_LONGEST = 107  # sockaddr_un's, less its zero


def tcp_socket(listen: str, key: str) -> socket.socket:
    """A socket bound to ADDRESS:PORT; OutputError names the setting `key` and who has the port."""
    host, _, port = listen.rpartition(":")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind | socket.SOCK_CLOEXEC, proto)
    except (OSError, OverflowError) as error:
        raise OutputError(f"{key} {listen}: {getattr(error, 'strerror', '') or error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        whose = f" by {_listener(int(port))}" if error.errno == errno.EADDRINUSE else ""
        raise OutputError(f"{key} {listen}: {error.strerror}{whose}") from error
    return bound


@contextlib.contextmanager
def unix_socket(path: Path, mode: int = 0o660, gid: int = -1) -> Iterator[socket.socket]:
    """A socket bound to `path` while the block runs; OutputError names the pid of who has it.

    A lock beside the socket decides, so that a socket that a crash left behind is replaced and one
    that is in use never is.
    """
    if len(os.fsencode(path)) > _LONGEST:
        raise OutputError(f"{path}: is too long for a unix socket ({_LONGEST} bytes at most)")
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, lock)
            _lock(lock, path)
            bound = stack.enter_context(
                socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            )
            _bind(bound, path, mode, gid)
        except OSError as error:
            why = error.strerror or str(error)
            raise OutputError(f"{path}: cannot be bound: {why}") from error
        try:
            yield bound
        finally:
            with contextlib.suppress(OSError):  # we may have given up the right to; it is replaced
                path.unlink()


def _lock(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise OutputError(f"{path}: is served by another process, pid {pid}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)


def _bind(bound: socket.socket, path: Path, mode: int, gid: int) -> None:
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OutputError(f"{path}: is no socket: move it away, or choose another place")
        path.unlink()
    before = os.umask(0o777 & ~mode)  # the file must never be more open than it will be
    try:
        bound.bind(str(path))
    finally:
        os.umask(before)
    path.chmod(mode)
    if gid >= 0:
        os.chown(path, -1, gid)
    bound.listen(BACKLOG)


def _listener(port: int) -> str:
    """Who listens at a TCP port, as far as we may know."""
    import psutil  # only to tell an error

    for one in psutil.net_connections("tcp"):
        if one.status != psutil.CONN_LISTEN or not one.pid:
            continue
        address: tuple[Any, ...] = one.laddr
        if address[1] == port:
            with contextlib.suppress(psutil.Error):
                return f"pid {one.pid} ({psutil.Process(one.pid).name()})"
            return f"pid {one.pid}"
    return "a process of another user (`ss -tlnp` as root names it)"
