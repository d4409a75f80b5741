"""The socket that hears DHCP clients hears nothing else."""

import struct

from fortress.devices.dhcp_port import heard, open_dhcp_port
from tests.devices.test_dhcp import REQUEST, message
from tests.need import need
from tests.net.guarded import until
from tests.net.namespace import new_namespace

PHONE = bytes.fromhex("02005e007766")


def frame(payload: bytes, *, port: int = 67, proto: int = 17, fragment: int = 0) -> bytes:
    """An Ethernet frame with IPv4 options and a UDP datagram in it."""
    udp = struct.pack("!HHHH", 68, port, 8 + len(payload), 0) + payload
    options = b"\1\1\1\0"
    head = struct.pack("!BBHHHBBH", 0x46, 0, 24 + len(udp), 0, fragment, 64, proto, 0)
    return b"\xff" * 6 + PHONE + b"\x08\x00" + head + bytes(4) + b"\xff" * 4 + options + udp


def test_requests_to_a_server_are_heard_and_nothing_else() -> None:
    need("netns")
    with new_namespace() as space:
        space.veth("lan", "wire")
        with space.entered():
            port = open_dhcp_port()
        with port, space.sender("wire") as wire:
            for noise in (
                frame(message(REQUEST), port=68),
                frame(message(REQUEST), proto=6),
                frame(message(REQUEST), fragment=1),
                frame(message(REQUEST, op=2)),
                frame(b"short"),
                frame(b""),
                frame(message(REQUEST))[:60],
            ):
                wire.send(noise)
            wire.send(frame(message(REQUEST)))
            found = []
            until(lambda: found.extend(heard(port)) or found)
            assert [(told.mac, interface) for told, interface in found] == [(PHONE.hex(":"), "lan")]
            assert list(heard(port)) == []
