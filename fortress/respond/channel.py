# SPDX-License-Identifier: Apache-2.0
"""Messages over SOCK_SEQPACKET: small ones inline, large ones in a sealed memfd, with descriptors.

A datagram begins with `{` (the message itself) or is MEMFD (the message is in the first descriptor,
which must be sealed against any change, so that its reader reads what was sent).
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Sequence
from contextlib import suppress

from fortress.errors import GuardError

INLINE_BYTES = 32_768
MOST_FDS = 253  # as many as the kernel takes at once: a mirror port has three of each queue
MEMFD = b"M"
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Malformed(GuardError):
    """What came is no message."""


def send(connection: socket.socket, message: bytes, fds: Sequence[int] = ()) -> None:
    """Send one message with descriptors; OSError when the other side is gone or does not read."""
    if len(message) <= INLINE_BYTES:
        socket.send_fds(connection, [message], list(fds), socket.MSG_NOSIGNAL)
        return
    sealed = _sealed(message)
    try:
        socket.send_fds(connection, [MEMFD], [sealed, *fds], socket.MSG_NOSIGNAL)
    finally:
        os.close(sealed)


def receive(connection: socket.socket, most_bytes: int) -> tuple[bytes, list[int]]:
    """The next message and its descriptors, which are the caller's to close; nothing at the end.

    Malformed when it is too large, cut short, or its memfd is not sealed; OSError from the socket.
    """
    data, fds, flags, _ = socket.recv_fds(
        connection, INLINE_BYTES, MOST_FDS, socket.MSG_CMSG_CLOEXEC
    )
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise Malformed(f"a message is larger than {INLINE_BYTES} bytes", "send it in a memfd")
        if data != MEMFD:
            return data, fds
        if not fds:
            raise Malformed("a message says it is in a memfd and there is none", "")
        content = _unsealed(fds[0], most_bytes)
    except BaseException:
        close_all(fds)
        raise
    os.close(fds[0])
    return content, fds[1:]


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors that came along."""
    for fd in fds:
        with suppress(OSError):
            os.close(fd)


def _sealed(message: bytes) -> int:
    fd = os.memfd_create("fortress-message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(message)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _unsealed(fd: int, most_bytes: int) -> bytes:
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        raise Malformed("the descriptor of a message is no memfd", "seal a memfd") from None
    if seals & _SEALS != _SEALS:
        raise Malformed("the memfd of a message can still be changed", "seal it first")
    size = os.fstat(fd).st_size
    if size > most_bytes:
        raise Malformed(
            f"a message of {size} bytes is too large (at most {most_bytes})", "split it"
        )
    content = os.pread(fd, size, 0)
    if len(content) != size:
        raise Malformed("the memfd of a message was cut short", "")
    return content
