"""Sends SYNs, each of a flow of its own: `flood_flows.py INTERFACE TO_MAC TARGET COUNT PER_SECOND`.

A program of its own, run in a namespace by tests; PER_SECOND 0 = as fast as it goes.
"""

import socket
import struct
import sys
import time

_IP, _SOURCE, _PORT = struct.Struct(">BBHHHBBH4s4s"), struct.Struct(">I"), struct.Struct(">H")
_BURST = 100


def frame(mac: str, target: str) -> bytearray:
    """A SYN to port 80 whose source is still to be written."""
    ethernet = bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\xaa\x01\x08\x00"
    ip = _IP.pack(0x45, 0, 40, 1, 0, 64, 6, 0, bytes(4), socket.inet_aton(target))
    return bytearray(ethernet + ip + struct.pack(">HHIIBBHHH", 0, 80, 1, 0, 0x50, 2, 65535, 0, 0))


def main(interface: str, mac: str, target: str, count: int, per_second: float) -> None:
    """Send them, at most a minute long."""
    packet, begun_s = frame(mac, target), time.monotonic()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.bind((interface, 0))
        for number in range(count):
            _SOURCE.pack_into(packet, 26, 0x0B000000 + (number * 2654435761 & 0xFFFFFF))
            _PORT.pack_into(packet, 34, 1024 + number % 60000)
            try:
                out.send(packet)
            except OSError:  # the queue is full: that one is not sent
                continue
            if number % _BURST:
                continue
            now_s = time.monotonic() - begun_s
            if now_s > 60:
                return
            if per_second and (wait_s := number / per_second - now_s) > 0:
                time.sleep(wait_s)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
