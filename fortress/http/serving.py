# SPDX-License-Identifier: Apache-2.0
"""A server in a thread of its own that answers on sockets that are bound already.

The server is waitress: importing it costs 15 ms and 2 MiB (cheroot 45 ms and 12 MiB, and three more
packages; gunicorn forks), and it takes sockets that are bound already. Measured with Python 3.11.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ThreadedTaskDispatcher

from fortress.http.access import peer_address

THREADS = 10  # READERS of event streams hold one each, the rest answers
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
        channel_request_lookahead=1,  # or a client's leaving is noticed one write too late
        ident="fortress",
    )
    logging.getLogger("waitress.queue").disabled = True  # streams hold threads: no news
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(THREADS)
    loops = [_Loop(app, bound, settings, dispatcher) for bound in sockets]
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        dispatcher.shutdown(timeout=STOP_S)
        for loop in loops:
            loop.close()


class _Loop:
    """One socket and its connections, whose number is bounded for each socket apart: who fills the
    TCP port does not shut the unix socket.
    """

    def __init__(
        self,
        app: App,
        bound: socket.socket,
        settings: Adjustments,
        dispatcher: ThreadedTaskDispatcher,
    ) -> None:
        self._served: dict[int, Any] = {}
        self._stop = threading.Event()
        kind: Any = _Unix if bound.family == socket.AF_UNIX else TcpWSGIServer
        self._server = kind(
            app,
            self._served,
            _sock=bound,
            dispatcher=dispatcher,
            adj=settings,
            sockinfo=(bound.family, bound.type, bound.proto, bound.getsockname()),
            bind_socket=False,
        )
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections."""
        self._stop.set()
        self._server.pull_trigger()
        self._thread.join(STOP_S)

    def close(self) -> None:
        """Close every connection and the socket."""
        wasyncore.close_all(self._served)

    def _run(self) -> None:
        while not self._stop.is_set():
            wasyncore.poll2(1.0, self._served)


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
