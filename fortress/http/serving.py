# SPDX-License-Identifier: Apache-2.0
"""A server in a thread of its own that answers on sockets that are bound already.

The server is waitress: importing it costs 15 ms and 2 MiB (cheroot 45 ms and 12 MiB, and three more
packages; gunicorn forks), and it takes sockets that are bound already. Measured with Python 3.11.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ThreadedTaskDispatcher

from fortress.http.access import peer_address

THREADS = 8  # READERS of event streams hold one each, the rest answers
CONNECTIONS = 64
HEADER_BYTES = 16 * 1024
BODY_BYTES = 1 << 20  # the last stop; apps refuse earlier and with better words
IDLE_S = 30  # a connection that asks nothing is closed
STOP_S = 3

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


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
