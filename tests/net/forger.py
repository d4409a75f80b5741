"""Asks for connections in somebody else's name: frames made by hand, of the sender's own MAC.

python -m tests.net.forger INTERFACE OWN_MAC ROUTER_MAC SOURCE TARGET PORT A_SECOND SECONDS
"""

import ipaddress
import socket
import struct
import sys
import time

_STEP_S = 0.01
_FIRST_PORT, _PORTS = 20_000, 40_000


def forged(macs: bytes, source: str, target: str, port: int, number: int) -> bytes:
    """The frame of a SYN; `macs` are the receiver's and the sender's, `number` chooses its port."""
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    own = _FIRST_PORT + number % _PORTS
    transport = struct.pack("!HHIIBBHHH", own, port, number, 0, 0x50, 2, 1024, 0, 0)
    summed = _checksum(ends + struct.pack("!II", len(transport), 6) + transport)
    transport = transport[:16] + summed + transport[18:]
    if ":" in source:
        return macs + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 20, 6, 64) + ends + transport
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40, number & 0xFFFF, 0, 64, 6, 0) + ends
    return macs + b"\x08\0" + header[:10] + _checksum(header) + header[12:] + transport


def _checksum(octets: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)


def main(words: list[str]) -> None:
    interface, own, router, source, target, port, a_second, seconds = words
    macs = bytes.fromhex((router + own).replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.bind((interface, 0))
        begun_s, sent = time.monotonic(), 0
        while (gone_s := time.monotonic() - begun_s) < float(seconds):
            while sent < gone_s * float(a_second):
                sender.send(forged(macs, source, target, int(port), sent))
                sent += 1
            time.sleep(_STEP_S)


if __name__ == "__main__":
    main(sys.argv[1:])
