# SPDX-License-Identifier: Apache-2.0
"""Who is at the other end of a unix socket, and what that process may ask of the guard."""

from __future__ import annotations

import grp
import os
import socket
import struct

from fortress.respond.guard_settings import Access
from fortress.respond.judge import Asker

_SO_PEERGROUPS = 59
_MOST_GROUPS = 256  # getsockopt of Python gives at most a kilobyte


def admit(connection: socket.socket, access: Access) -> Asker | None:
    """The asker at the other end, None when it may ask nothing.

    root and the guard's own user may ask everything, as may the group `operators`; the group
    `agent` may not act as an operator.
    """
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid, gid = struct.unpack("=iII", packed)
    groups = {gid, *_supplementary(connection)}
    if uid in (0, os.geteuid()) or _gid(access.operators) in groups:
        return Asker(uid, pid, operator=True)
    if _gid(access.agent) in groups:
        return Asker(uid, pid, operator=False)
    return None


def _supplementary(connection: socket.socket) -> tuple[int, ...]:
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MOST_GROUPS)
    except OSError:  # more groups than that: the first one alone counts
        return ()
    return struct.unpack(f"={len(packed) // 4}I", packed)


def _gid(name: str) -> int | None:
    return grp.getgrnam(name).gr_gid if name else None
