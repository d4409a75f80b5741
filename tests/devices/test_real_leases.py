"""A real dnsmasq lends an address; its lease file names the device."""

import struct
import subprocess
from pathlib import Path

from fortress.devices.leases import Lease, read_leases
from tests.devices.test_dhcp import MAC, message, option
from tests.need import need
from tests.net.guarded import until
from tests.net.namespace import new_namespace


def test_the_lease_file_of_a_real_server_is_understood(tmp_path: Path) -> None:
    need("netns", "home")
    file = tmp_path / "dnsmasq.leases"
    with new_namespace() as space:
        space.veth("lan", "wire")
        space.ip("addr add 192.168.77.1/24 dev lan")
        command = space.command(
            *(
                "dnsmasq",
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--port=0",
            ),
            *("--dhcp-range=192.168.77.50,192.168.77.99,1h", "--dhcp-authoritative", "--no-ping"),
            *(f"--dhcp-leasefile={file}", "--user=root", "--pid-file=", "--interface=lan"),
        )
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            asked = (
                option(53, b"\3") + option(50, bytes([192, 168, 77, 66])) + option(12, b"tablet")
            )
            request = message(asked + b"\xff")
            with space.sender("wire") as wire:
                until(lambda: wire.send(frame(request)) and read_leases(file).leases)
        finally:
            server.terminate()
            server.wait(timeout=10)
    found = read_leases(file)
    until_s = found.leases[0].until_s
    assert found.leases == (Lease("02:00:5e:00:77:66", "192.168.77.66", "tablet", until_s),)
    assert until_s > 1_700_000_000
    assert found.damaged == 0


def frame(payload: bytes) -> bytes:
    """A broadcast of a client without an address, as the kernel takes it: with IP's checksum."""
    udp = struct.pack("!HHHH", 68, 67, 8 + len(payload), 0) + payload
    words = (0x4500, 20 + len(udp), 0, 0, 0x4011, 0, 0, 0, 0xFFFF, 0xFFFF)
    total = sum(words)
    folded = (total & 0xFFFF) + (total >> 16)
    head = struct.pack("!10H", *words[:5], ~folded & 0xFFFF, *words[6:])
    return b"\xff" * 6 + MAC + b"\x08\x00" + head + udp
