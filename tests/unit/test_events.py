"""Events have one form: keys in order, four decimals, nothing that has no value."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.events import FlowLines, eve_severity, event, timestamp
from fortress.sinks.checks import examples
from fortress.verdict import Act, Action, Finding, Notice, Score, Share, Shares, Status

FINDING = next(value for value in examples(1) if isinstance(value, Finding))


@pytest.fixture(scope="module")
def schema(root: Path) -> jsonschema.Draft202012Validator:
    text = (root / "docs" / "events.schema.json").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


def fields(value: object) -> dict[str, object]:
    line = event(value).line  # type: ignore[arg-type]
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found: dict[str, object] = json.loads(line)
    return found


def test_every_kind_of_event_obeys_the_published_schema(
    schema: jsonschema.Draft202012Validator,
) -> None:
    act = Act(0, "done", Action.BLOCK, "192.0.2.1", "addr", 1, "why", "", 2, (1101,))
    for value in [*examples(1), replace(FINDING, severity=0.1), act, replace(act, reason="x")]:
        schema.validate(fields(value))


def test_a_finding_below_the_alarm_risk_is_a_notice() -> None:
    assert fields(replace(FINDING, severity=0.4, confidence=1.0))["event_type"] == "alert"
    lesser = fields(replace(FINDING, severity=0.39, confidence=1.0))
    assert lesser["event_type"] == "notice"
    assert lesser["notice"]["kind"] == "finding"  # type: ignore[index]


def test_keys_without_a_value_are_absent_and_zero_is_a_value() -> None:
    told = fields(replace(FINDING, src_port=0, dest_port=None, src_ip="", flow_id=None))
    assert told["src_port"] == 0
    assert not {"dest_port", "src_ip", "flow_id", "community_id"} & told.keys()


def test_keys_have_the_order_of_eve() -> None:
    whole = replace(
        FINDING, flow_id=1, in_iface="0", src_ip="a", src_port=1, dest_ip="b", dest_port=2,
        src_mac="c", proto="TCP", community_id="1:x",
    )  # fmt: skip
    assert list(fields(whole)) == [
        "timestamp",
        "flow_id",
        "in_iface",
        "event_type",
        "src_ip",
        "src_port",
        "dest_ip",
        "dest_port",
        "src_mac",
        "proto",
        "community_id",
        "alert",
    ]


def test_numbers_of_numpy_are_plain_and_rounded() -> None:
    evidence = {"count": np.int64(3), "share": np.float32(0.123456), "none": float("nan")}
    told = fields(replace(FINDING, evidence=evidence))
    assert told["alert"]["evidence"] == {"count": 3, "share": 0.1235}  # type: ignore[index]


def test_minus_zero_is_zero() -> None:
    assert b"-0.0" not in event(Score(0, -0.0, Status.GREEN, -1e-9)).line


def test_shares_keep_their_order() -> None:
    told = fields(Score(0, 1.0, Status.RED, 1.0, Shares((Share("z", 0.6), Share("a", 0.4)))))
    assert list(told["score"]["shares"]["by_host"]) == ["z", "a"]  # type: ignore[index]


@given(st.text(), st.text(min_size=1))
def test_text_of_any_kind_stays_one_line_of_json(reason: str, host: str) -> None:
    told = fields(replace(FINDING, reason=reason, host=host))
    assert told["alert"].get("reason", "") == reason  # type: ignore[attr-defined]


def test_half_a_character_does_not_break_the_line() -> None:
    assert fields(Notice(0, "x", "half \ud800"))["notice"]["message"] == "half ?"  # type: ignore[index]


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000+0000"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456+0000"),
        (-1, "1969-12-31T23:59:59.999999+0000"),
        (2**63 - 1, "2262-04-11T23:47:16.854775+0000"),
        (-(2**63), "1677-09-21T00:12:43.145224+0000"),
    ],
)
def test_every_time_the_core_can_hold_has_a_text(time_ns: int, text: str) -> None:
    assert timestamp(time_ns) == text


@pytest.mark.parametrize(("ours", "eve"), [(1.0, 1), (0.7, 1), (0.69, 2), (0.45, 2), (0.4, 3)])
def test_severity_is_told_on_eves_scale(ours: float, eve: int) -> None:
    assert eve_severity(ours) == eve


def test_flow_lines_pass_through_unchanged() -> None:
    assert event(FlowLines(0, b"{}\n{}\n")).line == b"{}\n{}\n"
