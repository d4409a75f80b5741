# SPDX-License-Identifier: Apache-2.0
"""Who may ask for what: the Host header, the token, and peer credentials on a unix socket.

Reading is open to those who reach the socket (loopback, or the unix socket's file mode), unless the
TCP address is not loopback. Everything that changes state needs the token or the right peer; the
rule goes by the request's method, so that no view can forget it.
"""

from __future__ import annotations

import grp
import ipaddress
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil

from flask import Flask, Response, request

from fortress.errors import ConfigError
from fortress.http.problems import Refusal
from fortress.http.tokens import Failures, is_same

MOST_BODY_BYTES = 64 * 1024  # of a request; ours are a line of JSON
PEER = "unix:"  # how the server names a peer on the unix socket: unix:PID,UID,GID[,GID…]
_SAFE = ("GET", "HEAD", "OPTIONS")
_SO_PEERGROUPS = 59  # asm-generic/socket.h, Linux 4.13


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may change state, and under which names the TCP port may be called.

    `open_reading` is false where others than this machine reach the port: reading needs the token
    there too, but for `free` paths. `gids` are groups whose members may change state by the unix
    socket.
    """

    token: str
    hosts: frozenset[str]
    open_reading: bool = True
    gids: frozenset[int] = frozenset()
    free: frozenset[str] = frozenset({"/health", "/metrics"})


def guard(app: Flask, rules: Rules, failures: Failures) -> None:
    """Check every request of `app` before it is served; a Refusal says what is missing."""
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES

    @app.before_request
    def check() -> None:
        address = request.environ.get("REMOTE_ADDR", "")
        if address.startswith(PEER):
            if request.method not in _SAFE and not _peer_may(address, rules.gids):
                _check_token(rules, failures, address, "this user may not: be root, the agent's"
                             " own user or in its control group, or send the token")  # fmt: skip
            return
        _check_host(rules.hosts)
        if request.method not in _SAFE:
            _check_token(rules, failures, address, "this needs the token")
        elif not rules.open_reading and request.path not in rules.free:
            _check_token(rules, failures, address, "reading from other machines needs the token")

    @app.after_request
    def seal(response: Response) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def host_names(listen: str, more: tuple[str, ...] = ()) -> frozenset[str]:
    """The names that a Host header may have for a port at `listen` (ADDRESS:PORT)."""
    names = {listen.rpartition(":")[0].strip("[]").lower(), *(name.lower() for name in more)}
    return frozenset(names | {"localhost", "127.0.0.1", "::1"})


def is_loopback(listen: str) -> bool:
    """Whether only this machine reaches a port at `listen`."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def group_id(name: str) -> int:
    """The id of a group; ConfigError when there is none of this name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"control.group: there is no group {name!r}: groupadd {name}") from None


def peer_address(connection: socket.socket) -> str:
    """The kernel's word on who is at the other end of a unix socket, in the form of PEER."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    try:
        groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    except OSError:  # more than 256 groups: only the primary one counts then
        groups = b""
    numbers = struct.unpack("=iII", credentials) + struct.unpack(f"={len(groups) // 4}I", groups)
    return PEER + ",".join(map(str, numbers))


def _peer_may(address: str, gids: frozenset[int]) -> bool:
    _, uid, *groups = map(int, address.removeprefix(PEER).split(","))
    return uid in (0, os.geteuid()) or not gids.isdisjoint(groups)


def _check_host(hosts: frozenset[str]) -> None:
    """Refuse names that are not ours: a web page whose own name was pointed at us has none."""
    host = request.environ.get("HTTP_HOST", "").lower()
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name not in hosts:
        raise Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"Host {host[:100]!r} is not a name of this service; control.hosts allows more",
        )


def _check_token(rules: Rules, failures: Failures, address: str, why: str) -> None:
    address = PEER if address.startswith(PEER) else address
    if (wait_s := failures.wait_s(address)) > 0:
        raise Refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too many wrong tokens from this address; wait, or use the unix socket",
            Retry_After=str(ceil(wait_s)),
        )
    given = _given(request.environ)
    if given and is_same(given, rules.token):
        return
    if given:
        failures.add(address)
    raise Refusal(
        HTTPStatus.UNAUTHORIZED,
        f"{'the token is wrong' if given else why}; send `Authorization: Bearer TOKEN`",
        WWW_Authenticate='Bearer realm="fortress"',
    )


def _given(environ: Mapping[str, str]) -> str:
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""
