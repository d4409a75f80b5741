"""When a flow ends, why, and that nothing is lost when memory is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fortress_core import END_REASONS, StreamOptions, open_synth

from tests.core.frames import ACK, FIN, RST, SECOND, START, SYN, Outcome, Packet, collect, run

PING = Packet(proto=1, sport=8, dport=0, icmp_id=7, payload=b"abc")
BYSTANDER = Packet(proto=17, sport=9, dport=9, payload=b".")


def reasons(outcome: Outcome) -> list[str]:
    return [END_REASONS[int(code)] for code in outcome.flows["end_reason"]]


def end_tick(outcome: Outcome, row: int) -> float:
    """The tick in which the row was handed out, seconds after START."""
    return float(outcome.flow_ticks[row] - START) / SECOND


def bystanders(until: int) -> list[Packet]:
    """A packet of another flow each second, so that there are ticks."""
    return [BYSTANDER.at(second + 0.5) for second in range(until)]


def with_time(*groups: list[Packet]) -> list[Packet]:
    return sorted((p for group in groups for p in group), key=lambda p: p.time_ns)


CLOSING = [Packet(flags=SYN).at(0.1), Packet().turned(flags=SYN | ACK).at(0.2)]


def test_fin_both_ways_ends_a_flow_5_seconds_later(tmp_path: Path) -> None:
    talk = [*CLOSING, Packet(flags=FIN | ACK).at(0.3), Packet().turned(flags=FIN | ACK).at(0.4),
            Packet(flags=ACK).at(0.5)]  # fmt: skip
    outcome = run(tmp_path / "c.pcap", with_time(talk, bystanders(12)))
    assert reasons(outcome) == ["fin", "end_of_input"]
    assert end_tick(outcome, 0) == 5
    assert outcome.flows["orig_pkts"][0] == 3


def test_rst_ends_a_flow_1_second_later(tmp_path: Path) -> None:
    talk = [Packet(flags=SYN).at(0.1), Packet().turned(flags=RST | ACK).at(0.2)]
    outcome = run(tmp_path / "c.pcap", with_time(talk, bystanders(12)))
    assert reasons(outcome) == ["rst", "end_of_input"]
    assert end_tick(outcome, 0) == 1


def test_a_new_syn_after_fin_or_rst_begins_a_new_flow_at_once(tmp_path: Path) -> None:
    talk = [Packet(flags=SYN, seq=1).at(0.1), Packet().turned(flags=RST | ACK).at(0.2),
            Packet(flags=SYN, seq=9).at(0.3), Packet().turned(flags=RST | ACK).at(0.4)]  # fmt: skip
    outcome = run(tmp_path / "c.pcap", talk)
    assert reasons(outcome) == ["port_reuse", "end_of_input"]
    assert outcome.flows["flow_id"].tolist() == [1, 2]
    assert outcome.flows["orig_pkts"].tolist() == [1, 1]
    assert outcome.intervals["flow_id"].tolist() == [1, 2]
    assert [END_REASONS[int(e)] for e in outcome.intervals["ended"]] == [
        "port_reuse",
        "end_of_input",
    ]


def test_a_repeated_syn_on_an_open_flow_is_the_same_flow(tmp_path: Path) -> None:
    outcome = run(tmp_path / "c.pcap", [Packet(flags=SYN).at(0), Packet(flags=SYN).at(1)])
    assert outcome.flows["orig_syn"].tolist() == [2]


@pytest.mark.parametrize("timeout", [30, 120])
def test_silence_longer_than_the_timeout_ends_a_flow(tmp_path: Path, timeout: int) -> None:
    talk = [Packet(flags=SYN).at(0.25), Packet(flags=SYN).at(0.25 + timeout)]
    outcome = run(tmp_path / "c.pcap", with_time(talk, bystanders(2 * timeout + 10)),
                  idle_timeout_ns=timeout * SECOND)  # fmt: skip
    assert reasons(outcome) == ["idle", "end_of_input"]
    assert outcome.flows["orig_pkts"].tolist()[0] == 2  # exactly the timeout is not longer
    assert end_tick(outcome, 0) == 2 * timeout


def test_a_packet_after_the_timeout_begins_a_new_flow_although_no_tick_passed(
    tmp_path: Path,
) -> None:
    outcome = run(tmp_path / "c.pcap", [Packet().at(0.5), Packet().at(121)], tick_ns=3600 * SECOND)
    assert reasons(outcome) == ["idle", "end_of_input"]
    assert outcome.flows["flow_id"].tolist() == [1, 2]


def test_a_flow_is_cut_after_the_active_timeout(tmp_path: Path) -> None:
    talk = [Packet(payload=b"x").at(10 * i) for i in range(30)]
    outcome = run(tmp_path / "c.pcap", talk, active_timeout_ns=100 * SECOND)
    assert reasons(outcome) == ["active", "active", "end_of_input"]
    assert outcome.flows["orig_pkts"].tolist() == [10, 10, 10]


def test_a_clock_set_back_ends_all_flows_and_begins_new_ticks(tmp_path: Path) -> None:
    talk = [Packet().at(100), BYSTANDER.at(100.5), Packet().at(98), Packet().at(98.5)]
    outcome = run(tmp_path / "c.pcap", talk)
    assert reasons(outcome) == ["clock_step", "clock_step", "end_of_input"]
    assert outcome.stats.clock_steps == 1
    assert outcome.stats.out_of_order == 0
    assert outcome.closed_ticks == (START + 100 * SECOND, START + 98 * SECOND)
    assert outcome.flows["orig_pkts"].tolist() == [1, 1, 2]


def test_up_to_a_second_back_is_reordering(tmp_path: Path) -> None:
    talk = [Packet().at(100), Packet().at(101.5), Packet().at(100.6), Packet().at(101.6)]
    outcome = run(tmp_path / "c.pcap", talk)
    assert reasons(outcome) == ["end_of_input"]
    assert outcome.stats.out_of_order == 1
    assert outcome.closed_ticks == (START + 100 * SECOND, START + 101 * SECOND)
    assert outcome.intervals["orig_pkts"].tolist() == [
        1,
        3,
    ]  # the late one is of the tick it came in


def test_ticks_without_packets_are_skipped(tmp_path: Path) -> None:
    outcome = run(tmp_path / "c.pcap", [Packet().at(0), Packet().at(7), Packet().at(3600)])
    assert [(t - START) // SECOND for t in outcome.closed_ticks] == [0, 7, 3600]
    assert reasons(outcome) == ["idle", "end_of_input"]


@pytest.mark.parametrize("jump", [2**31, 2**33])
def test_an_absurd_stamp_is_survived(tmp_path: Path, jump: int) -> None:
    packets = [Packet().at(0), replace(Packet(), time_ns=min(jump * SECOND, (2**32 - 1) * SECOND))]
    outcome = run(tmp_path / "c.pcap", packets)
    assert sum(outcome.flows["orig_pkts"]) == 2


@pytest.mark.parametrize(("tick_s", "idle_s"), [(1, 120), (600, 120), (3600, 8 * 3600)])
def test_timeouts_are_right_over_days(tmp_path: Path, tick_s: int, idle_s: int) -> None:
    """Deadlines are kept in 16 bits and counted anew now and then."""
    steady = [Packet(payload=b"x").at(100 * i) for i in range(2600)]
    late = [BYSTANDER.at(3000 * i + 50) for i in range(87)]
    outcome = run(tmp_path / "c.pcap", with_time(steady, late), tick_ns=tick_s * SECOND,
                  idle_timeout_ns=idle_s * SECOND, active_timeout_ns=86400 * SECOND)  # fmt: skip
    assert outcome.flows["orig_pkts"].sum() == 2687
    of_steady = outcome.flows["orig_port"] == 40000
    assert outcome.flows["orig_pkts"][of_steady].tolist() == [864, 864, 864, 8]
    lone = outcome.flows["orig_pkts"][~of_steady].tolist()
    assert lone == ([1] * 87 if idle_s < 3000 else [29, 29, 29])


def test_echo_and_its_answer_are_one_flow_and_other_identifiers_another(tmp_path: Path) -> None:
    answer = replace(PING, src=PING.dst, dst=PING.src, sport=0)
    other = replace(PING, icmp_id=8)
    outcome = run(tmp_path / "c.pcap", [PING.at(0), answer.at(0.1), other.at(0.2), PING.at(1)])
    assert outcome.flows["orig_pkts"].tolist() == [2, 1]
    assert outcome.flows["resp_pkts"].tolist() == [1, 0]
    assert outcome.flows["orig_port"].tolist() == [8, 8]
    assert outcome.flows["resp_port"].tolist() == [0, 0]


def test_icmp_errors_are_flows_in_one_direction(tmp_path: Path) -> None:
    unreachable = Packet(proto=1, sport=3, dport=3, payload=bytes(28))
    back = replace(unreachable, src=unreachable.dst, dst=unreachable.src)
    outcome = run(tmp_path / "c.pcap", [unreachable.at(0), replace(back, dport=1).at(1)])
    assert outcome.flows["orig_port"].tolist() == [3, 3]
    assert outcome.flows["resp_port"].tolist() == [3, 1]
    assert outcome.flows["resp_pkts"].tolist() == [0, 0]


def test_later_fragments_are_of_the_flow_without_ports(tmp_path: Path) -> None:
    first = replace(Packet(proto=17, dport=53, payload=bytes(1400)), fragment=0x2000)
    later = replace(Packet(proto=17, dport=53, payload=bytes(100)), fragment=0x00B0)
    outcome = run(tmp_path / "c.pcap", [first.at(0), later.at(0.1)])
    assert outcome.flows["orig_port"].tolist() == [40000, 0]
    assert outcome.flows["orig_fragments"].tolist() == [1, 1]


def test_a_flood_beyond_the_budget_evicts_and_loses_nothing() -> None:
    small = StreamOptions(flow_budget_bytes=1 << 20)
    outcome = collect(open_synth("syn_flood", 5, 60_000, options=small))
    stats = outcome.stats
    assert stats.memory_bytes <= 1 << 20
    assert stats.evictions > 10_000
    assert reasons(outcome).count("evicted") == stats.evictions
    assert stats.flows == len(outcome.flows["flow_id"]) > 10 * stats.flows_peak
    counted = outcome.flows["orig_pkts"].sum() + outcome.flows["resp_pkts"].sum()
    assert counted == stats.packets - stats.non_ip - stats.undecodable
    in_ticks = outcome.intervals["orig_pkts"].sum() + outcome.intervals["resp_pkts"].sum()
    assert in_ticks == counted


def test_the_flow_seen_longest_ago_is_evicted(tmp_path: Path) -> None:
    budget = 16384
    many = [Packet(proto=17, sport=1000 + i, payload=b"x").at(2 * i) for i in range(40)]
    keep = [Packet(proto=17, sport=1, payload=b"x").at(2 * i + 1) for i in range(40)]
    outcome = run(tmp_path / "c.pcap", with_time(many, keep), flow_budget_bytes=budget)
    evicted = outcome.flows["end_reason"] == END_REASONS.index("evicted")
    assert evicted.sum() > 5
    assert outcome.flows["orig_port"][evicted].tolist() == [1000 + i for i in range(evicted.sum())]
    assert outcome.flows["orig_pkts"][outcome.flows["orig_port"] == 1].tolist() == [40]


def test_a_flow_costs_at_most_512_bytes() -> None:
    options = StreamOptions(flow_budget_bytes=64 << 20)
    stats = collect(open_synth("syn_flood", 1, 400_000, options=options)).stats
    assert stats.evictions > 0  # the table was full
    assert stats.memory_bytes <= 64 << 20
    assert stats.memory_bytes / stats.flows_peak <= 512


def test_memory_does_not_grow_with_the_number_of_flows() -> None:
    options = StreamOptions(flow_budget_bytes=4 << 20)
    sizes = {collect(open_synth("syn_flood", 1, n, options=options)).stats.memory_bytes
             for n in (1000, 100_000)}  # fmt: skip
    assert len(sizes) == 1


def test_ended_flows_come_in_order_of_their_end() -> None:
    outcome = collect(open_synth("mixed", 3, 30_000))
    assert np.all(np.diff(outcome.flow_ticks) >= 0)
