"""What is learnt of this network's devices is kept, and known again at the next start."""

import stat
from pathlib import Path

import numpy as np
import pytest

from fortress.config import Settings
from fortress.errors import OutputError
from fortress.features import host
from fortress.services.agent.models import DEVICES, LEARNT, SAVE_NS, Models
from fortress.services.agent.own_secret import FILE, own_secret
from fortress.services.agent.slots import DeviceSlot
from tests.net.guarded import until

DAY_NS = 86_400_000_000_000
BEGIN_NS = 1_700_006_400_000_000_000


def slot_of(models: Models) -> DeviceSlot:
    slot = models._models[DEVICES].slot
    assert isinstance(slot, DeviceSlot)
    return slot


def learn(models: Models, days: int = 9) -> None:
    """Days of one device whose minutes are alike."""
    rng = np.random.default_rng(2)
    for day in range(days):
        for minute in range(30):
            matrix = rng.normal(1, 0.1, (1, len(host.FEATURES))).astype(np.float32)
            slot_of(models)._model.baseline.learn(
                BEGIN_NS + day * DAY_NS + minute * 60_000_000_000,
                np.array([7], np.uint64),
                matrix,
                np.zeros(1, np.float32),
                np.ones(1, np.bool_),
                slot_of(models)._model.measure,
            )


def days(models: Models) -> int:
    return int(slot_of(models)._model.baseline.days_of(np.array([7], np.uint64))[0])


def test_what_was_learnt_is_known_again_after_a_restart(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    models = Models(settings, learns=True)
    learn(models)
    assert (known := days(models)) > 1
    assert models.close(1) == []
    again = Models(settings, learns=True)
    assert days(again) == known
    assert again.look(BEGIN_NS) == []
    assert days(Models(settings)) == 0, "a replay knows nothing of this network"


def test_it_is_kept_every_hour_of_capture_time(tmp_path: Path) -> None:
    models = Models(Settings(state_dir=tmp_path), learns=True)
    learn(models)
    kept = tmp_path / LEARNT
    for ns in (0, SAVE_NS - 1, SAVE_NS + 1):
        assert not kept.exists()
        assert models.look(BEGIN_NS + ns) == []
    until(kept.exists)


def test_a_damaged_memory_is_told_and_learning_begins_anew(tmp_path: Path) -> None:
    (tmp_path / LEARNT).write_bytes(b"PK no archive")
    models = Models(Settings(state_dir=tmp_path), learns=True)
    (notice,) = models.look(BEGIN_NS)
    assert "learnt anew" in notice.message
    assert models.look(BEGIN_NS + 1) == []


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    models = Models(Settings(state_dir=tmp_path / "gone"), learns=True)
    (notice,) = models.close(BEGIN_NS)
    assert "not kept: No such file" in notice.message


def test_the_secret_of_an_installation_stays_and_is_its_own(tmp_path: Path) -> None:
    secret = own_secret(tmp_path / "a")
    assert own_secret(tmp_path / "a") == secret != own_secret(tmp_path / "b")
    assert stat.S_IMODE((tmp_path / "a" / FILE).stat().st_mode) == 0o600
    (tmp_path / "a" / FILE).write_bytes(b"half")
    assert own_secret(tmp_path / "a") != secret
    with pytest.raises(OutputError, match=FILE):
        own_secret(tmp_path / "a" / FILE)
