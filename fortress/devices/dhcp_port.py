# SPDX-License-Identifier: Apache-2.0
"""A socket that hears what DHCPv4 clients say, and nothing else: the kernel filters for it.

The filter is locked before the first packet can come, so that the socket can be handed to a
process that may hear nothing else.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator

from fortress.devices.dhcp import DhcpTold, parse_dhcp

_ETH_P_IP, _SO_ATTACH_FILTER, _SO_LOCK_FILTER, _OUTGOING = 0x0800, 26, 44, 4
_MOST_BYTES, _MOST_READS, _RECEIVE_BYTES = 1536, 256, 1 << 18
# Classic BPF over the IPv4 header (a datagram socket's data begins there), linux/filter.h: UDP,
# no later fragment, to port 67; anything else is cut to nothing.
_FILTER = (
    (0x30, 0, 0, 9),  # A = protocol
    (0x15, 0, 6, 17),  # UDP, or drop
    (0x28, 0, 0, 6),  # A = flags and fragment offset
    (0x45, 4, 0, 0x1FFF),  # a later fragment: drop
    (0xB1, 0, 0, 0),  # X = length of the header
    (0x48, 0, 0, 2),  # A = destination port
    (0x15, 0, 1, 67),
    (0x06, 0, 0, _MOST_BYTES),
    (0x06, 0, 0, 0),
)


def open_dhcp_port() -> socket.socket:
    """The socket, of all interfaces; PermissionError without CAP_NET_RAW."""
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    port = socket.socket(socket.AF_PACKET, kind, 0)  # of no protocol yet: deaf
    try:
        code = b"".join(struct.pack("=HBBI", *one) for one in _FILTER)
        held = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("HL", len(_FILTER), ctypes.addressof(held))
        port.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        port.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
        port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        _hear_everywhere(port)
    except BaseException:
        port.close()
        raise
    return port


def _hear_everywhere(port: socket.socket) -> None:
    """Binds to IPv4 on all interfaces; Python's own bind() wants the name of one."""
    address = struct.pack("HHiHBB8s", socket.AF_PACKET, socket.htons(_ETH_P_IP), 0, 0, 0, 0, b"")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.bind(port.fileno(), address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def heard(port: socket.socket) -> Iterator[tuple[DhcpTold, str]]:
    """What clients have said since, each with its interface; never waits."""
    for _ in range(_MOST_READS):
        try:
            data, (interface, _, direction, *_) = port.recvfrom(_MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:  # an interface went down
            continue
        header = (data[0] & 15) * 4 if data else 0
        if direction != _OUTGOING and len(data) > header + 8:
            told = parse_dhcp(data[header + 8 :])
            if told is not None:
                yield told, interface
