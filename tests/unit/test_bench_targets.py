"""The benches say what was missed, and end with 1 then."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import gate, gateway
from bench.gate_report import Found, Way, missed
from bench.gateway_report import Costs, Flushed, Pace, Reaction, Single
from bench.gateway_report import Found as Gateway
from bench.gateway_report import missed as missed_by_gateway

GOOD = Found(
    {}, 20,
    [Way("address", 1, 80, None), Way("prefix", 1, 150, None), Way("nothing fits", 1, 900, None)],
    {}, {}, {"alone": 6.0, "of 100,000": 3.0}, {}, {},
)  # fmt: skip
GATEWAY = Gateway(
    {}, 1, [Pace("alone", [2.5e9], [9e9]), Pace("guard", [2.4e9], [9e9])],
    [Reaction("flood", 9, [0.1, 0.2, 0.1], 9, 1, 1)],
    Costs([Single(0, [4e-4], [0.1])], [19e-6], 1.9, 1.0, [Flushed(9, [0.5]), Flushed(99, [3.0])]),
    300.0,
)  # fmt: skip


def test_a_path_of_the_gate_beyond_its_limit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate, "STORED", tmp_path / "gate.json")
    slow = replace(GOOD, ways=[Way("address", 10, 81, None), Way("prefix", 10, 151, None)])
    for found, status in ((GOOD, 0), (slow, 1)):
        gate.STORED.write_text(json.dumps(asdict(found)))
        assert gate.main(["--again", "--no-page"]) == status
    told = capsys.readouterr().err.splitlines()
    assert [line.split(", one hot key")[0] for line in told] == [
        "bench gate: not met: address, 10 entries",
        "bench gate: not met: prefix, 10 entries",
    ]
    assert missed(GOOD) == []


def test_each_promise_of_a_gateway_that_is_not_kept_is_told() -> None:
    assert missed_by_gateway(GATEWAY) == []
    worse = replace(
        GATEWAY,
        paces=[GATEWAY.paces[0], Pace("guard", [2.3e9], [9e9])],
        reactions=[Reaction("flood", 9, [0.1, 0.6, 0.1], 9, 1, 1)],
        costs=Costs([Single(0, [6e-4], [0.1])], [21e-6], 2.1, 1.0, [Flushed(9, [1.5])]),
        agent_mb=351.0,
    )
    assert [line.split(":")[0] for line in missed_by_gateway(worse)] == [
        "forwarding, guard", "reaction, flood", "one block beside 0", "one of 10,000 at once",
        "one of 100,000 at once", "9 blocks are back after a flush", "the agent's resident set",
    ]  # fmt: skip


def test_what_a_gateway_kept_of_another_form_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "STORED", tmp_path / "gateway.json")
    assert gateway.kept() is None
    gateway.STORED.write_text(json.dumps(asdict(GATEWAY)))
    assert gateway.kept() == GATEWAY
    gateway.STORED.write_text(json.dumps(asdict(GATEWAY) | {"costs": {"one": [1.0]}}))
    assert gateway.kept() is None


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["speed"]) == 2
    assert "Parts:" in capsys.readouterr().err
