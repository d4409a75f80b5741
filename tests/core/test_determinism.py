"""The same rows in the same order whatever the batch size; every packet is accounted for."""

from pathlib import Path

import numpy as np
import pytest
from fortress_core import CaptureError, StreamOptions, open_capture, open_synth

from tests.core.frames import Outcome, collect
from tests.need import ROOT, need
from tests.shared_data import GROUPS, captures

BATCHES = (1, 7, 4096, 65536)
SAMPLES = sorted((ROOT / "samples").glob("*.pcap*"))


def assert_same(a: Outcome, b: Outcome) -> None:
    for table in ("flows", "intervals", "packets"):
        left, right = getattr(a, table), getattr(b, table)
        assert left.keys() == right.keys()
        for name in left:
            assert left[name].tobytes() == right[name].tobytes(), f"{table}.{name}"
    assert np.array_equal(a.flow_ticks, b.flow_ticks)
    assert np.array_equal(a.interval_ticks, b.interval_ticks)
    assert a.closed_ticks == b.closed_ticks
    assert a.stats == b.stats


@pytest.mark.parametrize("budget", [1 << 16, 128 << 20], ids=["full table", "default"])
@pytest.mark.parametrize("profile", ["mice", "mixed", "syn_flood", "scan", "fuzz"])
def test_synthetic_traffic_gives_the_same_rows_in_every_batch_size(
    profile: str, budget: int
) -> None:
    options = StreamOptions(packet_rows="control", keep_sequences=True, flow_budget_bytes=budget)
    outcomes = [
        collect(open_synth(profile, 2, 2500, options=options, batch_packets=rows))
        for rows in BATCHES
    ]
    for other in outcomes[1:]:
        assert_same(outcomes[0], other)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.split(".")[0])
def test_a_sample_gives_the_same_rows_in_every_batch_size(path: Path) -> None:
    whole = collect(
        open_capture(path, options=StreamOptions(packet_rows="all"), batch_packets=65536)
    )
    for rows in (7, 4096):
        other = collect(
            open_capture(path, options=StreamOptions(packet_rows="all"), batch_packets=rows)
        )
        assert_same(whole, other)
    assert_accounted(whole)


@pytest.mark.parametrize("budget", [1 << 16, 128 << 20], ids=["full table", "default"])
@pytest.mark.parametrize("profile", ["mixed", "syn_flood"])
def test_the_key_of_the_hash_shows_in_no_row(profile: str, budget: int) -> None:
    outcomes = [
        collect(
            open_synth(
                profile,
                2,
                2500,
                options=StreamOptions(
                    packet_rows="control", hash_key=key, flow_budget_bytes=budget
                ),
            )
        )
        for key in ((1, 2), (0x9E3779B97F4A7C15, 3), (4, 0xFFFFFFFFFFFFFFFF))
    ]
    for other in outcomes[1:]:
        assert_same(outcomes[0], other)


def assert_accounted(outcome: Outcome) -> None:
    """Packets in = packets in flows out + those that are no flow."""
    stats = outcome.stats
    counted = int(outcome.flows["orig_pkts"].sum() + outcome.flows["resp_pkts"].sum())
    assert counted + stats.non_ip + stats.undecodable == stats.packets
    in_ticks = int(outcome.intervals["orig_pkts"].sum() + outcome.intervals["resp_pkts"].sum())
    assert in_ticks == counted
    assert stats.flows == len(outcome.flows["flow_id"])
    assert stats.flows_active == 0


@pytest.mark.parametrize("group", GROUPS)
def test_every_packet_of_every_shared_capture_is_accounted_for(group: str) -> None:
    need("shared")
    names = ["flow_id", "orig_pkts", "resp_pkts"]
    seen = 0
    for capture in captures(group):
        try:
            stream = open_capture(capture.path, flow_columns=names, interval_columns=names)
        except CaptureError as error:
            pytest.fail(f"{capture.path.name}: {error}")
        outcome = collect(stream)
        if outcome.flows:
            assert_accounted(outcome)
        seen += 1
    assert seen
