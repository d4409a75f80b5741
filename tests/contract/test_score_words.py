"""The score has the same names, scale and direction in code, events, schema, store and docs."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from fortress.cli import chart, summary
from fortress.events import ALERT_RISK, EVE_SEVERITY, event
from fortress.qsecbit.score import AMBER, RED, status_after
from fortress.store import Store
from fortress.verdict import DIVISIONS, Action, Layer, Score, Share, Shares, Source, Status

SCORE = Score(
    1000,
    0.75,
    Status.RED,
    0.9,
    Shares(
        by_host=(Share("a", 0.5), Share("b", 0.25)),
        by_layer=(Share("L4", 0.75),),
        by_source=(Share("rule", 0.75),),
        by_finding=(Share("x a", 0.75),),
    ),
)


@pytest.fixture(scope="module")
def schema(root: Path) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    text = (root / "docs" / "events.schema.json").read_text(encoding="utf-8")
    definitions: dict[str, dict[str, dict[str, dict[str, object]]]] = json.loads(text)["$defs"]
    return definitions


def test_an_event_has_the_fields_of_the_score_and_no_others(schema) -> None:  # type: ignore[no-untyped-def]
    names = [field.name for field in fields(Score) if field.name != "time_ns"]
    told = json.loads(event(SCORE).line)["score"]
    body = schema["score"]["properties"]["score"]["properties"]
    assert list(told) == list(body) == names
    assert list(told["shares"]) == list(DIVISIONS) == list(body["shares"]["properties"])


def test_words_in_events_are_those_of_the_code(schema) -> None:  # type: ignore[no-untyped-def]
    alert = schema["alert"]["properties"]["alert"]["properties"]
    verdict = schema["verdict"]["properties"]["verdict"]["properties"]
    score = schema["score"]["properties"]["score"]["properties"]
    assert alert["layer"]["enum"] == [layer.value for layer in Layer]
    assert alert["source"]["enum"] == [source.value for source in Source]
    assert verdict["action"]["enum"] == [action.name for action in Action]
    assert score["status"]["enum"] == [status.value for status in Status]


def test_the_store_gives_back_the_score_that_the_event_tells(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path}/x.sqlite") as store:
        run = store.begin_run([], "0")
        store.write(run, [SCORE])
        (stored,) = store.scores(run)
    assert event(stored).line == event(SCORE).line


def test_zero_is_calm_one_is_under_attack_and_the_thresholds_are_one() -> None:
    calm, attack = status_after(Status.GREEN, 0.0), status_after(Status.GREEN, 1.0)
    assert (calm, attack) == (Status.GREEN, Status.RED)
    assert dict(EVE_SEVERITY) == {RED: 1, AMBER: 2}
    assert summary.colour_of(RED) == chart.COLOURS[Status.RED]
    assert summary.colour_of(AMBER) == chart.COLOURS[Status.AMBER]
    assert summary.colour_of(AMBER - 0.01) == chart.COLOURS[Status.GREEN]


def test_shares_add_up_to_the_value() -> None:
    for name in DIVISIONS:
        assert sum(share.value for share in getattr(SCORE, name)) == pytest.approx(SCORE.value)


def test_the_docs_name_the_same_words_and_figures(root: Path) -> None:
    text = (root / "docs" / "events.md").read_text(encoding="utf-8")
    for status in Status:
        assert f"`{status.value}`" in text
    for action in Action:
        assert f"`{action.name}`" in text
    assert f"{RED:.2f}" in text
    assert f"{AMBER:.2f}" in text
    assert f"risk ≥ {ALERT_RISK}" in text
