"""What comes in from outside in the name of who is inside: in no flow and in no row."""

import socket
from collections.abc import Iterator

import numpy as np
import pytest
from fortress_core import ConntrackError, Forged, format_addr, open_conntrack, open_live

from tests.core.frames import SYN, Packet
from tests.need import need
from tests.net.capturing import OPTIONS, ports_on
from tests.net.gateway import (
    CLIENT,
    CLIENT6,
    LAN,
    MASQUERADE,
    OUTER,
    OUTER6,
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
    talk_udp,
)

TCP, UDP = 6, 17
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
OURS = ("10.1.0.0/24", "fd00:1::/64", f"{OUTER}/32", f"{OUTER6}/128")
ATTACKER_MAC = "02:ba:d0:00:00:66"
PATHS = {4: (CLIENT, OUTER, SERVER), 6: (CLIENT6, OUTER6, SERVER6)}


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway that forwards and translates nothing."""
    need("netns", "nft")
    with new_gateway() as made:
        yield made


def forge(gateway: Gateway, *frames: bytes, out_of: str = "server") -> None:
    """Frames of the attacker's come to the gateway from the server's side, or the client's."""
    space = gateway.server if out_of == "server" else gateway.client
    with space.sender("eth0") as sender:
        for frame in frames:
            sender.send(frame)


def forged_frame(source: str, target: str, port: int, *, proto: int = TCP) -> bytes:
    """A frame of the attacker's MAC in somebody's name."""
    packet = Packet(src=source, dst=target, sport=port, dport=22, proto=proto, flags=SYN)
    mac = bytes.fromhex(ATTACKER_MAC.replace(":", ""))
    frame = packet.frame()
    return frame[:6] + mac + frame[12:]


def sources(seen: Seen) -> set[str]:
    """Who has begun a flow."""
    assert seen.outcome is not None
    return {format_addr(address) for address in seen.outcome.flows["orig_addr"]}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("claimed", [0, 1], ids=["a device's address", "the gateway's own"])
def test_what_comes_from_outside_in_the_name_of_the_inside_is_in_no_flow(
    gateway: Gateway, version: int, claimed: int
) -> None:
    address, target = PATHS[version][claimed], PATHS[version][0]
    other = "10.1.0.99" if version == 4 else "fd00:1::99"
    victim = other if claimed == 0 else target
    frames = [forged_frame(address, victim, 1000 + n) for n in range(40)]
    with both_sides(gateway, inside=OURS) as seen:
        forge(gateway, *frames)
    assert seen.flows(TCP) == []
    assert address not in sources(seen)
    assert seen.outcome is not None
    packets = seen.outcome.packets
    assert not np.isin(packets["src_port"], range(1000, 1040)).any(), "nor in rows of packets"
    (told,) = {seen.forged[WAN]}
    assert (told.packets, told.source, told.target) == (40, address, victim)
    assert told.mac == ATTACKER_MAC
    assert told.last_ns > 0
    assert seen.forged[LAN] == Forged(0, 0, "::", "::", "")


def test_who_claims_a_devices_address_by_arp_from_outside_is_in_no_row(gateway: Gateway) -> None:
    mac = bytes.fromhex(ATTACKER_MAC.replace(":", ""))
    claim = b"\xff" * 6 + mac + b"\x08\x06\0\1\x08\0\6\4\0\2" + mac + socket.inet_aton(CLIENT)
    claim += b"\xff" * 6 + socket.inet_aton(CLIENT) + bytes(18)
    with both_sides(gateway, inside=OURS) as seen:
        forge(gateway, claim, claim)
        forge(gateway, claim, out_of="client")
    assert seen.outcome is not None
    packets = seen.outcome.packets
    claims = packets["iface"][packets["src_mac"] == int(ATTACKER_MAC.replace(":", ""), 16)]
    assert claims.tolist() == [LAN], "on the LAN it is seen"
    assert seen.forged[WAN].packets == 2


@pytest.mark.parametrize("version", [4, 6])
def test_connections_go_on_to_be_one_flow_of_the_device_meanwhile(
    gateway: Gateway, version: int
) -> None:
    """What the gateway itself sends out by its WAN in a device's name (routed) is not forged."""
    gateway.rules(MASQUERADE.replace('oifname "wan"', 'oifname "wan" meta l4proto tcp'))
    client, _, server = PATHS[version]
    with (
        listening(gateway.server, STREAM, server, 80) as web,
        listening(gateway.server, DATAGRAM, server, 53) as names,
        both_sides(gateway, inside=OURS) as seen,
    ):
        forge(gateway, *(forged_frame(client, server, 1000 + n, proto=UDP) for n in range(40)))
        port = talk_tcp(calling(gateway.client, STREAM, client), (server, 80), web, 5)
        asked = talk_udp(calling(gateway.client, DATAGRAM, client), (server, 53), names, 4)
        forge(gateway, forged_frame(client, server, port), forged_frame(client, server, 1000))
    [(orig, orig_port, resp, resp_port, _, _)] = seen.flows(TCP)
    assert (orig, orig_port, resp, resp_port) == (client, port, server, 80)
    assert seen.flows(UDP) == [(client, asked, server, 53, 4, 4)]
    assert seen.forged[WAN].packets == 42


def test_who_forges_on_the_inside_is_seen_with_the_mac_that_sent_it(gateway: Gateway) -> None:
    with both_sides(gateway, inside=OURS) as seen:
        frame = forged_frame("10.1.0.99", SERVER, 1000)
        forge(gateway, frame, out_of="client")
    assert seen.outcome is not None
    flows = seen.outcome.flows
    of_it = flows["orig_mac"][flows["orig_port"] == 1000]
    assert of_it.tolist() == [int(ATTACKER_MAC.replace(":", ""), 16)]
    assert seen.forged[WAN].packets == 0


def test_networks_may_change_while_the_stream_is_read(gateway: Gateway) -> None:
    with ports_on(gateway.middle, "lan", "wan") as ports, open_live(ports) as stream:
        with pytest.raises(ConntrackError, match="which ports face outside"):
            stream.inside(OURS)
        stream.outside([WAN], None)
        stream.inside(OURS)
        with pytest.raises(ConntrackError, match="257 networks"):
            stream.inside([f"10.{n}.0.0/16" for n in range(256)] + ["192.168.0.0/16"])
        with pytest.raises(ValueError, match="nonsense"):
            stream.inside(["nonsense"])
        batches = iter(stream)
        forge(gateway, forged_frame(CLIENT, "10.1.0.99", 1000))
        while not stream.forged(WAN).packets:
            next(batches)
        stream.inside([])
        forge(gateway, forged_frame(CLIENT, "10.1.0.99", 1001))
        while not stream.stats().flows:
            next(batches)
        assert stream.forged(WAN).packets == 1


def test_a_port_that_faces_outside_later_is_that_from_then_on(gateway: Gateway) -> None:
    """A route that comes late: what goes on is counted where it was counted, and once."""
    gateway.rules(MASQUERADE)
    with (
        ports_on(gateway.middle, "lan", "wan") as ports,
        listening(gateway.server, DATAGRAM, SERVER, 53) as names,
        open_live(ports, options=OPTIONS) as stream,
    ):
        batches = iter(stream)
        old = calling(gateway.client, DATAGRAM, CLIENT)
        own = calling(gateway.middle, DATAGRAM, OUTER)

        def ask() -> None:
            for asker in (old, own):
                asker.sendto(b"question", (SERVER, 53))

        packets: dict[int, tuple[str, int]] = {}  # of each flow so far

        def read() -> list[tuple[str, int]]:
            rows = next(batches).intervals
            chosen = rows["resp_port"] == 53
            names_ = ("flow_id", "orig_addr", "orig_pkts_total")
            for flow, address, count in zip(*(rows[name][chosen] for name in names_), strict=True):
                packets[int(flow)] = format_addr(address), int(count)
            return sorted(packets.values())

        ask()
        while read() != [(CLIENT, 1), (OUTER, 1), (OUTER, 1)]:
            pass
        with gateway.middle.entered(), open_conntrack() as conntrack:
            stream.outside([WAN], conntrack)
        ask()
        while read() != [(CLIENT, 2), (OUTER, 1), (OUTER, 2)]:  # the copy outside goes on no more
            pass
        for _ in range(4):
            names.recv(100)
        talk_udp(calling(gateway.client, DATAGRAM, CLIENT), (SERVER, 53), names, 1)
        while read() != [(CLIENT, 1), (CLIENT, 2), (OUTER, 1), (OUTER, 2)]:
            pass
        assert stream.nat().seen_twice >= 3
        own.close()
        old.close()
