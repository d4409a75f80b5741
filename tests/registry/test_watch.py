"""The look-out: another version in use is handed out once, a refused one told once."""

import os
from pathlib import Path

import pytest

from fortress.inference import ModelEntry, ModelRejected, Registry
from fortress.inference.registry import SHIPPED
from fortress.inference.state import step_back, write_chosen
from tests.registry.world import NAME, draft, publish, registry_at, sign_anyway


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry with 1.0.1, in use, and 1.0.2."""
    registry = registry_at(tmp_path)
    publish(registry, tmp_path, "1.0.1", seed=1)
    publish(registry, tmp_path, "1.0.2", seed=2)
    write_chosen(tmp_path / "state", NAME, "1.0.1")
    return registry


def version(found: ModelEntry | ModelRejected | None) -> str:
    assert isinstance(found, ModelEntry)
    return found.recipe.version


def test_a_promoted_version_is_handed_out_once(registry: Registry, tmp_path: Path) -> None:
    watch = registry.watch(NAME, registry.load(NAME))
    assert watch.poll() is None
    write_chosen(tmp_path / "state", NAME, "1.0.2")
    assert version(watch.poll()) == "1.0.2"
    assert watch.poll() is None
    step_back(tmp_path / "state", NAME)
    assert version(watch.poll()) == "1.0.1"
    write_chosen(tmp_path / "state", NAME, SHIPPED)
    assert version(watch.poll()) == registry.load(NAME, SHIPPED).recipe.version
    (tmp_path / "state" / NAME).unlink()
    assert watch.poll() is None, "without a file it is the shipped one too"


def test_a_watch_that_uses_nothing_yet_hands_out_what_is_in_use(registry: Registry) -> None:
    watch = registry.watch(NAME)
    assert version(watch.poll()) == "1.0.1"
    assert watch.poll() is None


def test_what_was_promoted_before_the_first_look_is_not_missed(
    registry: Registry, tmp_path: Path
) -> None:
    using = registry.load(NAME)
    write_chosen(tmp_path / "state", NAME, "1.0.2")
    assert version(registry.watch(NAME, using).poll()) == "1.0.2"


def test_a_refused_version_is_told_once_a_change(registry: Registry, tmp_path: Path) -> None:
    made = draft(tmp_path / "odd" / NAME, "1.0.3", seed=3)
    (made / f"{NAME}.onnx").write_bytes(b"no model")
    sign_anyway(registry, made, "1.0.3")
    watch = registry.watch(NAME, registry.load(NAME))
    write_chosen(tmp_path / "state", NAME, "1.0.3")
    refused = watch.poll()
    assert isinstance(refused, ModelRejected)
    assert [watch.poll() for _ in range(3)] == [None] * 3
    step_back(tmp_path / "state", NAME)
    assert watch.poll() is None, "it is what is used still"
    write_chosen(tmp_path / "state", NAME, "1.0.3")
    assert isinstance(watch.poll(), ModelRejected)


def test_a_change_is_seen_though_the_clock_goes_back(registry: Registry, tmp_path: Path) -> None:
    state = tmp_path / "state" / NAME
    watch = registry.watch(NAME, registry.load(NAME))
    watch.poll()
    for day, wanted in ((5, "1.0.2"), (3, "1.0.1"), (1, "1.0.2")):
        write_chosen(tmp_path / "state", NAME, wanted)
        os.utime(state, (day, day))
        assert version(watch.poll()) == wanted
        assert watch.poll() is None


def test_a_look_costs_a_stat_and_reads_nothing(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = registry.watch(NAME, registry.load(NAME))
    watch.poll()
    monkeypatch.setattr("os.open", lambda *_: pytest.fail("something was opened"))
    for _ in range(100):
        assert watch.poll() is None
