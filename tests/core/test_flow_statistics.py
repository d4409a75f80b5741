"""Every statistic of a flow is what numpy makes of its packets."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fortress_core import FLOWS, columns

from tests.core.frames import (
    ACK,
    CWR,
    ECE,
    FIN,
    PSH,
    RST,
    SECOND,
    START,
    SYN,
    URG,
    Outcome,
    Packet,
    run,
)
from tests.core.model import flow_numbers

NOT_STATISTICS = {
    "flow_id", "orig_addr", "resp_addr", "orig_mac", "resp_mac", "orig_port", "resp_port",
    "vlan_id", "iface", "proto", "ip_version", "tunnel", "end_reason", "conn_state", "history",
    "community_id",
    "orig_fragments", "resp_fragments", "orig_mss", "resp_mss", "orig_wscale", "resp_wscale",
    "orig_tcp_options", "resp_tcp_options", "handshake_ns", "sequence_length", "sequence_size",
    "sequence_gap_us",
}  # fmt: skip


def assert_as_numpy(outcome: Outcome, packets: Sequence[Packet], row: int = 0) -> None:
    expected = flow_numbers(packets)
    named = {column.name for column in columns(FLOWS)} - NOT_STATISTICS
    assert named == expected.keys()
    wrong = []
    for column in columns(FLOWS):
        if column.name not in expected:
            continue
        got, want = outcome.flows[column.name][row], expected[column.name]
        tolerance = 1e-6 if column.type == "f32" else 0
        if not np.isclose(float(got), float(want), rtol=tolerance, atol=0, equal_nan=True):
            wrong.append(f"{column.name}: {got}, numpy says {want}")
    assert not wrong, "\n".join(wrong)


def conversation(seed: int, count: int, longest_gap_ns: int) -> list[Packet]:
    """A TCP conversation with all there is in it: sizes, flags, windows, pauses, repetitions."""
    dice = random.Random(seed)
    time_ns, seqs, packets = START, [dice.randrange(2**31), dice.randrange(2**31)], []
    for i in range(count):
        side = 0 if i == 0 else dice.randrange(2)
        payload = dice.randbytes(dice.choice((0, 0, 1, 17, 300, 1448)))
        flags = SYN if i == 0 else ACK | dice.choice((0, 0, 0, PSH, URG, ECE, CWR, PSH | ECE))
        seq = seqs[side] - (dice.randrange(1, 100) if dice.random() < 0.1 and i > 3 else 0)
        packet = Packet(flags=flags, payload=b"" if i == 0 else payload, seq=seq,
                        window=dice.choice((0, 100, 65535, dice.randrange(65536))),
                        ttl=dice.choice((64, 63, 128)), tos=dice.choice((0, 4)))  # fmt: skip
        packet = packet if side == 0 else packet.turned(window=packet.window, ttl=packet.ttl)
        packets.append(packet.at((time_ns - START) / SECOND))
        seqs[side] = max(seqs[side], seq + len(packets[-1].payload) + (i == 0))
        time_ns += dice.choice((0, 1, 999, dice.randrange(longest_gap_ns)))
    return packets


@pytest.mark.parametrize("seed", range(6))
def test_a_conversation_has_the_statistics_numpy_computes(tmp_path: Path, seed: int) -> None:
    packets = conversation(seed, 500, 10**8 if seed % 2 else 4 * 10**9)
    outcome = run(tmp_path / "c.pcap", packets)
    assert len(outcome.flows["flow_id"]) == 1
    assert_as_numpy(outcome, packets)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_flow_of_few_packets_has_nan_where_there_is_no_value(tmp_path: Path, count: int) -> None:
    packets = [Packet(flags=SYN).at(0), Packet(flags=SYN).at(1.5), Packet(payload=b"x").at(1.6)][
        :count
    ]
    assert_as_numpy(run(tmp_path / "c.pcap", packets), packets)


def test_a_deviation_far_below_the_mean_keeps_six_digits(tmp_path: Path) -> None:
    """A beacon each minute, off by some microseconds: naive sums of squares would lose it."""
    dice = random.Random(7)
    packets = [Packet(payload=b"beacon").at(60 * i + dice.randrange(9000) / 1e9) for i in range(25)]
    assert_as_numpy(run(tmp_path / "c.pcap", packets), packets)


def test_stamps_that_run_backwards_count_as_the_highest_so_far(tmp_path: Path) -> None:
    times = (0, 0.5, 0.2, 0.9, 0.85, 1.4, 0.45)
    packets = [(Packet() if i % 2 == 0 else Packet().turned()).at(t) for i, t in enumerate(times)]
    outcome = run(tmp_path / "c.pcap", packets)
    assert_as_numpy(outcome, packets)
    assert outcome.stats.out_of_order == 3
    assert outcome.stats.clock_steps == 0


def test_several_flows_at_once_do_not_touch_each_other(tmp_path: Path) -> None:
    talks = []
    for i in range(5):
        talks.append([_with_port(p, 40000 + i) for p in conversation(20 + i, 80, 10**8)])
    packets = sorted((p for talk in talks for p in talk), key=lambda p: p.time_ns)
    outcome = run(tmp_path / "c.pcap", packets)
    for talk in talks:
        ports = {talk[0].sport}
        row = [i for i, port in enumerate(outcome.flows["orig_port"]) if int(port) in ports]
        assert len(row) == 1
        assert_as_numpy(outcome, talk, row[0])


def _with_port(packet: Packet, port: int) -> Packet:
    from dataclasses import replace

    return replace(packet, sport=port) if packet.dport == 80 else replace(packet, dport=port)


def test_the_sequence_columns_hold_the_first_32_packets(tmp_path: Path) -> None:
    packets = conversation(3, 50, 10**8)
    outcome = run(tmp_path / "c.pcap", packets, keep_sequences=True)
    first = packets[:32]
    sizes = [p.ip_bytes if p.src == packets[0].src else -p.ip_bytes for p in first]
    gaps = (
        np.diff(np.maximum.accumulate([p.time_ns for p in first]), prepend=first[0].time_ns) // 1000
    )
    assert outcome.flows["sequence_length"][0] == 32
    assert outcome.flows["sequence_size"][0].tolist() == sizes
    assert outcome.flows["sequence_gap_us"][0].tolist() == gaps.tolist()


def test_a_short_sequence_ends_with_zeros_even_in_a_reused_record(tmp_path: Path) -> None:
    long = [_with_port(p, 50000) for p in conversation(4, 40, 10**6)]
    late = [Packet(sport=50001, flags=SYN).at(400), Packet(sport=50001, flags=RST).at(400.1)]
    outcome = run(tmp_path / "c.pcap", [*long, *late], keep_sequences=True)
    assert outcome.flows["sequence_length"].tolist() == [32, 2]
    assert not outcome.flows["sequence_size"][1][2:].any()
    assert not outcome.flows["sequence_gap_us"][1][2:].any()


def test_sequences_are_not_kept_unless_asked_for(tmp_path: Path) -> None:
    outcome = run(tmp_path / "c.pcap", conversation(3, 50, 10**8))
    assert outcome.flows["sequence_length"].tolist() == [0]
    assert not outcome.flows["sequence_size"].any()


def test_syn_options_and_handshake_time_are_kept(tmp_path: Path) -> None:
    options = bytes([2, 4, 5, 180, 1, 3, 3, 7, 4, 2])
    answer = bytes([2, 4, 5, 80])
    outcome = run(tmp_path / "c.pcap", [
        Packet(flags=SYN, options=options).at(0),
        Packet(flags=SYN, options=options).at(1),
        Packet(options=answer).turned(flags=SYN | ACK).at(1.025),
        Packet(flags=ACK).at(1.05),
        Packet(flags=ACK | FIN).at(2),
    ])  # fmt: skip
    flow = {name: values[0] for name, values in outcome.flows.items()}
    assert (flow["orig_mss"], flow["orig_wscale"], flow["orig_tcp_options"]) == (1460, 7, 7)
    assert (flow["resp_mss"], flow["resp_wscale"], flow["resp_tcp_options"]) == (1360, 255, 1)
    assert flow["handshake_ns"] == 25_000_000
    assert flow["orig_syn"] == 2


def test_addresses_macs_and_ports_tell_who_began(tmp_path: Path) -> None:
    outcome = run(tmp_path / "c.pcap", [Packet(proto=17, sport=5000, dport=53, payload=b"?").at(0)])
    flow = {name: values[0] for name, values in outcome.flows.items()}
    assert (flow["orig_port"], flow["resp_port"], flow["proto"], flow["ip_version"]) == (
        5000,
        53,
        17,
        4,
    )
    assert flow["orig_addr"].tobytes() == bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 10])
    assert (flow["orig_mac"], flow["resp_mac"]) == (0x020000000001, 0x020000000002)
    assert not flow["midstream"]


def test_payload_that_was_not_captured_has_no_entropy(tmp_path: Path) -> None:
    from fortress_core import open_capture

    from tests.core.frames import collect, write_pcap

    frames = [(START, Packet(payload=bytes(range(200)), flags=ACK).frame())]
    for snaplen, seen in ((54, 0), (64, 10), (2000, 64)):
        path = write_pcap(tmp_path / f"{snaplen}.pcap", frames, snaplen)
        flows = collect(open_capture(path)).flows
        assert flows["orig_entropy_bytes"].tolist() == [seen]
        assert flows["orig_payload_bytes"].tolist() == [200]
        if seen:
            assert flows["orig_entropy"][0] == pytest.approx(np.log2(seen), rel=1e-6)
        else:
            assert np.isnan(flows["orig_entropy"][0])


def test_statistics_do_not_depend_on_which_columns_are_chosen(tmp_path: Path) -> None:
    from fortress_core import open_capture

    from tests.core.frames import collect, write_pcap

    packets = conversation(1, 100, 10**8)
    path = write_pcap(tmp_path / "c.pcap", ((p.time_ns, p.frame()) for p in packets))
    whole = collect(open_capture(path)).flows
    for name in whole:
        alone = collect(open_capture(path, flow_columns=[name], interval_columns=[])).flows
        assert list(alone) == [name]
        assert alone[name].tobytes() == whole[name].tobytes()
