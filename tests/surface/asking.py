"""A small HTTP client for tests, over TCP and over unix sockets."""

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float = 10) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def connection(place: str | Path) -> http.client.HTTPConnection:
    """A connection to ADDRESS:PORT, or to the socket at a path."""
    if isinstance(place, Path):
        return UnixConnection(place)
    return http.client.HTTPConnection(place, timeout=10)


def ask(
    place: str | Path,
    path: str,
    method: str = "GET",
    body: bytes | dict[str, Any] | None = None,
    **headers: str,
) -> Answer:
    """The answer to one request; keyword names are headers with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, dict):
        body = json.dumps(body).encode()
        named.setdefault("Content-Type", "application/json")
    over = connection(place)
    try:
        over.request(method, path, body, named)
        got = over.getresponse()
        return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
    finally:
        over.close()
