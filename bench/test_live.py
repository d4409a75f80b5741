"""Capture of a live wire, the flow update included: nothing is lost, and all is seen."""

from pathlib import Path
from typing import Any

import pytest

from bench.live_readers import READERS
from bench.live_report import added_us
from bench.live_traffic import AT_RATE, LONG, Run, elephants, long_flows, small_packets
from tests.need import need

TRIES = 3  # neighbours may take the processor away for longer than a ring lasts
BRIEF_S, PACED = 2.0, 200_000
_spent_s = [0.0]


def spent_s() -> float:
    """CPU seconds of all who worked for the runs so far: sender, reader, the kernel's threads."""
    return _spent_s[0]


@pytest.fixture(autouse=True)
def _needs_a_wire() -> None:
    need("netns")


@pytest.mark.benchmark(timer=spent_s)
@pytest.mark.parametrize("name", ["packet", "packet with tap", "af_xdp"])
def test_mice_are_captured(benchmark: Any, name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    benchmark.pedantic(lambda: counted(small_packets(reader, PACED, tmp_path, BRIEF_S)), rounds=3)


@pytest.mark.benchmark(timer=spent_s)
@pytest.mark.parametrize("name", ["packet", "packet with tap", "af_xdp"])
def test_long_flows_are_captured(benchmark: Any, name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    benchmark.pedantic(lambda: counted(long_flows(reader, tmp_path, BRIEF_S)), rounds=3)


def counted(run: Run) -> None:
    """The run's CPU is what the bench sees; every packet was seen, or known to be lost."""
    _spent_s[0] += run.cpu_s
    assert run.seen + run.lost == run.sent


def test_no_packet_is_lost_at_300000_a_second(tmp_path: Path) -> None:
    runs = []
    for _ in range(TRIES):
        runs.append(small_packets(READERS["packet"], AT_RATE, tmp_path))
        if runs[-1].seen == runs[-1].sent:
            return
    pytest.fail(f"lost packets each time: {runs}")


@pytest.mark.parametrize("reader", ["packet", "af_xdp"])
def test_what_is_not_seen_is_counted_as_lost(tmp_path: Path, reader: str) -> None:
    run = small_packets(READERS[reader], 0, tmp_path)
    assert run.seen + run.lost == run.sent


def test_a_transfer_in_super_frames_is_counted_in_packets(tmp_path: Path) -> None:
    run = elephants(READERS["packet"], tmp_path)
    assert run.lost == 0
    assert run.seen >= run.sent


def test_the_tap_halves_at_least_what_elephants_cost(tmp_path: Path) -> None:
    """CPU added over no capture, reader and flow update included, the least of some runs."""
    runs: list[Run] = []
    for _ in range(TRIES):
        runs += [
            long_flows(reader, tmp_path)
            for reader in (None, READERS["packet"], READERS["packet with tap"])
        ]
        assert all(run.seen + run.lost == run.sent for run in runs if run.reader != "none")
        plain, tapped = (added_us(runs, name, LONG)[1] for name in ("packet", "packet with tap"))
        if tapped <= plain / 2:
            return
    pytest.fail(f"{tapped:.2f} us a packet with the tap, {plain:.2f} without")
