"""The gate: frames through its program, entries into its maps."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fortress_core import Gate, GateEntry, GateKey

from bench.conftest import Run
from bench.gate import entries, source, stranger
from tests.bpf.gate_frames import MAC, UDP
from tests.bpf.gate_runs import XDP_DROP, XDP_PASS, need_gate, run

pytestmark = pytest.mark.benchmark(timer=time.process_time)  # neighbours do not count

ENTRIES, FRAMES = 10_000, 100_000


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    """A gate with 10,000 addresses and as many prefixes."""
    need_gate()
    with Gate.load() as loaded:
        for prefix in (False, True):
            for chunk in entries(ENTRIES, prefix=prefix):
                loaded.add(chunk)
        yield loaded


def frame_from(number: int, *, prefix: bool) -> bytes:
    octets = source(number, prefix=prefix).to_bytes(4)
    return replace(UDP, src=".".join(map(str, octets))).frame()


def test_frames_of_a_blocked_address_are_dropped(bench: Run, gate: Gate) -> None:
    frame = frame_from(ENTRIES // 2, prefix=False)
    assert bench(lambda: run(gate.program_fd(), frame, FRAMES).action) == XDP_DROP


def test_frames_of_a_blocked_prefix_are_dropped(bench: Run, gate: Gate) -> None:
    frame = frame_from(ENTRIES // 2, prefix=True)
    assert bench(lambda: run(gate.program_fd(), frame, FRAMES).action) == XDP_DROP


def test_frames_that_nothing_fits_pass(bench: Run, gate: Gate) -> None:
    frame = replace(UDP, src=stranger(ENTRIES)).frame()
    assert bench(lambda: run(gate.program_fd(), frame, FRAMES).action) == XDP_PASS


def test_one_more_block_goes_in(bench: Run, gate: Gate) -> None:
    entry = GateEntry(GateKey.parse(MAC))
    assert bench(lambda: gate.add([entry])) == 1


def test_ten_thousand_blocks_go_in(bench: Run, gate: Gate) -> None:
    wanted = next(entries(ENTRIES, prefix=False))
    assert bench(lambda: gate.add(wanted)) == ENTRIES
