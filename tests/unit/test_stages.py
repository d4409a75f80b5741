"""From steps that look like a stage of an attack to findings about hosts, and what shadow means."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from fortress.features.rows import Columns
from fortress.qsecbit import Pipeline
from fortress.qsecbit.stages import DETECTOR, ENOUGH, SEVERITIES, SIGNATURE_ID, StageWindows
from fortress.verdict import Source
from tests.unit.test_features_sequence import SECOND, addresses, flows

NS = 1_700_000_100 * SECOND


@dataclass
class Said:
    row: np.ndarray
    stage: np.ndarray
    risk: np.ndarray
    surprise: np.ndarray


@dataclass
class Scripted:
    """A sequence model that says of a flow what its responder's port stands for."""

    columns: tuple[str, ...] = ("first_ns", "orig_addr", "resp_port")
    seen: list[int] = field(default_factory=list)
    cleared: int = 0

    def observe(self, tick_ns: int, flows: Columns) -> Said:
        ports = flows["resp_port"]
        self.seen.append(len(ports))
        words = np.array(["none", *SEVERITIES])
        stage = words[np.where(ports < len(words), ports, 0)]
        ones = np.ones(len(ports), np.float32)
        return Said(np.arange(len(ports)), stage, ones * 0.9, ones * 0.5)

    def begin(self, secret: int) -> None:
        """It keeps no keys."""

    def take_side(self, inside: object) -> None:
        """It knows no sides."""

    def clear(self) -> None:
        self.cleared += 1


def ended(ports: list[int], who: list[int] | None = None) -> Columns:
    count = len(ports)
    return flows(
        count,
        flow_id=np.arange(1, count + 1, dtype=np.uint64),
        orig_addr=addresses(who or [5] * count),
        orig_port=np.full(count, 50_000, np.uint16),
        resp_port=np.uint16(ports),
        resp_mac=np.zeros(count, np.uint64),
        iface=np.zeros(count, np.uint16),
        last_ns=np.full(count, NS),
    )


@pytest.fixture
def windows() -> StageWindows:
    return StageWindows(Scripted(), 3)


def test_a_host_with_several_steps_of_a_stage_is_named(windows: StageWindows) -> None:
    (found,) = windows.observe(ended([2] * 12), NS)
    assert (found.detector, found.source, found.host) == (DETECTOR, Source.MODEL, "192.168.0.5")
    assert found.signature_id == SIGNATURE_ID + 1
    assert found.evidence["stage"] == "access"
    assert found.evidence["suspicious"] == 12
    assert found.severity == SEVERITIES["access"]


def test_few_steps_say_nothing_and_more_say_more(windows: StageWindows) -> None:
    assert windows.observe(ended([3] * (ENOUGH - 1)), NS) == []
    first = windows.observe(ended([3] * 2), NS + SECOND)
    later = windows.observe(ended([3] * 9), NS + 2 * SECOND)
    assert later[0].confidence > (first[0].confidence if first else 0)


def test_calm_hosts_are_neither_named_nor_remembered(windows: StageWindows) -> None:
    assert windows.observe(ended([0] * 50), NS) == []
    assert len(windows.table) == 0


def test_steps_of_long_ago_do_not_count(windows: StageWindows) -> None:
    windows.observe(ended([4] * 12), NS)
    assert windows.observe(ended([4]), NS + 3600 * SECOND) == []


def test_each_host_answers_for_its_own_steps(windows: StageWindows) -> None:
    found = windows.observe(ended([1] * 9 + [6] * 9, [5] * 9 + [6] * 9), NS)
    assert {one.host: one.evidence["stage"] for one in found} == {
        "192.168.0.5": "reconnaissance",
        "192.168.0.6": "impact",
    }


def run(shadowed: bool | None) -> tuple[Pipeline, list, list, float]:
    pipeline = Pipeline(stages=Scripted())
    if shadowed is not None:
        pipeline.shadow_stages(shadowed)
    opened, notices, score = [], [], 0.0
    for second in range(40):
        rows = ended([5] * 15) if second == 3 else {}
        if rows:
            rows = {
                name: rows.get(name, np.zeros(15)) for name in pipeline.reads_flow_columns
            } | rows
        result = pipeline.tick(NS + second * SECOND, {}, rows, {})
        opened += result.opened
        notices += result.notices
        score = max(score, result.score.value)
    return pipeline, opened, notices, score


def test_on_it_makes_findings_and_takes_part_in_the_score() -> None:
    _, opened, notices, score = run(shadowed=False)
    assert [one.detector for one in opened] == [DETECTOR]
    assert score > 0.2
    assert notices == []


@pytest.mark.parametrize("shadowed", [True, None])
def test_in_shadow_it_is_told_of_and_touches_nothing(shadowed: bool | None) -> None:
    _, opened, notices, score = run(shadowed)
    assert opened == []
    assert score == 0
    assert [one.kind for one in notices] == ["shadow"]


def test_a_clock_that_steps_back_makes_it_forget() -> None:
    model = Scripted()
    pipeline = Pipeline(stages=model)
    pipeline.tick(NS, {}, {}, {})
    pipeline.tick(NS - 100 * SECOND, {}, {}, {})
    assert model.cleared == 1
