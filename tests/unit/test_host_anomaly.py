"""What is usual for a device: learnt in days, in bounded memory, hard to poison, saved whole."""

from pathlib import Path

import numpy as np
import pytest

from fortress.features import host
from fortress.features.keys import Addresses
from fortress.inference import ModelRejected, Registry
from fortress.inference.host_anomaly import HostAnomaly, new_baseline, typical_device
from fortress.inference.host_baseline import DAY_NS, DAYS, SAMPLE, Baseline, BaselineRefused
from fortress.qsecbit.unusual import UnusualDevices
from tests.need import ROOT

NAMES = [feature.name for feature in host.FEATURES]
ENTRY = Registry(ROOT / "models").load("host-anomaly")
KEY = 0x020000000001
MODEL = {"model": "m", "sha256": "s", "fingerprint": "f"}


def minute(rng: np.random.Generator, **changes: float) -> np.ndarray:
    """An ordinary minute of a device that browses, or one with other counts."""
    counts = dict.fromkeys(NAMES, 0.0)
    flows = float(rng.integers(2, 12))
    counts |= {"flows_out": flows, "peers": flows / 2, "services": 1, "targets": flows / 2}
    counts |= {"bytes_up": flows * rng.uniform(800, 1600), "pkts_up": flows * 8}
    counts |= {"bytes_down": flows * rng.uniform(5000, 9000), "pkts_down": flows * 9}
    counts |= changes
    row = np.log1p([counts[name] for name in NAMES]).astype(np.float32)
    row[NAMES.index("failed_share")] = counts["failed_share"]
    return row


def windows(row: np.ndarray, ns: int, key: int = KEY) -> host.Windows:
    words = Addresses(np.zeros(1, np.uint64), np.array([0xFFFFC0A80102], np.uint64))
    row = row.astype(np.float32)
    return host.Windows(ns, np.array([key], np.uint64), words, row[None])


def taught(days: int = DAYS, minutes: int = 40, seed: int = 3) -> HostAnomaly:
    """A model that has seen one device for some days."""
    model, rng = HostAnomaly(ENTRY), np.random.default_rng(seed)
    for day in range(days):
        for number in range(minutes):
            model.observe(windows(minute(rng), day * DAY_NS + number * host.WINDOW_NS))
    return model


@pytest.fixture(scope="module")
def week() -> HostAnomaly:
    model, rng = taught(), np.random.default_rng(9)
    model.observe(windows(minute(rng), DAYS * DAY_NS))
    return model


def test_a_session_that_may_wait_is_opened_when_a_device_is_known() -> None:
    late, early = HostAnomaly(ENTRY, late=True), HostAnomaly(ENTRY)
    rng = np.random.default_rng(5)
    for number in range(DAYS * 30):
        at = windows(minute(rng), number // 30 * DAY_NS + number % 30 * host.WINDOW_NS)
        late.observe(at)
        early.observe(at)
        assert late._session is None
    for number in range(3):
        at = windows(minute(rng, failed=500), (DAYS + number) * DAY_NS)
        one, other = late.observe(at), early.observe(at)
        assert (one.surprise[0], one.risk[0]) == (other.surprise[0], other.risk[0])
    assert late._session is not None
    assert one.ready[0]


def test_a_device_is_not_judged_before_it_is_known_for_seven_days() -> None:
    model, rng = taught(days=DAYS - 1), np.random.default_rng(4)
    said = model.observe(windows(minute(rng, failed=500, targets=500), (DAYS - 1) * DAY_NS))
    assert (said.ready[0], said.risk[0], said.surprise[0]) == (False, 0, 0)


def test_an_ordinary_minute_is_calm_and_a_scan_is_an_alarm_that_names_what_speaks(
    week: HostAnomaly,
) -> None:
    rng = np.random.default_rng(5)
    calm = week.score(windows(minute(rng), DAYS * DAY_NS))
    assert calm.ready[0]
    assert calm.risk[0] < week.threshold
    scan = {
        "flows_out": 1000,
        "failed": 990,
        "failed_share": 0.99,
        "targets": 1000,
        "services": 999,
    }
    loud = week.score(windows(minute(rng, **scan), DAYS * DAY_NS))
    assert loud.risk[0] >= week.threshold
    assert loud.surprise[0] > 5 * calm.surprise[0]
    assert set(loud.nearest[0].tolist()) & {"failed", "services", "targets", "failed_share"}


def test_what_is_asked_twice_is_answered_alike_and_beside_others_too(week: HostAnomaly) -> None:
    rng = np.random.default_rng(6)
    one = windows(minute(rng), DAYS * DAY_NS)
    both = host.Windows(
        one.start_ns,
        np.array([77, KEY], np.uint64),
        Addresses(np.zeros(2, np.uint64), np.zeros(2, np.uint64)),
        np.stack([minute(rng), one.matrix[0]]),
    )
    assert week.score(one).risk[0] == week.score(both).risk[1]
    assert week.score(both).ready.tolist() == [False, True]


def test_nan_and_infinity_do_no_harm(week: HostAnomaly) -> None:
    row = np.full(len(NAMES), np.nan, np.float32)
    row[3], row[4] = np.inf, -np.inf
    said = week.score(windows(row, DAYS * DAY_NS))
    assert np.isfinite(said.surprise).all()
    assert 0 <= said.risk[0] <= 1


def test_one_day_moves_the_centre_by_a_tenth_of_a_spread_at_most() -> None:
    model, rng = taught(), np.random.default_rng(9)
    state = model.baseline._state
    slot = int(model.baseline.table.find(np.array([KEY], np.uint64))[0])
    model.observe(windows(minute(rng), DAYS * DAY_NS))
    before, spread = state["centre"][slot].copy(), state["spread"][slot].copy()
    for number in range(1400):  # a whole day of three times as much, below any alarm
        row = minute(rng) + np.log(3) * np.array(host.VOLUMES, np.float32)
        model.observe(windows(row, DAYS * DAY_NS + number * host.WINDOW_NS))
    model.observe(windows(minute(rng), (DAYS + 1) * DAY_NS))
    moved = np.abs(state["centre"][slot] - before)
    assert (moved <= 0.1 * spread + 1e-6).all()
    assert moved.max() > 0


def test_minutes_that_are_alarms_teach_nothing(week: HostAnomaly) -> None:
    model, rng = taught(), np.random.default_rng(9)
    model.observe(windows(minute(rng), DAYS * DAY_NS))
    scan = {
        "flows_out": 1000,
        "failed": 990,
        "failed_share": 0.99,
        "targets": 1000,
        "services": 999,
    }
    first = model.observe(windows(minute(rng, **scan), DAYS * DAY_NS + host.WINDOW_NS)).risk[0]
    for number in range(2, 300):
        said = model.observe(windows(minute(rng, **scan), DAYS * DAY_NS + number * host.WINDOW_NS))
    assert said.risk[0] >= model.threshold
    assert said.risk[0] == pytest.approx(first, abs=0.05)


def test_who_sends_a_fifth_more_each_day_is_seen_within_three_weeks() -> None:
    model, rng = taught(), np.random.default_rng(9)
    volumes = np.array(host.VOLUMES, np.float32)
    for day in range(DAYS, DAYS + 21):
        grown = np.log(1.2) * (day - DAYS) * volumes
        for number in range(40):
            said = model.observe(
                windows(minute(rng) + grown, day * DAY_NS + number * host.WINDOW_NS)
            )
        if said.moved[0]:
            break
    assert said.moved[0]
    assert said.risk[0] >= model.threshold
    assert said.nearest[0][0] in ("bytes_up", "bytes_down", "pkts_up", "pkts_down")


def test_memory_is_bounded_whatever_the_number_of_devices() -> None:
    typical = typical_device(ENTRY.recipe.own, len(NAMES), ENTRY)
    baseline = Baseline(len(NAMES), typical, capacity=16)
    before, rng = baseline.memory_bytes, np.random.default_rng(1)
    for day in range(3):
        for key in range(1, 60):
            keys = np.array([key], np.uint64)
            good, calm = np.ones(1, np.bool_), np.zeros(1, np.float32)
            for _ in range(2):
                baseline.learn(
                    day * DAY_NS, keys, minute(rng)[None], calm, good, lambda rows: rows[:, 0]
                )
    assert baseline.memory_bytes == before
    assert len(baseline.table) <= 16
    full = new_baseline(ENTRY)
    assert full.memory_bytes < 16 << 20
    assert full._state["sample"].shape[2] == SAMPLE


def test_what_is_saved_is_what_is_loaded(week: HostAnomaly, tmp_path: Path) -> None:
    path = tmp_path / "baseline"
    week.baseline.copy(week.identity).write(path)
    again = HostAnomaly(ENTRY)
    again.baseline.load(path, again.identity)
    one = windows(minute(np.random.default_rng(8)), DAYS * DAY_NS)
    assert again.score(one).risk[0] == week.score(one).risk[0]
    assert again.baseline.days_of(one.keys)[0] == week.baseline.days_of(one.keys)[0] == DAYS
    assert [entry.name for entry in tmp_path.iterdir()] == ["baseline"]


def test_a_stored_baseline_of_another_model_or_version_is_refused(
    week: HostAnomaly, tmp_path: Path
) -> None:
    path = tmp_path / "baseline"
    week.baseline.copy(week.identity).write(path)
    fresh = new_baseline(ENTRY)
    with pytest.raises(BaselineRefused, match=r"sha256 is .* learning anew"):
        fresh.load(path, week.identity | {"sha256": "0" * 64})
    assert len(fresh.table) == 0
    with pytest.raises(BaselineRefused, match="there is none yet"):
        fresh.load(tmp_path / "nothing", week.identity)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_off_baseline_is_refused(week: HostAnomaly, tmp_path: Path, share: float) -> None:
    path = tmp_path / "baseline"
    week.baseline.copy(week.identity).write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BaselineRefused, match="damaged"):
        new_baseline(ENTRY).load(path, week.identity)


def test_a_pickle_in_a_stored_baseline_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "baseline"
    with path.open("wb") as file:
        np.savez(file, head=np.array([{"format": 1}], dtype=object))
    with pytest.raises(BaselineRefused, match="damaged"):
        new_baseline(ENTRY).load(path, MODEL)


def test_a_full_disk_leaves_the_stored_baseline_as_it_was(
    week: HostAnomaly, tmp_path: Path
) -> None:
    path = tmp_path / "baseline"
    week.baseline.copy(week.identity).write(path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="File name too long"):
        week.baseline.copy(week.identity).write(tmp_path / ("x" * 300))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["baseline"]


def test_a_device_that_is_forgotten_is_learnt_anew() -> None:
    model, rng = taught(), np.random.default_rng(9)
    model.observe(windows(minute(rng), DAYS * DAY_NS))
    key = np.array([KEY], np.uint64)
    assert model.score(windows(minute(rng), DAYS * DAY_NS)).ready[0]
    model.baseline.forget(key)
    assert not model.score(windows(minute(rng), DAYS * DAY_NS)).ready[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [("spread", []), ("spread", "x"), ("surprise", [1.0, 1.0]), ("log10_share", [0.0, 1.0])],
)
def test_a_recipe_without_a_typical_device_is_refused(name: str, value: object) -> None:
    with pytest.raises(ModelRejected, match="own"):
        typical_device({**ENTRY.recipe.own, name: value}, len(NAMES), ENTRY)


def test_a_finding_names_the_device_and_what_it_never_did() -> None:
    model = taught()
    seen = UnusualDevices(model, 5)
    rng = np.random.default_rng(9)
    model.observe(windows(minute(rng), DAYS * DAY_NS))
    scan = {
        "flows_out": 1000,
        "failed": 990,
        "failed_share": 0.99,
        "targets": 1000,
        "services": 999,
    }
    (found,) = seen._judged(windows(minute(rng, **scan), DAYS * DAY_NS), DAYS * DAY_NS)
    assert found.host == "192.168.1.2"
    assert found.src_mac == "02:00:00:00:00:01"
    assert found.detector == "unusual_device"
    assert "unlike its last seven days" in found.reason
    assert found.risk >= 0.2
    assert seen._judged(windows(minute(rng), DAYS * DAY_NS), DAYS * DAY_NS) == []
