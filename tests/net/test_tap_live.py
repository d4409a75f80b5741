"""A ring with the tap says of every flow what a plain ring says, though it saw a part of it."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fortress_core import (
    FLOWS,
    FULL_PACKETS,
    StreamOptions,
    Tap,
    attach_tap,
    columns,
    detach_tap,
    open_live,
)

from fortress.features.flow import FEATURES, flow_matrix
from tests.core.frames import ACK, FIN, SYN, Outcome, Table
from tests.need import need
from tests.net.capturing import differing, in_order, ports_on
from tests.net.namespace import PATIENCE_S, Namespace
from tests.net.tapped import TAPPED, elephant, send_in_bursts, side_by_side, tapping

KEY = ("orig_addr", "orig_port", "resp_addr", "resp_port", "proto")
# The filter's clock is read when it runs, a ring's stamp is the frame's: rates follow.
LATE_TIMES = ["last_ns", "duration_ns"] + [
    column.name for column in columns(FLOWS) if column.name.endswith("_per_s")
]
# Frames that come and go on two processors at once are in two rings in two orders.
TIMES = [column.name for column in columns(FLOWS) if column.unit == "ns"]
CLOCKS_APART_NS = 50_000_000
MEGABYTES = 24
FEATURE_BOUND = 0.05  # of unevenness of gaps, between two captures of the same frames


@pytest.fixture
def wire(namespace: Namespace) -> Iterator[tuple[Namespace, socket.socket]]:
    """A pair of interfaces; what the socket sends arrives at `heard`."""
    need("bpf")
    namespace.veth("said", "heard")
    with namespace.sender("said") as out:
        yield namespace, out


def by_flow(outcome: Outcome) -> Table:
    return in_order({n: v for n, v in outcome.flows.items() if n != "flow_id"}, *KEY)


def assert_same_flows(plain: Outcome, tapped: Outcome, *, gaps: bool = True) -> None:
    """Flow by flow, value by value; of times only the last ones may differ, and by little."""
    one, other = by_flow(plain), by_flow(tapped)
    assert differing(one, other, but=LATE_TIMES + ([] if gaps else TIMES)) == []
    np.testing.assert_allclose(other["last_ns"], one["last_ns"], rtol=0, atol=CLOCKS_APART_NS)
    assert plain.stats.kernel_drops == tapped.stats.kernel_drops == 0


def assert_intervals_add_up(outcome: Outcome) -> None:
    """The rows of a flow's ticks are its row in total."""
    for name in ("orig_pkts", "resp_pkts", "orig_bytes", "resp_bytes"):
        sums = dict.fromkeys(outcome.flows["flow_id"].tolist(), 0)
        rows = zip(
            outcome.intervals["flow_id"].tolist(), outcome.intervals[name].tolist(), strict=True
        )
        for flow, count in rows:
            sums[flow] += count
        assert list(sums.values()) == outcome.flows[name].tolist(), name


def totals(outcome: Outcome) -> list[int]:
    names = ("orig_pkts", "resp_pkts", "orig_bytes", "resp_bytes", "orig_payload_bytes")
    return [int(outcome.flows[name].sum()) for name in names]


def test_every_packet_is_counted_once_in_the_ring_or_in_the_kernel(
    wire: tuple[Namespace, socket.socket],
) -> None:
    place, out = wire
    flows = [elephant(i, 400 + 37 * i, proto=17 if i % 3 else 6) for i in range(20)]
    with side_by_side(place, "heard") as seen:
        send_in_bursts(out, flows, 40)
    assert_same_flows(*seen.outcomes)
    assert_intervals_add_up(seen.outcomes[1])
    assert seen.shunted is not None
    sent = sum(map(len, flows))
    assert seen.outcomes[0].stats.packets == sent
    assert seen.outcomes[1].stats.packets + seen.shunted.packets == sent
    assert seen.shunted.packets > sent / 2
    assert seen.shunted.refused == seen.shunted.lost_packets == 0
    assert (
        flow_matrix(by_flow(seen.outcomes[0])).tobytes()
        == flow_matrix(by_flow(seen.outcomes[1])).tobytes()
    )


def test_a_real_transfer_is_the_same_flow_with_and_without_the_tap(
    wire: tuple[Namespace, socket.socket],
) -> None:
    """Super-frames of both directions, packets sent again and all."""
    place, _ = wire
    with side_by_side(place, "said") as seen:
        transfer(place)
    assert_same_flows(*seen.outcomes, gaps=False)
    for feature, x, y in zip(
        FEATURES, *(flow_matrix(by_flow(one))[0] for one in seen.outcomes), strict=True
    ):
        bound = FEATURE_BOUND if "iat" in feature.name else 0
        np.testing.assert_allclose(x, y, rtol=bound, err_msg=feature.name)
    assert_intervals_add_up(seen.outcomes[1])
    assert seen.shunted is not None
    payload = int(seen.outcomes[1].flows["orig_payload_bytes"].sum())
    assert payload >= MEGABYTES << 20
    assert seen.shunted.bytes > 0.5 * payload


def transfer(place: Namespace) -> None:
    """Some megabytes over TCP out of `said`, through another namespace's stack."""
    from tests.net.namespace import new_namespace

    with new_namespace() as other:
        place.ip(f"link set heard netns {other.name}")
        place.ip("addr add 10.7.0.1/24 dev said")
        other.ip("addr add 10.7.0.2/24 dev heard")
        other.ip("link set heard up")
        with other.entered():
            listener = socket.create_server(("10.7.0.2", 5201))
        got: list[int] = []

        def drain() -> None:
            connection, _ = listener.accept()
            with connection:
                while chunk := connection.recv(1 << 20):
                    got.append(len(chunk))

        reader = threading.Thread(target=drain)
        reader.start()
        with (
            listener,
            place.entered(),
            socket.create_connection(("10.7.0.2", 5201), PATIENCE_S) as connection,
        ):
            for _ in range(MEGABYTES):
                connection.sendall(bytes(1 << 20))
                time.sleep(0.005)
        reader.join(timeout=PATIENCE_S)
        assert sum(got) == MEGABYTES << 20


def test_a_flood_that_fills_the_map_changes_no_count(
    wire: tuple[Namespace, socket.socket],
) -> None:
    place, out = wire
    flows = [elephant(i, 300, proto=17, payload=20) for i in range(60)]
    with side_by_side(place, "heard", shunted=16) as seen:
        send_in_bursts(out, flows, 50)
    assert_same_flows(*seen.outcomes)
    assert seen.shunted is not None
    assert seen.shunted.added == 16
    assert seen.shunted.refused > 0
    assert seen.shunted.packets > 0


def test_a_shunted_flow_does_not_go_idle(wire: tuple[Namespace, socket.socket]) -> None:
    place, out = wire
    flow = elephant(1, FULL_PACKETS * 4)
    options = replace(TAPPED, idle_timeout_ns=1_000_000_000)
    with side_by_side(place, "heard", options=options) as seen:
        send_in_bursts(out, [flow], len(flow))
        for _ in range(8):  # twice the timeout, by packets that only the kernel sees
            time.sleep(0.25)
            out.send(flow[0].frame())
    assert [len(outcome.flows["proto"]) for outcome in seen.outcomes] == [1, 1]
    assert_same_flows(*seen.outcomes)
    assert seen.outcomes[1].flows["duration_ns"][0] > 1_900_000_000


def test_what_comes_after_fin_is_in_the_flow_it_belongs_to(
    wire: tuple[Namespace, socket.socket],
) -> None:
    """Retired under traffic: data goes on after both FIN, then the ports are used again."""
    place, out = wire
    flow = elephant(1, FULL_PACKETS * 6)
    ask, answer = flow[0], flow[3]
    with side_by_side(place, "heard") as seen:
        send_in_bursts(out, [flow], 100)
        for packet in (ask, answer):
            out.send(replace(packet, flags=FIN | ACK, payload=b"").frame())
        send_in_bursts(out, [elephant(1, 300)], 20)
        out.send(replace(ask, flags=SYN, payload=b"").frame())
        send_in_bursts(out, [elephant(1, 600)], 100)
    assert_same_flows(*seen.outcomes)
    assert len(seen.outcomes[1].flows["proto"]) == 2
    assert seen.shunted is not None
    assert seen.shunted.lost_packets == 0
    assert seen.shunted.added == 4


def test_an_active_timeout_loses_nothing_of_a_shunted_flow(
    wire: tuple[Namespace, socket.socket],
) -> None:
    """The tap stops counting a second before, so that rows end where a plain ring's end."""
    place, out = wire
    options = replace(TAPPED, active_timeout_ns=3_000_000_000)
    flow = elephant(1, 4000, proto=17)
    with side_by_side(place, "heard", options=options) as seen:
        send_in_bursts(out, [flow], 20)  # more than the timeout, and a new flow after it
    plain, tapped = seen.outcomes
    assert len(plain.flows["proto"]) == len(tapped.flows["proto"]) > 1
    assert plain.flows["end_reason"].tolist() == tapped.flows["end_reason"].tolist()
    assert totals(plain) == totals(tapped)
    assert plain.flows["orig_pkts"].tolist() == tapped.flows["orig_pkts"].tolist()
    assert seen.shunted is not None
    assert seen.shunted.packets > 500
    assert seen.shunted.lost_packets == 0


def test_where_every_packet_is_a_row_it_is_cut_to_its_headers(
    wire: tuple[Namespace, socket.socket],
) -> None:
    place, out = wire
    flow = elephant(1, 1200, payload=1200)
    options = replace(TAPPED, packet_rows="all")
    with side_by_side(place, "heard", options=options) as seen:
        send_in_bursts(out, [flow], 60)
    plain, tapped = seen.outcomes
    assert_same_flows(plain, tapped)
    cut = [name for name in plain.packets if name in ("captured_bytes", "payload_offset")]
    assert differing(plain.packets, tapped.packets) == cut
    assert tapped.stats.packets == plain.stats.packets == 1200
    assert tapped.stats.captured_bytes < 0.6 * plain.stats.captured_bytes
    assert seen.shunted is not None
    assert (seen.shunted.added, seen.shunted.packets) == (2, 0)


def test_the_tap_is_switched_under_traffic(wire: tuple[Namespace, socket.socket]) -> None:
    place, out = wire
    flow = elephant(1, 600)
    with side_by_side(place, "heard") as seen:
        for attached in (True, False, True, False):
            if attached:
                attach_tap(seen.tapped_port, seen.tap.program_fd)
            else:
                detach_tap(seen.tapped_port)
            send_in_bursts(out, [flow], 60)
    assert_same_flows(*seen.outcomes)
    assert seen.shunted is not None
    assert FULL_PACKETS < seen.shunted.packets < 2400 - FULL_PACKETS


def test_a_reader_begins_anew_where_one_before_it_stopped(
    wire: tuple[Namespace, socket.socket],
) -> None:
    place, out = wire
    flow = elephant(1, 800)
    with Tap.load(64) as tap:
        for _ in range(2):
            with ports_on(place, "heard") as (port,):
                attach_tap(port, tap.program_fd)
                with tapping([port], tap, TAPPED) as capture:
                    send_in_bursts(out, [flow], 80)
            assert capture.outcome is not None
            assert capture.outcome.flows["orig_pkts"].tolist() == [600]
            assert capture.outcome.flows["resp_pkts"].tolist() == [200]


def test_shunting_and_the_switch_need_no_capability(
    wire: tuple[Namespace, socket.socket],
) -> None:
    """In a process of nobody's, with the descriptors that it was handed."""
    place, out = wire
    with Tap.load(64) as tap, ports_on(place, "heard") as (port,):
        child = os.fork()
        if child == 0:
            try:
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                status = Path("/proc/self/status").read_text(encoding="utf-8")
                assert "CapEff:\t0000000000000000" in status
                attach_tap(port, tap.program_fd)
                seen = 0
                with open_live([port], options=TAPPED) as stream:
                    stream.shunt(tap.map_fds)
                    deadline = time.monotonic() + PATIENCE_S
                    for _ in stream:
                        seen = stream.shunt_stats().packets
                        if seen > 100 or time.monotonic() > deadline:
                            break
                detach_tap(port)
                os._exit(0 if seen > 100 else 3)
            except BaseException as error:  # a child says so by its code
                print(error, flush=True)
                os._exit(4)
        for _ in range(20):
            send_in_bursts(out, [elephant(1, 200)], 100)
        assert os.waitpid(child, 0)[1] == 0


def test_maps_that_are_not_a_taps_are_refused(wire: tuple[Namespace, socket.socket]) -> None:
    place, _ = wire
    with (
        Tap.load(64) as tap,
        ports_on(place, "heard") as (port,),
        open_live([port], options=StreamOptions()) as stream,
    ):
        shunted, slots = tap.map_fds
        with pytest.raises(ValueError, match="is another map than the tap's shunted"):
            stream.shunt((slots, shunted))
        with pytest.raises(ValueError, match="is not the tap's map shunted"):
            stream.shunt((port.fd, slots))
        stream.shunt((shunted, slots))
        with pytest.raises(ValueError, match="has a tap already"):
            stream.shunt((shunted, slots))
