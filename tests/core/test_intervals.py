"""Interval rows add up to flows and come in order."""

from pathlib import Path

import numpy as np
import pytest
from fortress_core import CONN_STATES, StreamOptions, open_synth

from tests.core.frames import ACK, FIN, SECOND, START, SYN, Packet, collect, run


def test_a_row_for_each_flow_and_tick_with_a_packet(tmp_path: Path) -> None:
    other = Packet(proto=17, sport=7, dport=8, payload=b"abcd")
    packets = [
        Packet(flags=SYN).at(0.1), other.at(0.2), Packet().turned(flags=SYN | ACK).at(0.3),
        Packet(payload=b"x" * 100).at(1.5), other.at(2.1), Packet(flags=FIN | ACK).at(2.2),
    ]  # fmt: skip
    rows = run(tmp_path / "c.pcap", packets)
    table = rows.intervals
    assert ((rows.interval_ticks - START) // SECOND).tolist() == [0, 0, 1, 2, 2]
    assert table["flow_id"].tolist() == [1, 2, 1, 2, 1]  # by first packet in the tick
    assert table["is_new"].tolist() == [1, 1, 0, 0, 0]
    assert table["orig_pkts"].tolist() == [1, 1, 1, 1, 1]
    assert table["resp_pkts"].tolist() == [1, 0, 0, 0, 0]
    assert table["orig_bytes"].tolist() == [40, 32, 140, 32, 40]
    assert table["orig_payload_total"].tolist() == [0, 4, 100, 8, 100]
    assert table["orig_pkts_total"].tolist() == [1, 1, 2, 2, 3]
    assert [CONN_STATES[int(s)] for s in table["conn_state"]] == ["S1", "S0", "S1", "S0", "S2"]
    assert table["ended"].tolist() == [0, 0, 0, 6, 6]
    assert table["last_ns"].tolist()[:3] == [
        packets[2].time_ns,
        packets[1].time_ns,
        packets[3].time_ns,
    ]


@pytest.mark.parametrize("profile", ["mice", "elephants", "mixed", "scan", "syn_flood"])
def test_interval_rows_add_up_to_flows(profile: str) -> None:
    outcome = collect(open_synth(profile, 11, 40_000))
    order = np.argsort(outcome.flows["flow_id"])
    flows = {name: values[order] for name, values in outcome.flows.items()}
    assert flows["flow_id"].tolist() == list(range(1, len(order) + 1))
    index = (outcome.intervals["flow_id"] - 1).astype(np.intp)
    for name in ("orig_pkts", "resp_pkts", "orig_bytes", "resp_bytes"):
        sums = np.zeros(len(order), np.uint64)
        np.add.at(sums, index, outcome.intervals[name].astype(np.uint64))
        assert np.array_equal(sums, flows[name])
    keys = np.stack([outcome.interval_ticks, outcome.intervals["flow_id"].astype(np.int64)])
    assert np.unique(keys, axis=1).shape == keys.shape  # one row a flow and tick


def test_intervals_can_be_left_out() -> None:
    outcome = collect(open_synth("mixed", 1, 5000, options=StreamOptions(keep_intervals=False)))
    assert outcome.intervals == {} or not len(next(iter(outcome.intervals.values())))
    assert len(outcome.flows["flow_id"])


def test_the_length_of_a_tick_changes_rows_but_no_flow() -> None:
    def flows(tick_ns: int) -> dict[str, list[bytes]]:
        outcome = collect(open_synth("mixed", 9, 60_000, options=StreamOptions(tick_ns=tick_ns)))
        order = np.argsort(outcome.flows["flow_id"])
        return {name: [v.tobytes() for v in values[order]] for name, values in outcome.flows.items()
                if name != "end_reason"}  # fmt: skip

    assert flows(SECOND) == flows(10**8)
