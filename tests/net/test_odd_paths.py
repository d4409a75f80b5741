"""Paths that are not like the usual one: PPPoE on the uplink, jumbo frames, answers another way."""

import json
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest
from fortress_core import CONN_STATES

from tests.core.frames import ACK, SYN, Packet
from tests.need import need
from tests.net.gateway import (
    CLIENT,
    CLIENT6,
    LAN,
    OUTER,
    SERVER,
    SERVER6,
    WAN,
    Gateway,
    Seen,
    both_sides,
    calling,
    listening,
    new_gateway,
    talk_tcp,
)

TCP, UDP, PPPOE = 6, 17, 4
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
OURS = ("10.1.0.0/24", "fd00:1::/64", f"{OUTER}/32")
PPP = {0x0800: 0x0021, 0x86DD: 0x0057}  # what PPP calls the protocols (RFC 1332, RFC 5072)
ENDS = pytest.mark.parametrize(
    ("client", "server"), [(CLIENT, SERVER), (CLIENT6, SERVER6)], ids=["IPv4", "IPv6"]
)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway that forwards and translates nothing."""
    need("netns", "nft")
    with new_gateway() as made:
        yield made


def in_session(frame: bytes) -> bytes:
    """The frame as it is in a PPPoE session (RFC 2516)."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    packet = frame[14:]
    head = struct.pack("!BBHHH", 0x11, 0, 0x0A17, len(packet) + 2, PPP[kind])
    return frame[:12] + b"\x88\x64" + head + packet


def send(gateway: Gateway, place: str, *frames: bytes) -> None:
    """Frames of the client, the server, or the gateway itself by its `wan`."""
    space = {"client": gateway.client, "server": gateway.server, "gateway": gateway.middle}[place]
    with space.sender("wan" if place == "gateway" else "eth0") as sender:
        for frame in frames:
            sender.send(frame)


def column(seen: Seen, proto: int, name: str) -> list[int]:
    """A column of the protocol's flows."""
    assert seen.outcome is not None
    rows = seen.outcome.flows
    return [int(value) for value in rows[name][rows["proto"] == proto]]


@ENDS
def test_a_connection_that_leaves_by_pppoe_is_one_flow_of_the_device(
    gateway: Gateway, client: str, server: str
) -> None:
    """Frames made by hand: this gateway does not forward, so each side is sent what it would."""
    gateway.middle.run("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
    ask = Packet(src=client, dst=server, sport=40_000, dport=443, payload=b"question")
    answer = ask.turned(flags=ACK, payload=b"the answer")
    with both_sides(gateway, inside=OURS) as seen:
        for packet in (Packet(src=client, dst=server, sport=40_000, dport=443, flags=SYN), ask):
            send(gateway, "client", packet.frame())
            send(gateway, "gateway", in_session(packet.frame()))
        send(gateway, "server", in_session(answer.frame()))
    [(orig, _, resp, _, there, back)] = [
        flow for flow in seen.flows(TCP) if flow[1] == 40_000 or flow[3] == 40_000
    ]
    assert (orig, resp, there, back) == (client, server, 2, 0), "the LAN did not see the answer"
    assert column(seen, TCP, "iface") == [LAN]
    assert seen.nat is not None
    assert seen.nat.seen_twice == 3
    assert seen.forged[WAN].packets == 0, "what this gateway itself sends is its own affair"


@ENDS
def test_what_comes_by_pppoe_in_a_devices_name_is_forged(
    gateway: Gateway, client: str, server: str
) -> None:
    frames = [Packet(src=client, dst=server, sport=port, flags=SYN) for port in range(9)]
    alone = Packet(src=server, dst=client, sport=40_000, dport=443, flags=SYN)
    with both_sides(gateway, inside=OURS) as seen:
        send(gateway, "server", *(in_session(packet.frame()) for packet in frames))
        send(gateway, "server", in_session(alone.frame()))
    assert seen.forged[WAN].packets == 9
    assert [flow[:4] for flow in seen.flows(TCP)] == [(server, 40_000, client, 443)]
    assert column(seen, TCP, "tunnel") == [PPPOE]


@ENDS
def test_jumbo_frames_are_counted_by_their_headers(
    gateway: Gateway, client: str, server: str
) -> None:
    """With an MTU of 9,000 a frame is larger than what the ring keeps of it."""
    for space, names in (
        (gateway.client, ("eth0",)),
        (gateway.middle, ("lan", "wan")),
        (gateway.server, ("eth0",)),
    ):
        for name in names:
            space.ip(f"link set {name} mtu 9000")
    header = 28 if "." in client else 48
    with (
        listening(gateway.server, DATAGRAM, server, 53) as names_,
        listening(gateway.server, STREAM, server, 80) as web,
        both_sides(gateway, inside=OURS) as seen,
    ):
        asker = calling(gateway.client, DATAGRAM, client)
        with asker:
            for _ in range(6):
                asker.sendto(bytes(8900), (server, 53))
                words, back = names_.recvfrom(9000)
                names_.sendto(words[:100], back)
                asker.recv(9000)
        talk_tcp(calling(gateway.client, STREAM, client), (server, 80), web, 3)
    assert column(seen, UDP, "orig_bytes") == [6 * (8900 + header)]
    assert column(seen, UDP, "orig_payload_bytes") == [6 * 8900]
    assert column(seen, UDP, "orig_size_max") == [8900 + header]
    assert column(seen, UDP, "resp_bytes") == [6 * (100 + header)]
    assert column(seen, TCP, "orig_mss") == [9000 - (40 if header == 28 else 60)]
    assert seen.outcome is not None
    assert seen.outcome.stats.malformed == seen.outcome.stats.kernel_drops == 0
    assert seen.outcome.stats.truncated >= 6, "less was kept than there was: nothing wrong"


@pytest.mark.parametrize("seen_half", ["SH", "SHR"])
@ENDS
def test_of_an_asymmetric_route_the_half_that_comes_by_is_told_as_such(
    gateway: Gateway, client: str, server: str, seen_half: str
) -> None:
    """Client and server have a second wire, by which one of them sends all of its packets."""
    there = f"netns {gateway.server.name}"
    words = ["ip", "link", "add", "eth1", "netns", gateway.client.name, "type", "veth", "peer"]
    subprocess.run([*words, "name", "eth1", *there.split()], check=True)
    for space in (gateway.client, gateway.server):
        space.ip("link set eth1 up")
        space.run(
            "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth1.rp_filter=0"
        )
    other_way, to = (gateway.server, client) if seen_half == "SH" else (gateway.client, server)
    far = gateway.client if seen_half == "SH" else gateway.server
    (link,) = json.loads(far.run("ip", "-j", "link", "show", "eth1"))
    mac = link["address"]
    other_way.ip(f"neigh add {to} lladdr {mac} dev eth1 nud permanent")
    other_way.ip(f"route add {to}/{32 if '.' in to else 128} dev eth1")
    with listening(gateway.server, STREAM, server, 80) as web, both_sides(gateway) as seen:
        caller = calling(gateway.client, STREAM, client)
        talk_tcp(caller, (server, 80), web, 4)
    [(orig, _, resp, port, out, back)] = seen.flows(TCP)
    assert (orig, resp, port) == (client, server, 80)
    assert (out > 4, back > 4) == ((True, False) if seen_half == "SH" else (False, True))
    assert [CONN_STATES[code] for code in column(seen, TCP, "conn_state")] == [seen_half]
