"""Columns are of the first packets of each direction; later ones only go into plain counters."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fortress_core import CONN_STATES, FLOWS, FULL_PACKETS, columns

from tests.core.frames import ACK, FIN, PSH, RST, SYN, URG, Outcome, Packet, run
from tests.core.model import flow_numbers

ASK = Packet(flags=ACK, payload=bytes(range(100)), window=500, ttl=64)
ANSWER = ASK.turned(payload=bytes(range(50)))
# What may be told of later packets: sums, the last time, what follows from these, and the end.
IN_TOTAL = {
    "last_ns", "duration_ns", "conn_state", "history", "end_reason",
    *(f"{side}{name}" for side in ("orig_", "resp_") for name in (
        "pkts", "bytes", "payload_bytes", "header_bytes", "data_pkts", "syn", "fin", "rst",
        "tcp_flags", "pkts_per_s", "bytes_per_s")),
    "pkts_per_s", "bytes_per_s", "resp_orig_pkts_ratio", "resp_orig_bytes_ratio",
}  # fmt: skip


def exchange(count: int) -> list[Packet]:
    """So many packets of the originator, and one answer to every second one."""
    packets: list[Packet] = []
    for i in range(count):
        packets.append(replace(ASK, seq=1000 + 100 * i).at(i * 0.01))
        if i % 2:
            packets.append(replace(ANSWER, seq=9000 + 50 * i).at(i * 0.01 + 0.002))
    return packets


def same(a: Outcome, b: Outcome) -> set[str]:
    """The columns in which the only flows of both are the same, bit by bit."""
    assert len(a.flows["proto"]) == len(b.flows["proto"]) == 1
    return {name for name in a.flows if a.flows[name].tobytes() == b.flows[name].tobytes()}


def test_later_packets_change_plain_counters_and_nothing_else(tmp_path: Path) -> None:
    """Whatever they are: as large, as late, as strange as can be."""
    early = exchange(FULL_PACKETS)
    early += [ANSWER.at(3 + i * 0.01) for i in range(FULL_PACKETS // 2)]
    strange = replace(
        ASK, flags=ACK | PSH | URG, payload=b"z" * 1400, window=0, ttl=3, tos=9, seq=1
    )
    late = [replace(strange.at(10 + 2.5 * i), sport=p.sport, dport=p.dport, src=p.src, dst=p.dst)
            for i, p in enumerate([ASK, ANSWER] * 5)]  # fmt: skip
    alone = run(tmp_path / "early.pcap", early, keep_sequences=True)
    more = run(tmp_path / "late.pcap", early + late, keep_sequences=True)
    every = {column.name for column in columns(FLOWS)}
    assert every - same(alone, more) <= IN_TOTAL
    assert more.flows["orig_pkts"][0] == FULL_PACKETS + 5
    assert more.flows["resp_pkts"][0] == FULL_PACKETS + 5
    assert more.flows["idle_count"][0] == alone.flows["idle_count"][0]


@pytest.mark.parametrize("count", [FULL_PACKETS - 1, FULL_PACKETS, FULL_PACKETS + 1])
def test_at_the_border_every_number_is_what_numpy_says(tmp_path: Path, count: int) -> None:
    packets = exchange(count)
    found = run(tmp_path / "border.pcap", packets)
    numbers = flow_numbers(packets)
    for column in columns(FLOWS):
        if column.name not in numbers:
            continue
        tolerance = 1e-6 if column.type == "f32" else 0
        np.testing.assert_allclose(
            float(found.flows[column.name][0]), float(numbers[column.name]), rtol=tolerance,
            err_msg=column.name,
        )  # fmt: skip


def test_a_side_that_is_not_late_is_told_by_gaps_between_packets_that_count(tmp_path: Path) -> None:
    """The answer comes a second and a half after the last packet that is looked at."""
    first = [ASK.at(i * 0.01) for i in range(FULL_PACKETS)]
    later = [ASK.at(1.28 + i * 0.1) for i in range(15)]
    answer = ANSWER.at(first[-1].time_ns / 1e9 - ASK.time_ns / 1e9 + 1.5)
    found = run(tmp_path / "one.pcap", [*first, *later, answer]).flows
    assert found["idle_count"][0] == 1
    np.testing.assert_allclose(found["iat_max_ns"][0], 1.5e9, rtol=1e-6)
    np.testing.assert_allclose(found["idle_mean_ns"][0], 1.5e9, rtol=1e-6)
    np.testing.assert_allclose(found["active_max_ns"][0], 1.27e9, rtol=1e-6)
    assert found["orig_pkts"][0] == FULL_PACKETS + 15


def test_beginning_and_end_of_a_connection_are_seen_in_every_packet(tmp_path: Path) -> None:
    opening = [replace(ASK, flags=SYN, payload=b""), replace(ANSWER, flags=SYN | ACK, payload=b"")]
    middle = exchange(3 * FULL_PACKETS)
    end = [replace(side, flags=FIN | ACK, payload=b"").at(10) for side in (ASK, ANSWER)]
    found = run(tmp_path / "fin.pcap", [*opening, *middle, *end]).flows
    assert CONN_STATES[found["conn_state"][0]] == "SF"
    assert found["history"][0] == b"ShDdFf"
    assert (found["orig_fin"][0], found["resp_fin"][0]) == (1, 1)
    assert found["orig_tcp_flags"][0] & FIN
    reset = [replace(ANSWER, flags=RST | PSH | URG, payload=b"").at(10)]
    found = run(tmp_path / "rst.pcap", [*opening, *middle, *reset]).flows
    assert CONN_STATES[found["conn_state"][0]] == "RSTR"
    assert found["resp_tcp_flags"][0] == SYN | ACK | RST  # of late packets no other flag counts


def test_rows_of_ticks_add_up_to_the_flow(tmp_path: Path) -> None:
    found = run(tmp_path / "ticks.pcap", exchange(4 * FULL_PACKETS))
    for name in ("orig_pkts", "resp_pkts", "orig_bytes", "resp_bytes"):
        assert found.intervals[name].sum() == found.flows[name][0], name
    assert found.intervals["orig_pkts_total"].max() == 4 * FULL_PACKETS
    assert found.intervals["orig_payload_total"].max() == 4 * FULL_PACKETS * 100
    assert len(found.intervals["orig_pkts"]) >= 5
