"""Models by the command line: keys, publishing, promoting, and what a run does with them."""

import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import fortress
from tests.registry.world import NAME, draft, shipped_as

HELD_OUT: dict[str, Any] = {
    "data_sha256": "d" * 64,
    "main": "pr_auc",
    "higher": {"pr_auc": [0.8, 0.7, 0.9], "recall": [0.5, 0.4, 0.6]},
    "lower": {"false_positive_rate": [0.001, 0.0005, 0.002]},
}


@pytest.fixture
def attack_day(samples: Path) -> Path:
    return samples / "attack_day.pcap.zst"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with a pair of keys."""
    folder = tmp_path / "state"
    assert fortress("model", "keygen", state=folder).code == 0
    return folder


def figures(**changed: list[float]) -> dict[str, Any]:
    """Metrics of a recipe in which some figures are others."""
    higher = {name: changed.get(name, value) for name, value in HELD_OUT["higher"].items()}
    lower = {name: changed.get(name, value) for name, value in HELD_OUT["lower"].items()}
    return {"held_out": {**HELD_OUT, "higher": higher, "lower": lower}}


def publish(state: Path, folder: Path, *more: str) -> Any:
    return fortress("model", "publish", folder, *more, "--json", state=state)


def promote(state: Path, version: str) -> Any:
    return fortress("model", "promote", NAME, version, "--without-agent", state=state)


def test_keys_are_made_once_and_kept_secret(state: Path) -> None:
    assert stat.S_IMODE((state / "model.key").stat().st_mode) == 0o600
    key = (state / "model.key").read_text()
    again = fortress("model", "keygen", state=state)
    assert (again.code, "never written over" in again.err) == (1, True)
    assert (state / "model.key").read_text() == key
    (told,) = fortress(
        "model", "keygen", "--out", state / "other.key", "--json", state=state
    ).events
    assert set(told) == {"key", "public", "id"}
    assert key.split()[1] not in str(told)


def test_models_are_listed_with_their_cards(tmp_path: Path) -> None:
    listings = fortress("model", "list", "--json", state=tmp_path).events
    assert NAME in {listing["name"] for listing in listings}
    assert {(one["problem"], one["current"], one["publisher"]) for one in listings} == {
        ("", True, "shipped")
    }
    (card,) = fortress("model", "card", "--json", state=tmp_path).events
    assert card["card"].startswith("#")
    assert fortress("model", "card", "none", state=tmp_path).code == 1
    verified = fortress("model", "verify", "--json", state=tmp_path)
    assert (verified.code, {one["problem"] for one in verified.events}) == (0, {""})


def test_a_shipped_model_is_imported_with_the_installations_own_key(state: Path) -> None:
    (told,) = publish(state, Path(NAME)).events
    version = told["version"]
    listed = fortress("model", "list", "--json", state=state).events
    mine = [one for one in listed if one["publisher"] == told["key"]]
    assert [(one["name"], one["version"], one["current"]) for one in mine] == [
        (NAME, version, False)
    ]
    assert promote(state, version).code == 0
    assert fortress("model", "verify", NAME, version, state=state).code == 0


def test_publishing_without_a_key_says_how_to_get_one(tmp_path: Path) -> None:
    made = draft(tmp_path / NAME, "7.0.0")
    done = publish(tmp_path / "state", made, "--force", "a test")
    assert (done.code, "fortress model keygen" in done.err) == (2, True)


def test_a_model_in_use_is_used_and_rolled_back(
    state: Path, tmp_path: Path, attack_day: Path
) -> None:
    done = publish(state, draft(tmp_path / "new" / NAME, "7.0.0"), "--force", "for a test")
    assert done.code == 0, done.err
    before = fortress("replay", attack_day, "--json", state=state)
    assert '"source":"model"' in before.out
    assert promote(state, "7.0.0").code == 0
    after = fortress("replay", attack_day, "--json", state=state)
    assert (after.code, after.of("alert") + after.of("score")) != (0, [])
    assert after.of("score") != before.of("score")
    back = fortress("model", "rollback", NAME, "--without-agent", state=state)
    assert (back.code, back.out) == (0, f"{NAME} shipped is in use\n")
    assert fortress("model", "rollback", NAME, "--without-agent", state=state).code == 1


def test_a_version_that_is_not_there_is_not_promoted(state: Path) -> None:
    done = promote(state, "6.6.6")
    assert (done.code, "no such version" in done.err) == (1, True)
    assert not (state / "model_state").exists()


def test_without_an_agent_promoting_says_so(state: Path) -> None:
    done = fortress("model", "promote", NAME, "1.0.0", state=state)
    assert (done.code, "--without-agent" in done.err) == (1, True)


def test_what_does_worse_is_refused_unless_a_reason_is_given(state: Path, tmp_path: Path) -> None:
    good = draft(tmp_path / "a" / NAME, "7.0.0", metrics=figures())
    first = publish(state, good)
    assert (first.code, "does worse than" in first.err) == (1, True), "judged on other data"
    assert publish(state, good, "--force", "the first of its kind").code == 0
    assert promote(state, "7.0.0").code == 0

    same = draft(tmp_path / "b" / NAME, "7.1.0", seed=2, metrics=figures(recall=[0.45, 0.3, 0.5]))
    (told,) = publish(state, same).events
    assert (told["worse"], told["than"]) == ([], "7.0.0")
    worse = draft(tmp_path / "c" / NAME, "7.2.0", seed=3, metrics=figures(recall=[0.3, 0.2, 0.4]))
    refused = publish(state, worse)
    assert refused.code == 1
    assert "recall is 0.3, 7.0.0 has 0.5, beyond its interval 0.4 to 0.6" in refused.err
    (told,) = publish(state, worse, "--force", "fewer alarms matter more").events
    assert len(told["worse"]) == 1
    (row,) = [
        one
        for one in fortress("model", "list", "--json", state=state).events
        if one["version"] == "7.2.0"
    ]
    assert row["forced"] == "fewer alarms matter more"
    (state / "models" / NAME / "7.2.0" / "card.md").write_text("# Perfect")
    assert fortress("model", "verify", NAME, "7.2.0", state=state).code == 1


def test_two_versions_are_told_apart(state: Path, tmp_path: Path) -> None:
    publish(state, draft(tmp_path / "a" / NAME, "7.0.0"), "--force", "a test")
    rows = fortress("model", "diff", NAME, "shipped", "7.0.0", "--json", state=state).events
    told = {row["key"]: (row["a"], row["b"]) for row in rows}
    assert told["version"][1] == "7.0.0"
    assert told["thresholds.risk"][1] == 0.5
    same = fortress("model", "diff", NAME, "7.0.0", "7.0.0", state=state)
    assert same.out == "no differences\n"


def test_an_altered_model_is_a_notice_and_the_one_before_it_stays(
    state: Path, tmp_path: Path, attack_day: Path
) -> None:
    publish(state, draft(tmp_path / "a" / NAME, "7.0.0"), "--force", "a test")
    promote(state, "7.0.0")
    (onnx,) = (state / "models" / NAME / "7.0.0").glob("*.onnx")
    onnx.write_bytes(onnx.read_bytes() + b"x")
    listed = fortress("model", "list", state=state)
    assert (listed.code, "sha256" in listed.out) == (1, True)
    done = fortress("replay", attack_day, "--json", state=state)
    notices = [one["notice"] for one in done.of("notice") if one["notice"]["kind"] == "model"]
    assert (done.code, len(notices), notices[0]["reason"]) == (0, 1, "sha256")
    shipped = fortress("replay", attack_day, "--json", state=tmp_path / "other")
    assert done.of("alert") == shipped.of("alert"), "the model that ships was used"
    shutil.rmtree(state / "models")
    assert fortress("replay", attack_day, "--json", state=state).code == 0


def test_a_publisher_who_is_not_trusted_any_more_is_refused(state: Path, tmp_path: Path) -> None:
    publish(state, shipped_as(tmp_path, "7.0.0"), "--force", "a test")
    (state / "theirs.pub").write_text(f"fortress-ed25519-public {'5' * 64}\n")
    theirs = {"FORTRESS_MODELS__TRUSTED": '["theirs.pub"]'}
    refused = fortress("model", "verify", NAME, "7.0.0", state=state, env=theirs)
    assert (refused.code, "is not trusted here" in refused.out) == (1, True)
    missing = {"FORTRESS_MODELS__TRUSTED": '["nobody.pub"]'}
    wrong = fortress("model", "list", state=state, env=missing)
    assert (wrong.code, "nobody.pub" in wrong.err) == (2, True)


def test_folders_and_keys_lie_where_the_configuration_says(state: Path, tmp_path: Path) -> None:
    shutil.move(state / "model.key", tmp_path / "secret.key")
    shutil.move(state / "model.pub", tmp_path / "secret.pub")
    env = {
        "FORTRESS_MODELS__FOLDER": str(tmp_path / "shelf"),
        "FORTRESS_MODELS__STATE": str(tmp_path / "chosen"),
        "FORTRESS_MODELS__KEY": str(tmp_path / "secret.key"),
        "FORTRESS_MODELS__KEEP": "1",
    }
    for number in (1, 2, 3):
        made = draft(tmp_path / f"d{number}" / NAME, f"7.{number}.0", seed=number)
        done = fortress("model", "publish", made, "--force", "a test", state=state, env=env)
        assert done.code == 0, done.err
    versions = {path.name for path in (tmp_path / "shelf" / NAME).glob("[0-9]*")}
    assert versions == {"7.3.0"}, "one is kept beside those in use"
    promoted = fortress("model", "promote", NAME, "7.3.0", "--without-agent", state=state, env=env)
    assert promoted.code == 0
    assert (tmp_path / "chosen" / NAME).read_text().splitlines() == ["7.3.0", "shipped"]


@pytest.mark.parametrize(
    ("model", "detector"), [("FLOW_CLASSIFIER", "flow_model"), ("THREAT_LSTM", "stage_model")]
)
def test_the_model_may_be_left_out_or_only_recorded(
    attack_day: Path, tmp_path: Path, model: str, detector: str
) -> None:
    alone = {"FORTRESS_MODELS__FLOW_CLASSIFIER__MODE": "off"} | {
        "FORTRESS_MODELS__THREAT_LSTM__MODE": "off",
        "FORTRESS_MODELS__HOST_ANOMALY__MODE": "off",
    }
    runs = [
        fortress("replay", attack_day, "--json", state=tmp_path, env=alone | {key: mode})
        for key in (f"FORTRESS_MODELS__{model}__MODE",)
        for mode in ("off", "shadow", "on")
    ]
    rules, silent, both = runs
    assert detector not in rules.out
    assert f'"detector":"{detector}"' in both.out
    assert both.of("score") != rules.of("score"), "it has its share in the score"
    recorded = [one for one in silent.of("notice") if one["notice"]["kind"] == "shadow"]
    assert {one["notice"]["detector"] for one in recorded} == {detector}
    others = [event for event in silent.events if event not in recorded]
    assert without_stats(others) == without_stats(rules.events), "and has no effect at all"


def without_stats(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event_type"] != "stats"]
