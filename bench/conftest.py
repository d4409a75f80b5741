"""What the benches run on: shipped captures, unpacked once, and a way to be slower on purpose."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.captures import CACHE
from tests.need import ROOT

SLOWER = float(os.environ.get("FORTRESS_BENCH_SLOWER", "0"))
Run = Callable[..., Any]


@pytest.fixture(scope="session")
def sample() -> Path:
    """The attack_day sample as a plain pcap: decompression is not what is measured."""
    packed = ROOT / "samples" / "attack_day.pcap.zst"
    plain = CACHE / "attack_day.pcap"
    if not plain.exists() or plain.stat().st_mtime < packed.stat().st_mtime:
        plain.parent.mkdir(parents=True, exist_ok=True)
        from pyarrow import CompressedInputStream, OSFile

        with CompressedInputStream(OSFile(str(packed)), "zstd") as stream:
            plain.write_bytes(stream.read())
    return plain


@pytest.fixture
def bench(benchmark: Any) -> Run:
    """Runs what is benched; FORTRESS_BENCH_SLOWER=0.5 makes it half as slow again, on purpose."""

    def measured(run: Callable[[], object]) -> object:
        def slowed() -> object:
            begun = time.perf_counter()
            result = run()
            until = time.perf_counter() + SLOWER * (time.perf_counter() - begun)
            while time.perf_counter() < until:
                pass
            return result

        return benchmark(slowed if SLOWER else run)

    return measured
