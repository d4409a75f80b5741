"""A whole day in which nothing happens to a home: it stays GREEN, and no device is accused."""

import ipaddress
import random
from pathlib import Path

import pytest

from fortress.qsecbit import Pipeline
from fortress.qsecbit.fuse import ALARM
from fortress.verdict import Action, Status
from tests.detectors.a_day import DAY_S, day
from tests.detectors.replay import ticks
from tests.need import need
from tests.shared_data import captures

SEED = 20_261_123
SAMPLES = sorted((Path(__file__).parents[2] / "samples").glob("benign_*.pcap.zst"))
LARGEST_BYTES, SMALLEST_BYTES, MOST = 1_500_000, 5_000, 160


def harmless(kind: str) -> list[Path]:
    """What is played: what ships, and on its own what others have published as harmless."""
    if kind == "lab":
        return SAMPLES
    need("shared")
    shared = [one.path for one in captures("benign") if one.path.suffix == ".pcap"]
    fitting = [one for one in sorted(shared)
               if SMALLEST_BYTES < one.stat().st_size < LARGEST_BYTES]  # fmt: skip
    return random.Random(SEED).sample(fitting, min(MOST, len(fitting)))


@pytest.mark.parametrize("kind", ["lab", "shared"])
def test_a_harmless_day_with_the_internets_noise_outside_stays_green(
    kind: str, tmp_path: Path
) -> None:
    path = day(harmless(kind), tmp_path / "day.pcap", SEED)
    pipeline = Pipeline()
    first_ns = last_ns = 0
    worst, alarms, verdicts = 0.0, [], []
    for tick in ticks(path, pipeline, 65_536):
        first_ns, last_ns = first_ns or tick[0], tick[0]
        result = pipeline.tick(*tick)
        worst = max(worst, result.score.value)
        assert result.score.status is Status.GREEN, [one.reason for one in result.opened]
        alarms += [one for one in result.opened if one.risk >= ALARM]
        verdicts += result.verdicts
    assert last_ns - first_ns > 0.98 * DAY_S * 1e9
    print(f"{kind}: worst score {worst:.3f}, {len(alarms)} alarms, {len(verdicts)} verdicts")
    inside = [one.reason for one in alarms if _is_inside(one.host)]
    assert inside == [], "the noise may be told, the home is not accused"
    of_ours = [one for one in verdicts if one.target_kind == "mac" or _is_inside(one.target)]
    blocked = [one.why for one in of_ours if one.action >= Action.LIMIT]
    assert blocked == []


def _is_inside(host: str) -> bool:
    try:
        return ipaddress.ip_network(host).is_private
    except ValueError:
        return True
