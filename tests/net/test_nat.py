"""A gateway's two ports in one stream: one flow for a connection, of the device that has it."""

import json
import socket
from collections.abc import Iterator

import numpy as np
import pytest
from fortress_core import StreamOptions, Tap, open_conntrack, open_live

from tests.need import need
from tests.net.capturing import capturing, ports_on
from tests.net.gateway import (
    CLIENT,
    CLIENT6,
    FORWARD_PORT,
    LAN,
    MASQUERADE,
    OUTER,
    OUTER6,
    SERVER,
    SERVER6,
    TRACK_ONLY,
    WAN,
    Gateway,
    Seen,
    ask_many,
    both_sides,
    calling,
    listening,
    new_gateway,
    talk_tcp,
    talk_udp,
)

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FLOWS_ONLY = StreamOptions(tick_ns=100_000_000)  # with packet rows a tap counts nothing
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
PATHS = {4: (CLIENT, OUTER, SERVER), 6: (CLIENT6, OUTER6, SERVER6)}


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway that forwards and translates nothing."""
    need("netns", "nft")
    with new_gateway() as made:
        yield made


@pytest.fixture
def masquerading(gateway: Gateway) -> Gateway:
    """A gateway whose clients go out under its own address, and that forwards two ports."""
    gateway.rules(MASQUERADE + FORWARD_PORT)
    return gateway


def mac_of(gateway: Gateway, inside: bool) -> int:
    """The address of the client's or of the gateway's inner interface."""
    namespace, name = (gateway.client, "eth0") if inside else (gateway.middle, "lan")
    shown = json.loads(namespace.run("ip", "-j", "link", "show", name))
    return int(shown[0]["address"].replace(":", ""), 16)


def column(seen: Seen, proto: int, name: str) -> list[int]:
    """A column of the protocol's flows."""
    assert seen.outcome is not None
    rows = seen.outcome.flows
    return [int(value) for value in rows[name][rows["proto"] == proto]]


def assert_all_counted_once(seen: Seen) -> None:
    """No packet was lost or is in two flows, and every translation was known."""
    assert seen.outcome is not None
    assert seen.nat is not None
    stats, flows = seen.outcome.stats, seen.outcome.flows
    assert stats.kernel_drops == 0
    assert (seen.nat.complete, seen.nat.reason, seen.nat.overruns) == (True, "", 0)
    in_flows = int(flows["orig_pkts"].sum()) + int(flows["resp_pkts"].sum())
    assert in_flows + stats.non_ip + stats.undecodable == stats.packets


@pytest.mark.parametrize("version", [4, 6])
def test_tcp_through_masquerading_is_one_flow_of_the_client(
    masquerading: Gateway, version: int
) -> None:
    client, _, server = PATHS[version]
    with (
        listening(masquerading.server, STREAM, server, 80) as listener,
        both_sides(masquerading) as seen,
    ):
        caller = calling(masquerading.client, STREAM, client)
        port = talk_tcp(caller, (server, 80), listener, 5)
    [(orig, orig_port, resp, resp_port, there, back)] = seen.flows(TCP)
    assert (orig, orig_port, resp, resp_port) == (client, port, server, 80)
    assert seen.nat is not None
    assert seen.nat.seen_twice >= there + back >= 16, "what the WAN shows of it is left out"
    assert column(seen, TCP, "iface") == [LAN]
    assert column(seen, TCP, "orig_mac") == [mac_of(masquerading, inside=True)]
    assert column(seen, TCP, "resp_mac") == [mac_of(masquerading, inside=False)]
    assert_all_counted_once(seen)


@pytest.mark.parametrize("version", [4, 6])
def test_udp_through_masquerading_is_one_flow_of_the_client(
    masquerading: Gateway, version: int
) -> None:
    client, _, server = PATHS[version]
    with (
        listening(masquerading.server, DATAGRAM, server, 53) as listener,
        both_sides(masquerading) as seen,
    ):
        port = talk_udp(calling(masquerading.client, DATAGRAM, client), (server, 53), listener, 7)
    assert seen.flows(UDP) == [(client, port, server, 53, 7, 7)]
    assert_all_counted_once(seen)


@pytest.mark.parametrize("version", [4, 6])
def test_echoes_through_masquerading_are_one_flow_of_the_client(
    masquerading: Gateway, version: int
) -> None:
    client, outer, server = PATHS[version]
    with both_sides(masquerading) as seen:
        masquerading.client.run("ping", "-c", "3", "-i", "0.2", server)
    proto = ICMP if version == 4 else ICMP6
    echoes = [flow for flow in seen.flows(proto) if flow[1] in (8, 128)]
    assert [(flow[0], flow[2], *flow[4:]) for flow in echoes] == [(client, server, 3, 3)]
    assert outer not in str(echoes)
    assert_all_counted_once(seen)


def test_a_forwarded_port_is_one_flow_to_the_device_behind_it(masquerading: Gateway) -> None:
    with (
        listening(masquerading.client, STREAM, CLIENT, 80) as web,
        listening(masquerading.client, DATAGRAM, CLIENT, 53) as names,
        both_sides(masquerading) as seen,
    ):
        port = talk_tcp(calling(masquerading.server, STREAM, SERVER), (OUTER, 8080), web, 5)
        asker = calling(masquerading.server, DATAGRAM, SERVER)
        asked_from = talk_udp(asker, (OUTER, 5300), names, 4)
    [(orig, orig_port, resp, resp_port, _, _)] = seen.flows(TCP)
    assert (orig, orig_port, resp, resp_port) == (SERVER, port, CLIENT, 80)
    assert seen.flows(UDP) == [(SERVER, asked_from, CLIENT, 53, 4, 4)]
    for proto in (TCP, UDP):
        assert column(seen, proto, "iface") == [LAN], "it is told where the device is"
        assert column(seen, proto, "resp_mac") == [mac_of(masquerading, inside=True)]
        assert column(seen, proto, "orig_mac") == [mac_of(masquerading, inside=False)]
    assert_all_counted_once(seen)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("starts", ["inside", "outside"])
def test_what_is_routed_without_translation_is_counted_once_too(
    gateway: Gateway, version: int, starts: str
) -> None:
    gateway.rules(TRACK_ONLY)
    client, _, server = PATHS[version]
    near, far = (client, server) if starts == "inside" else (server, client)
    spaces = (gateway.client, gateway.server)
    caller_in, listener_in = spaces if starts == "inside" else spaces[::-1]
    with listening(listener_in, DATAGRAM, far, 53) as listener, both_sides(gateway) as seen:
        port = talk_udp(calling(caller_in, DATAGRAM, near), (far, 53), listener, 6)
    assert seen.flows(UDP) == [(near, port, far, 53, 6, 6)]
    assert column(seen, UDP, "iface") == [LAN]
    assert_all_counted_once(seen)


def test_what_starts_outside_or_ends_on_the_gateway_makes_flows_of_its_own(
    masquerading: Gateway,
) -> None:
    with (
        listening(masquerading.server, DATAGRAM, SERVER, 53) as listener,
        listening(masquerading.middle, STREAM, OUTER, 22) as shell,
        both_sides(masquerading) as seen,
    ):
        scanner = calling(masquerading.server, STREAM, SERVER)
        with scanner, pytest.raises(ConnectionRefusedError):
            scanner.connect((OUTER, 23))
        talk_tcp(calling(masquerading.server, STREAM, SERVER), (OUTER, 22), shell, 2)
        asker = calling(masquerading.middle, DATAGRAM, OUTER)
        port = talk_udp(asker, (SERVER, 53), listener, 3)
    assert {(flow[0], *flow[2:4]) for flow in seen.flows(TCP)} == {
        (SERVER, OUTER, 22),
        (SERVER, OUTER, 23),
    }
    assert seen.flows(UDP) == [(OUTER, port, SERVER, 53, 3, 3)]
    assert set(column(seen, TCP, "iface") + column(seen, UDP, "iface")) == {WAN}
    assert seen.nat is not None
    assert seen.nat.seen_twice == 0
    assert_all_counted_once(seen)


def test_many_connections_at_once_are_each_one_flow(masquerading: Gateway) -> None:
    with (
        listening(masquerading.server, DATAGRAM, SERVER, 53) as listener,
        both_sides(masquerading) as seen,
    ):
        ports = ask_many(masquerading.client, CLIENT, 400, (SERVER, 53), listener)
    assert seen.flows(UDP) == [(CLIENT, port, SERVER, 53, 3, 3) for port in ports]
    assert_all_counted_once(seen)


def test_many_connections_through_a_forwarded_port_are_each_one_flow(
    masquerading: Gateway,
) -> None:
    with (
        listening(masquerading.client, DATAGRAM, CLIENT, 53) as listener,
        both_sides(masquerading) as seen,
    ):
        ports = ask_many(masquerading.server, SERVER, 400, (OUTER, 5300), listener)
    assert seen.flows(UDP) == [(SERVER, port, CLIENT, 53, 3, 3) for port in ports]
    assert_all_counted_once(seen)


def test_connections_older_than_the_capture_are_known_from_the_table(
    masquerading: Gateway,
) -> None:
    with listening(masquerading.server, DATAGRAM, SERVER, 53) as listener:
        asker = calling(masquerading.client, DATAGRAM, CLIENT)
        port = asker.getsockname()[1]
        asker.sendto(b"before", (SERVER, 53))
        _, back = listener.recvfrom(100)
        with both_sides(masquerading) as seen, asker:
            for _ in range(4):
                listener.sendto(b"an answer that comes first", back)
                assert asker.recv(100)
                asker.sendto(b"and a question", (SERVER, 53))
                assert listener.recv(100)
    [flow] = seen.flows(UDP)
    assert {flow[0], flow[2]} == {CLIENT, SERVER}
    assert {flow[1], flow[3]} == {port, 53}
    assert flow[4:] == (4, 4)
    assert_all_counted_once(seen)


def test_an_answer_that_a_packet_cannot_be_delivered_is_the_clients(masquerading: Gateway) -> None:
    with both_sides(masquerading) as seen:
        asker = calling(masquerading.client, DATAGRAM, CLIENT)
        asker.connect((SERVER, 9))
        asker.send(b"nobody listens")
        with asker, pytest.raises(ConnectionRefusedError):
            asker.recv(100)
    assert seen.flows(ICMP) == [(SERVER, 3, CLIENT, 3, 1, 0)]
    assert OUTER not in str(seen.flows(UDP))
    assert_all_counted_once(seen)


@pytest.mark.parametrize("starts", ["inside", "outside"])
def test_fragments_of_a_translated_datagram_are_the_devices(
    masquerading: Gateway, starts: str
) -> None:
    spaces = (masquerading.client, masquerading.server)
    caller_in, listener_in = spaces if starts == "inside" else spaces[::-1]
    near, far = (CLIENT, SERVER) if starts == "inside" else (SERVER, CLIENT)
    to = (SERVER, 53) if starts == "inside" else (OUTER, 5300)
    with (
        listening(listener_in, DATAGRAM, far, 53) as listener,
        both_sides(masquerading) as seen,
        calling(caller_in, DATAGRAM, near) as asker,
    ):
        for _ in range(3):
            asker.sendto(bytes(4000), to)
            words, back = listener.recvfrom(5000)
            assert len(words) == 4000
            listener.sendto(words, back)
            assert len(asker.recv(5000)) == 4000
        port = asker.getsockname()[1]
    first, later = (near, port, far, 53, 3, 3), (near, 0, far, 0, 6, 6)
    assert sorted(seen.flows(UDP)) == sorted([first, later])
    assert_all_counted_once(seen)


def test_of_a_translated_device_that_no_port_shows_the_outside_tells(
    masquerading: Gateway,
) -> None:
    """A container on the gateway, a guest network that is not captured: still a flow of its own."""
    with (
        listening(masquerading.server, DATAGRAM, SERVER, 53) as listener,
        ports_on(masquerading.middle, "wan") as ports,
    ):
        with masquerading.middle.entered(), open_conntrack() as conntrack:
            stream = open_live(ports)
            stream.outside([0], conntrack)
        port = talk_udp(calling(masquerading.client, DATAGRAM, CLIENT), (SERVER, 53), listener, 2)
        stream.stop()
        flows = [
            (int(batch.flows["orig_port"][i]), int(batch.flows["orig_pkts"][i]))
            for batch in stream
            for i in np.flatnonzero(batch.flows["proto"] == UDP)
        ]
        state = stream.nat()
        stream.close()
    assert flows == [(port, 2)]
    assert (state.translated, state.seen_twice) == (4, 0)


def test_without_sides_each_port_counts_for_itself(masquerading: Gateway) -> None:
    with (
        listening(masquerading.server, DATAGRAM, SERVER, 53) as listener,
        ports_on(masquerading.middle, "lan", "wan") as ports,
        capturing(ports) as live,
    ):
        talk_udp(calling(masquerading.client, DATAGRAM, CLIENT), (SERVER, 53), listener, 2)
    assert live.outcome is not None
    assert live.outcome.flows["orig_pkts"][live.outcome.flows["proto"] == UDP].tolist() == [2, 2]


@pytest.mark.parametrize("starts", ["inside", "outside"])
def test_long_flows_of_which_a_tap_counts_the_rest_are_counted_once(
    masquerading: Gateway, starts: str
) -> None:
    need("bpf")
    spaces = (masquerading.client, masquerading.server)
    caller_in, listener_in = spaces if starts == "inside" else spaces[::-1]
    near, far = (CLIENT, SERVER) if starts == "inside" else (SERVER, CLIENT)
    to = (SERVER, 53) if starts == "inside" else (OUTER, 5300)
    with (
        Tap.load(64, whole_udp=()) as tap,
        listening(listener_in, DATAGRAM, far, 53) as listener,
        both_sides(masquerading, options=FLOWS_ONLY, tap=tap) as seen,
    ):
        port = talk_udp(calling(caller_in, DATAGRAM, near), to, listener, 3000)
    assert seen.flows(UDP) == [(near, port, far, 53, 3000, 3000)]
    if starts == "inside":
        assert seen.shunted > 1000
    else:
        assert seen.shunted == 0, "it is counted outside, where there is no tap"
