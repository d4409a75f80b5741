"""The core on a shipped capture: packets in, columns out."""

import time
from pathlib import Path

import pytest
from fortress_core import StreamOptions, open_capture

from bench.conftest import Run

pytestmark = pytest.mark.benchmark(timer=time.process_time)  # neighbours do not count


def drain(stream: object) -> int:
    with stream as opened:  # type: ignore[attr-defined]
        return sum(batch.flows.rows for batch in opened)


def test_a_capture_becomes_all_flow_columns(bench: Run, sample: Path) -> None:
    options = StreamOptions(keep_intervals=False)
    assert bench(lambda: drain(open_capture([sample], options=options))) > 0


def test_a_capture_becomes_flows_and_intervals(bench: Run, sample: Path) -> None:
    assert bench(lambda: drain(open_capture([sample]))) > 0


def test_a_capture_becomes_packet_rows(bench: Run, sample: Path) -> None:
    options = StreamOptions(packet_rows="all", keep_intervals=False)
    assert bench(lambda: drain(open_capture([sample], options=options))) > 0
