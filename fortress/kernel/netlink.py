# SPDX-License-Identifier: Apache-2.0
"""As much of netlink as Fortress needs: dumps, requests and groups, in structs and bytes.

Numbers are those of linux/netlink.h, rtnetlink.h, inet_diag.h and nfnetlink*.h.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

ROUTE, SOCK_DIAG, NETFILTER = 0, 4, 12
REQUEST, ACK, DUMP, _CREATE = 0x1, 0x4, 0x300, 0x400
NESTED = 0x8000
_ERROR, _DONE, _OVERRUN = 2, 3, 4
_HEADER = struct.Struct("=IHHII")
_TYPE_MASK = 0x3FFF
_RECEIVE_BYTES = 1 << 16
_WAIT_S = 5.0
_RCVBUFFORCE = 33  # beyond net.core.rmem_max, with CAP_NET_ADMIN
_SNDBUFFORCE = 32
_SEND_BYTES = 1 << 17  # what any socket may send at once
_MOST_MESSAGES = 1_000_000
_ATTACH_FILTER, _LOAD_WORD, _IF_EQUAL, _RETURN = 26, 0x20, 0x15, 0x06  # linux/filter.h
_PORT_AT = 12  # in a message's header
_MOST_IGNORED = 200  # a jump of a filter has eight bits


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message: its type, number, the port id it was caused by, and its payload."""

    kind: int
    sequence: int
    port: int
    payload: memoryview


class Netlink:
    """A netlink socket, for questions or (with groups) for news; used as a context."""

    def __init__(self, family: int, groups: int = 0, receive_bytes: int = 1 << 20) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, family)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, receive_bytes)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.bind((0, groups))
        self._socket.settimeout(0.0 if groups else _WAIT_S)
        self._sequence = 0
        self._lost = False
        self._send_bytes = _SEND_BYTES

    def fileno(self) -> int:
        """The descriptor, to be waited for."""
        return self._socket.fileno()

    def dump(self, kind: int, payload: bytes) -> Iterator[Message]:
        """Every message that answers a dump; OSError when the kernel refuses or falls behind."""
        self._send(kind, REQUEST | DUMP, payload)
        for _ in range(_MOST_MESSAGES):
            for message in self._receive():
                if message.kind == _DONE:
                    return
                if message.kind == _ERROR:
                    _raise_error(message)
                yield message

    def ask(self, kind: int, payload: bytes) -> None:
        """Make a request and wait for its acknowledgement; OSError when the kernel refuses."""
        self._send(kind, REQUEST | ACK, payload)
        for message in self._receive():
            if message.kind == _ERROR:
                _raise_error(message)
                return

    def batch(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """Send messages (type and payload) as one datagram, the last but one acknowledged: OSError
        when the kernel refuses any; then it has done none of them.
        """
        first = self._sequence + 1
        whole = bytearray()
        for at, (kind, payload) in enumerate(messages):
            flags = REQUEST | _CREATE | (ACK if at == len(messages) - 2 else 0)
            header = _HEADER.pack(_HEADER.size + len(payload), kind, flags, first + at, 0)
            whole += header + payload
            whole += b"\0" * (-len(whole) % 4)
        self._sequence += len(messages)
        self._room_to_send(len(whole))
        self._socket.send(whole)
        for _ in range(_MOST_MESSAGES):
            for message in self._receive():
                if message.kind == _ERROR and message.sequence >= first:
                    _raise_error(message)
                    return

    def news(self) -> tuple[list[Message], bool]:
        """What groups have told since, and whether something was lost; never waits.

        After an overflow the kernel drops silently until all has been read: only then is it known
        what was missed, so "lost" is said when nothing is left to be read.
        """
        found: list[Message] = []
        for _ in range(10_000):
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                lost, self._lost = self._lost, False
                return found, lost
            except OSError:  # ENOBUFS: the kernel had more to say than there was room for
                self._lost = True
                continue
            found += _messages(data)
        return found, True

    def ignore(self, ports: Iterable[int]) -> None:
        """Hear no more of what these ports cause: the kernel drops it before it wakes anybody."""
        known = sorted(port & 0xFFFF_FFFF for port in ports)[:_MOST_IGNORED]
        steps = [_step(_LOAD_WORD, _PORT_AT)]
        for at, port in enumerate(known):  # as the filter reads it: in the network's order
            number = int.from_bytes(struct.pack("=I", port))
            steps.append(_step(_IF_EQUAL, number, yes=len(known) - at))
        steps += [_step(_RETURN, 0xFFFF_FFFF), _step(_RETURN, 0)]
        program = ctypes.create_string_buffer(b"".join(steps))
        filter_ = struct.pack("@HP", len(steps), ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, filter_)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _room_to_send(self, size: int) -> None:
        if size > self._send_bytes:
            with suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, _SNDBUFFORCE, 2 * size)
            self._send_bytes = 2 * size

    def _send(self, kind: int, flags: int, payload: bytes) -> None:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(payload), kind, flags, self._sequence, 0)
        self._socket.send(header + payload)

    def _receive(self) -> list[Message]:
        return list(_messages(self._socket.recv(_RECEIVE_BYTES)))


def _step(code: int, value: int, yes: int = 0) -> bytes:
    """An instruction of a socket filter."""
    return struct.pack("=HBBI", code, yes, 0, value)


def attribute(kind: int, value: bytes | bytearray) -> bytes:
    """One attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def attributes(payload: memoryview) -> dict[int, memoryview]:
    """Values of a message's attributes by type; what is cut short ends them."""
    found: dict[int, memoryview] = {}
    at = 0
    while at + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, at)
        if length < 4 or at + length > len(payload):
            break
        found[kind & _TYPE_MASK] = payload[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def _messages(data: bytes) -> Iterator[Message]:
    view, at = memoryview(data), 0
    while at + _HEADER.size <= len(data):
        length, kind, _, sequence, port = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield Message(kind, sequence, port, view[at + _HEADER.size : at + length])
        at += (length + 3) & ~3


def _raise_error(message: Message) -> None:
    (number,) = struct.unpack_from("=i", message.payload)
    if number:
        raise OSError(-number, os.strerror(-number))
