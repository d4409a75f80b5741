"""The sequence model: whole windows a second, one step of each originator, a capture's flows.

`python -m bench.test_threat` prints the rates with the limits that are promised.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.conftest import Run
from fortress.features.collect import collect_flows
from fortress.inference import Registry
from fortress.inference.entry import ModelEntry
from fortress.inference.session import Session, open_session
from fortress.inference.threat_sequence import CARRIED, ThreatSequence
from tests.need import ROOT

pytestmark = pytest.mark.benchmark(timer=time.process_time)  # neighbours do not count

BATCH = 256
LIMITS = {64: 12_000, 32: 25_000}  # windows a second on one core, batched
MOST_OVER_RAW = 1.3  # at batch 1
STEPS_AT_ONCE = 200


@pytest.fixture(scope="session")
def entry() -> ModelEntry:
    return Registry().load("threat-lstm")


@pytest.mark.parametrize("steps", LIMITS)
def test_windows_are_judged_in_batches(bench: Run, entry: ModelEntry, steps: int) -> None:
    session, windows = Session(entry), some_windows(BATCH, steps)
    bench(lambda: session.run(windows))


def test_one_window_is_judged(bench: Run, entry: ModelEntry) -> None:
    session, window = Session(entry), some_windows(1, 64)
    bench(lambda: session.run(window))


def test_originators_take_one_step_together(bench: Run, entry: ModelEntry) -> None:
    bench(one_step(entry))


def test_flows_of_a_capture_are_judged(bench: Run, entry: ModelEntry, sample: Path) -> None:
    model = ThreatSequence(entry)
    flows = collect_flows([sample], model.columns).columns

    def judge() -> None:
        model.clear()
        model.observe(1, flows)

    bench(judge)


def some_windows(rows: int, steps: int) -> np.ndarray:
    """Windows of numbers within the features' bounds."""
    shape = (rows, steps, 20)
    return np.sin(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)


def one_step(entry: ModelEntry) -> Callable[[], object]:
    """A step of STEPS_AT_ONCE originators with carried state."""
    session = open_session(entry.graph(CARRIED), entry.path)
    state = np.zeros((STEPS_AT_ONCE, 64), np.float32)
    feed = {"sequence": some_windows(STEPS_AT_ONCE, 1), "h0": state, "c0": state}
    return lambda: session.run(None, feed)


def least_s(run: Callable[[], object], times: int) -> float:
    """Least CPU seconds of seven runs of so many calls, for one call."""
    run()
    best = float("inf")
    for _ in range(7):
        begun = time.process_time()
        for _ in range(times):
            run()
        best = min(best, time.process_time() - begun)
    return best / times


def main() -> None:
    """Print rates and limits, met or not met."""
    entry = Registry().load("threat-lstm")
    session, raw = Session(entry), open_session(entry.onnx, entry.path)
    for steps, limit in LIMITS.items():
        windows = some_windows(BATCH, steps)
        rate = BATCH / least_s(lambda w=windows: session.run(w), 2)
        print(f"windows of {steps}: {rate:,.0f}/s (limit {limit:,}: {_met(rate >= limit)})")
    window = some_windows(1, 64)
    name = raw.get_inputs()[0].name
    ours = least_s(lambda: session.run(window), 200)
    bare = least_s(lambda: raw.run(None, {name: window}), 200)
    met = _met(ours <= MOST_OVER_RAW * bare)
    print(f"one window of 64: {ours * 1e6:.0f} µs, {ours / bare:.2f} × raw (limit 1.3: {met})")
    step = least_s(one_step(entry), 100)
    print(f"a step of {STEPS_AT_ONCE} originators: {step / STEPS_AT_ONCE * 1e6:.2f} µs each")
    model = ThreatSequence(entry)
    capture = ROOT / "samples" / "attack_day.pcap.zst"
    flows = collect_flows([capture], model.columns).columns
    seconds = least_s(lambda: (model.clear(), model.observe(1, flows)), 1)
    count = len(flows["proto"])
    print(f"{count:,} flows of attack_day at once: {seconds / count * 1e6:.2f} µs a flow")


def _met(yes: bool) -> str:
    return "met" if yes else "NOT met"


if __name__ == "__main__":
    main()
