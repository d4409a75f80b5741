# SPDX-License-Identifier: Apache-2.0
"""Bound sockets, and a server in a thread of its own that answers on all of them.

The server is waitress: importing it costs 15 ms and 2 MiB (cheroot 45 ms and 12 MiB, and three more
packages; gunicorn forks), and it takes sockets that are bound already. Measured with Python 3.11.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ThreadedTaskDispatcher

from fortress.errors import OutputError
from fortress.http.access import peer_address

THREADS = 8  # READERS of event streams hold one each, the rest answers
CONNECTIONS = 64
HEADER_BYTES = 16 * 1024
BODY_BYTES = 1 << 20  # the last stop; apps refuse earlier and with better words
IDLE_S = 30  # a connection that asks nothing is closed
STOP_S = 3

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


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
        bound.listen(CONNECTIONS)
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
        stack.callback(path.unlink, missing_ok=True)
        yield bound


@contextlib.contextmanager
def serving(app: App, sockets: Sequence[socket.socket]) -> Iterator[None]:
    """Answer on `sockets` with `app` while the block runs; they are closed with it.

    Streams without end must be ended before the block is left (`Broadcast.close`).
    """
    settings = Adjustments(
        threads=THREADS,
        connection_limit=CONNECTIONS,
        max_request_header_size=HEADER_BYTES,
        max_request_body_size=BODY_BYTES,
        channel_timeout=IDLE_S,
        outbuf_high_watermark=1 << 20,
        ident="fortress",
    )
    served: dict[int, Any] = {}
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(THREADS)
    for bound in sockets:
        kind: Any = _Unix if bound.family == socket.AF_UNIX else TcpWSGIServer
        server = kind(
            app,
            served,
            _sock=bound,
            dispatcher=dispatcher,
            adj=settings,
            sockinfo=(bound.family, bound.type, bound.proto, bound.getsockname()),
            bind_socket=False,
        )
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            wasyncore.poll2(1.0, served)

    thread = threading.Thread(target=loop, name="http", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        server.pull_trigger()
        thread.join(STOP_S)
        dispatcher.shutdown(timeout=STOP_S)
        wasyncore.close_all(served)


class _Unix(UnixWSGIServer):
    """Names the peer in REMOTE_ADDR as the kernel knows it (`access.PEER`)."""

    def accept(self) -> tuple[socket.socket, str] | None:
        accepted = super().accept()
        if accepted is None:
            return None
        try:
            return accepted[0], peer_address(accepted[0])
        except OSError:  # gone again before we looked
            accepted[0].close()
            return None

    def fix_addr(self, addr: str) -> tuple[str, None]:  # type: ignore[override]  # a stub too narrow
        return addr, None


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
    bound.listen(CONNECTIONS)


def _listener(port: int) -> str:
    """Who listens at a TCP port, as far as we may know."""
    for one in psutil.net_connections("tcp"):
        if one.status != psutil.CONN_LISTEN or not one.pid:
            continue
        address: tuple[Any, ...] = one.laddr
        if address[1] == port:
            with contextlib.suppress(psutil.Error):
                return f"pid {one.pid} ({psutil.Process(one.pid).name()})"
            return f"pid {one.pid}"
    return "a process of another user (`ss -tlnp` as root names it)"
