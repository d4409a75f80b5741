"""Another version in use while a capture is replayed: no batch is dropped, nothing else changes."""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from typing import Any, Literal

import numpy as np
import pytest

from fortress.config import Settings
from fortress.config.settings import ModelUse
from fortress.events import Event
from fortress.inference import ModelRejected
from fortress.inference.signing import make_keys, read_private
from fortress.inference.state import write_chosen
from fortress.qsecbit import PipelineSettings
from fortress.services.agent import models
from fortress.services.agent.models import LOOK_NS, Models
from fortress.services.agent.replay import Moment, Replay, run
from fortress.services.agent.slots import FlowSlot
from fortress.sinks import Outputs
from fortress.verdict import Notice
from tests.need import ROOT
from tests.registry.world import NAME, draft, shipped_as, sign_anyway

CAPTURE = ROOT / "samples" / "password_guess_ssh.pcap.zst"


@dataclass
class Kept:
    """A sink that keeps every event."""

    name: str = "kept"
    events: list[Event] = field(default_factory=list)

    def apply(self, event: Event) -> None:
        self.events.append(event)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def notices(self, kind: str) -> list[Notice]:
        told = (event.value for event in self.events)
        return [one for one in told if isinstance(one, Notice) and one.kind == kind]

    def lines(self) -> list[bytes]:
        """Every line but the notices about models and the seconds that it took."""
        others = [
            e for e in self.events if not (isinstance(e.value, Notice) and e.value.kind == "model")
        ]
        return [
            re.sub(rb'"(seconds|packets_per_second|notices)":[\d.]+', b"", e.line) for e in others
        ]

    @property
    def stats(self) -> dict[str, Any]:
        last = self.events[-1]
        assert last.kind == "stats"
        return dict(json.loads(last.line)["stats"])


@pytest.fixture(autouse=True)
def _every_tick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay looks at which version is in use some ten times a second; here at every tick."""
    monkeypatch.setattr(models, "POLL_S", 0.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an installation with keys, a version like the shipped one, and another one."""
    make_keys(tmp_path / "state" / "model.key")
    made = Settings(state_dir=tmp_path / "state")
    registry, key = Models(made)._registry, read_private(made.model_key_path())
    registry.add(shipped_as(tmp_path / "same", "9.0.0"), key)
    registry.add(draft(tmp_path / "other" / NAME, "9.1.0"), key)
    return made


def replay(settings: Settings, promoted: dict[int, str]) -> Kept:
    """A replay during which versions are put in use after so many ticks."""
    kept, ticks = Kept(), 0

    def watch(_: Moment) -> None:
        nonlocal ticks
        ticks += 1
        if ticks in promoted:
            write_chosen(settings.model_state_path(), NAME, promoted[ticks])

    outputs = Outputs([kept], "monitor", lambda error: pytest.fail(str(error)))
    run(
        Replay((str(CAPTURE),), batch_packets=64, flow_lines=True), settings, outputs, Flag(), watch
    )
    return kept


def test_a_reload_drops_no_batch_and_changes_nothing_else(settings: Settings) -> None:
    plain = replay(settings, {})
    often = replay(settings, {tick: ("9.0.0", "shipped")[tick % 2] for tick in range(3, 40)})
    assert len(often.notices("model")) > 5, "it was taken up again and again"
    assert often.lines() == plain.lines(), "every flow, finding and score, to the byte"
    assert often.stats["packets"] == plain.stats["packets"] > 0
    assert often.stats["rows_lost"] == 0


def test_another_model_has_the_say_from_the_next_batch_on(settings: Settings) -> None:
    other = replay(settings, {2: "9.1.0"})
    (notice,) = other.notices("model")
    assert notice.facts["version"] == "9.1.0"
    plain = replay(dataclasses.replace(settings, state_dir=settings.state_dir / "x"), {})
    assert other.lines() != plain.lines()
    assert [e.line for e in other.events if e.kind == "flow"] == [
        e.line for e in plain.events if e.kind == "flow"
    ]


def test_a_refused_version_is_told_and_the_one_before_goes_on(
    settings: Settings, tmp_path: Path
) -> None:
    key = read_private(settings.model_key_path())
    odd = draft(tmp_path / "odd" / NAME, "9.2.0", own={"kinds": ["one"]})
    registry = Models(settings)._registry
    sign_anyway(registry, odd, "9.2.0", key)
    sign_anyway(registry, draft(tmp_path / "bad" / NAME, "9.3.0"), "9.3.0", key)
    (registry.root / NAME / "9.3.0" / f"{NAME}.onnx").write_bytes(b"x")
    plain = replay(settings, {})
    told = replay(settings, {3: "9.2.0", 6: "9.3.0", 9: "none-such"})
    assert [one.facts["reason"] for one in told.notices("model")] == ["recipe", "sha256", "missing"]
    assert told.lines() == plain.lines()


def test_a_version_in_use_that_is_refused_at_the_start_is_told_once(settings: Settings) -> None:
    write_chosen(settings.model_state_path(), NAME, "none-such")
    models = Models(settings)
    (notice,) = models.look(7)
    assert (notice.time_ns, notice.facts["reason"]) == (7, "missing")
    assert models.look(8) == []
    assert models.rows()[0].publisher == "shipped"


def test_a_version_that_cannot_be_opened_is_never_promoted(
    settings: Settings, tmp_path: Path
) -> None:
    models = Models(settings)
    odd = draft(tmp_path / "odd" / NAME, "9.2.0", own={"kinds": ["one"]})
    sign_anyway(models._registry, odd, "9.2.0", read_private(settings.model_key_path()))
    with pytest.raises(ModelRejected, match="kinds"):
        models.promote(NAME, "9.2.0")
    assert not settings.model_state_path().exists()
    assert models.promote(NAME, "9.0.0").done
    assert models.rollback(NAME).message.endswith("the model that ships is in use")


def test_drift_is_told_once_until_it_is_over(settings: Settings) -> None:
    models = Models(settings)
    slot = models._models[NAME].slot
    assert isinstance(slot, FlowSlot)
    rng = np.random.default_rng(1)
    recipe = slot.entry.recipe
    strange = rng.normal(1e6, 1, (3000, len(recipe.features))).astype(np.float32)
    usual = np.empty((60_000, len(recipe.features)), np.float32)
    for column, name in enumerate(recipe.features):
        reference = recipe.input_references[name]
        edges = np.array([reference.edges[0] - 1, *reference.edges])
        shares = np.array(reference.shares)
        usual[:, column] = rng.choice(edges, len(usual), p=shares / shares.sum())
    score = recipe.score_reference
    assert score is not None
    shares = np.array(score.shares)
    low = np.array([0.0, *score.edges])
    risks = rng.choice(low, len(usual), p=shares / shares.sum()).astype(np.float32)

    assert models.look(LOOK_NS) == [], "nothing was seen"
    slot.monitor.observe(strange, np.ones(3000, np.float32))
    (notice,) = models.look(2 * LOOK_NS)
    assert notice.kind == "drift"
    assert notice.facts["index"] > 0.25
    slot.monitor.observe(strange, np.ones(3000, np.float32))
    assert models.look(3 * LOOK_NS) == []
    assert models.rows()[0].drift_inputs > 0.25  # type: ignore[operator]
    for _ in range(5):
        slot.monitor.observe(usual, risks)
    (over,) = models.look(4 * LOOK_NS)
    assert "again what it was made for" in over.message


def test_a_lower_threshold_of_drift_is_an_earlier_notice(settings: Settings) -> None:
    for threshold, told in ((0.1, 1), (90, 0)):
        tuned = dataclasses.replace(settings.models, drift=threshold)
        models = Models(dataclasses.replace(settings, models=tuned))
        slot = models._models[NAME].slot
        assert slot is not None
        slot.monitor.observe(
            np.full((2000, len(slot.entry.recipe.features)), 9, np.float32),
            np.zeros(2000, np.float32),
        )
        assert len(models.look(LOOK_NS)) == told


@pytest.mark.parametrize(
    ("mode", "learns", "runs"),
    [("shadow", False, False), ("on", False, True), ("shadow", True, True), ("off", True, False)],
)
def test_devices_are_left_out_of_a_replay_that_they_could_not_touch(
    tmp_path: Path, mode: Literal["on", "shadow", "off"], learns: bool, runs: bool
) -> None:
    made = Settings(state_dir=tmp_path)
    used = dataclasses.replace(made.models, host_anomaly=ModelUse(mode=mode))
    loaded = Models(dataclasses.replace(made, models=used), learns=learns)
    pipeline = loaded.pipeline(PipelineSettings())
    assert ("resp_bytes" in pipeline.reads_interval_columns) == runs
    version = next(row.version for row in loaded.rows() if row.name == "host-anomaly")
    assert bool(version) == (mode != "off"), "it is checked all the same"
