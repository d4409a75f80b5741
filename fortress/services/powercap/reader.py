# SPDX-License-Identifier: Apache-2.0
"""`fortress powercap run`: opens the counters as root, gives everything up, says averages at 1 Hz.

Every connection gets a line of JSON a second and is never listened to:

    {"seconds": 1.0003, "watts": {"package-0": 6.21, "package-0/core": 2.05}, "total": 6.21}
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from fortress.errors import OutputError, UsageError
from fortress.http.sockets import unix_socket
from fortress.notify import Notifier
from fortress.services.powercap import rapl

PERIOD_S = 1.0  # finer would tell what other programs compute
LISTENERS = 8
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x2008_0522


@dataclass(frozen=True, slots=True)
class Reader:
    """Where to read, where to tell, and who may listen; `user` is what root becomes."""

    socket: Path
    powercap: Path = rapl.POWERCAP
    gid: int = -1
    user: str = "nobody"


def run(reader: Reader, stop: Event, notifier: Notifier, say: Callable[[str], None]) -> None:
    """Serve until `stop` is set; errors name the file and what to do."""
    domains = rapl.find(reader.powercap)
    with (
        contextlib.ExitStack() as stack,
        unix_socket(reader.socket, gid=reader.gid) as listening,
    ):
        stack.callback(rapl.close, domains)
        drop_privileges(reader.user)
        averages = rapl.Averages(domains)
        names = ", ".join(domain.name for domain in domains)
        say(f"reading {names}; telling {reader.socket}")
        notifier.ready(f"reading {names}")
        _serve(listening, averages, stop, notifier)
    notifier.stopping()


def drop_privileges(user: str) -> None:
    """Become `user` where we are root, and lose every capability for good; OutputError if not."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        try:
            found = pwd.getpwnam(user)
        except KeyError:
            raise UsageError(f"--user {user}: there is no such user") from None
        if found.pw_uid == 0:
            raise UsageError("--user: the point is not to be root")
        os.setgroups([])
        os.setresgid(found.pw_gid, found.pw_gid, found.pw_gid)
        os.setresuid(found.pw_uid, found.pw_uid, found.pw_uid)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if libc.capset(header, bytes(24)) or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OutputError(f"capabilities cannot be given up: {os.strerror(ctypes.get_errno())}")


def _serve(
    listening: socket.socket, averages: rapl.Averages, stop: Event, notifier: Notifier
) -> None:
    listening.setblocking(False)
    listeners: list[socket.socket] = []
    due_s, said = time.monotonic() + PERIOD_S, 0
    try:
        while not stop.is_set():
            wait_ms = max(0.0, due_s - time.monotonic()) * 1e3
            if select.select([listening], [], [], wait_ms / 1e3)[0]:
                _admit(listening, listeners)
            if time.monotonic() < due_s:
                continue
            due_s = max(due_s + PERIOD_S, time.monotonic())
            said += 1
            notifier.beat(said)
            average = averages.next()
            if average is not None:
                _tell(listeners, _line(average))
    finally:
        for one in listeners:
            one.close()


def _admit(listening: socket.socket, listeners: list[socket.socket]) -> None:
    with contextlib.suppress(OSError):  # gone again already
        one, _ = listening.accept()
        if len(listeners) >= LISTENERS:
            one.close()
            return
        one.setblocking(False)
        listeners.append(one)


def _tell(listeners: list[socket.socket], line: bytes) -> None:
    """Say a line to each; who has gone or does not read is let go."""
    for one in tuple(listeners):
        try:
            whole = one.send(line, socket.MSG_NOSIGNAL) == len(line)
        except OSError:
            whole = False
        if not whole:
            listeners.remove(one)
            one.close()


def _line(average: rapl.Average) -> bytes:
    watts = {name: round(value, 2) for name, value in average.watts.items()}
    told = {
        "seconds": round(average.seconds, 4),
        "watts": watts,
        "total": round(rapl.total_watts(average.watts), 2),
    }
    return json.dumps(told).encode() + b"\n"
