"""Captures through the whole data plane with sanitizers, and alike on both architectures."""

from pathlib import Path

import pytest

from tests.core.frames import write_pcap
from tests.core.test_flow_statistics import conversation
from tests.native.programs import built, run
from tests.need import ROOT, need
from tests.shared_data import GROUPS, unpacked

SAMPLES = sorted((ROOT / "samples").glob("*.pcap*"))


def test_samples_do_no_harm_and_are_accounted_for() -> None:
    assert SAMPLES
    run(built("sanitized") / "fxflows", *SAMPLES)


@pytest.mark.parametrize("group", GROUPS)
def test_shared_captures_do_no_harm_and_are_accounted_for(group: str) -> None:
    """In one stream, file after file, in small batches and with a table that is always full."""
    need("shared")
    captures = sorted(unpacked(group).rglob("*.pcap*"))
    assert captures
    run(built("sanitized") / "fxflows", "-b", "61", "-m", "40000", *captures)


def test_every_column_is_the_same_on_aarch64_and_with_sanitizers(tmp_path: Path) -> None:
    need("aarch64")
    talks = [p for seed in range(4) for p in conversation(seed, 400, 4 * 10**9)]
    frames = sorted((p.time_ns, p.frame()) for p in talks)
    path = write_pcap(tmp_path / "c.pcap", frames)
    here = run(built("plain") / "fxflows", path)
    assert " sum " in here
    assert run(built("sanitized") / "fxflows", path) == here
    there = run("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", built("aarch64") / "fxflows", path)
    assert there == here
