"""The pipeline as a whole: one tick after another, with and without a model."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fortress.errors import ConfigError
from fortress.features.host import Windows
from fortress.inference import Registry
from fortress.inference.threat_sequence import ThreatSequence
from fortress.qsecbit import Pipeline, PipelineSettings
from fortress.qsecbit import pipeline as pipelines
from fortress.verdict import Action, Source, Status
from tests.detectors.world import SECOND, START_NS, UDP, World, columns, findings


@dataclass
class _Said:
    risk: np.ndarray
    labels: np.ndarray


class BigReplies:
    """A classifier that suspects whatever answers with more than a megabyte."""

    columns = ("resp_bytes",)

    def classify(self, flows: Any) -> _Said:
        risk = (flows["resp_bytes"] > 1_000_000).astype(np.float32)
        return _Said(risk, np.where(risk > 0, "exfiltration", "benign"))


def _scan() -> World:
    world = World()
    for port in range(60):
        world.flow(3 + port * 0.01, "10.0.0.9", "10.0.0.1", 1000 + port, "REJ")
    return world


def test_a_quiet_network_is_green_and_0() -> None:
    world = World()
    for second in range(120):
        world.flow(second, "10.0.0.7", "203.0.113.1", 443)
    results = world.run()
    assert findings(results) == []
    assert {result.score.status for result in results} == {Status.GREEN}
    assert {result.score.value for result in results} == {0.0}


def test_a_scan_raises_the_score_and_it_decays_afterwards() -> None:
    world = _scan()
    world.flow(2000, "10.0.0.7", "203.0.113.1", 443)
    results = world.run()
    peak = max(results, key=lambda result: result.score.value)
    assert peak.score.status is Status.AMBER
    assert peak.verdicts[0].action is Action.BLOCK
    assert results[-1].score.value < 0.01
    assert results[-1].score.status is Status.GREEN


def test_the_same_rows_give_the_same_results() -> None:
    assert _scan().run() == _scan().run()


def test_empty_tables_are_no_trouble() -> None:
    pipeline = Pipeline()
    assert pipeline.tick(START_NS, {}, {}, {}).opened == ()
    empty = (
        columns([], pipeline.reads_interval_columns),
        columns([], pipeline.reads_flow_columns),
        columns([], pipeline.reads_packet_columns),
    )
    assert pipeline.tick(START_NS + SECOND, *empty).score.value == 0


def test_rows_are_not_changed() -> None:
    pipeline, world = Pipeline(), _scan()
    rows = columns(world.intervals[3], pipeline.reads_interval_columns)
    before = {name: values.copy() for name, values in rows.items()}
    pipeline.tick(START_NS, rows, {}, {})
    assert all((rows[name] == before[name]).all() for name in rows)


def test_views_that_may_not_be_written_are_enough() -> None:
    pipeline, world = Pipeline(), _scan()
    rows = columns(world.intervals[3], pipeline.reads_interval_columns)
    for values in rows.values():
        values.flags.writeable = False
    pipeline.tick(START_NS, rows, {}, {})
    assert pipeline.finish().opened


def test_what_is_held_does_not_change_with_the_arrays_of_the_caller() -> None:
    pipeline, world = Pipeline(), _scan()
    rows = columns(world.intervals[3], pipeline.reads_interval_columns)
    rows = {name: values.copy() for name, values in rows.items()}
    pipeline.tick(START_NS, rows, {}, {})
    for values in rows.values():
        values[:] = 0 if values.dtype.kind != "V" else bytes(16)
    (found,) = pipeline.finish().opened
    assert (found.host, found.target) == ("10.0.0.9", "10.0.0.1")
    assert pipeline.finish() is None


def test_calm_seconds_wait_for_at_most_five_and_busy_ones_not_at_all() -> None:
    calm, busy = World(), World()
    for port in range(60):
        calm.flow(0, "10.0.0.9", "10.0.0.1", 1000 + port, "REJ")
    for port in range(5000):
        busy.flow(0, "10.0.0.9", "10.0.0.1", 1000 + port, "REJ")
    for second in range(1, 10):
        calm.flow(second, "10.0.0.7", "203.0.113.1", 443)
    told = [bool(result.opened) for result in calm.run()]
    assert told.index(True) <= 4
    assert busy.run()[0].opened


@pytest.mark.parametrize("every", [2, 3, 7, 29])  # addresses, one of which is local
def test_rows_that_wait_longer_never_lower_what_is_found(
    every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, peaks = World(), []
    for i in range(58):
        local = i % every == 0
        world.flow(i * 0.5, "10.0.0.9", f"10.0.{i}.9" if local else f"{20 + i}.7.0.9", 23, "S0")
        world.flow(i * 0.5, "10.0.0.8", "10.0.0.1", 3000 + i, "REJ")
        world.flow(i * 0.5, "10.0.0.8", "10.0.0.1", 80, "SF")
    for seconds in (1, 3, 5, 15):
        monkeypatch.setattr(pipelines, "HOLD_S", seconds)
        results = world.run()
        assert {(found.detector, found.host) for found in findings(results)} == {
            ("address_sweep", "10.0.0.9"),
            ("port_scan", "10.0.0.8"),
        }
        peaks.append(max(result.score.value for result in results))
    assert peaks == sorted(peaks)


def test_rows_from_before_a_silence_are_judged_at_their_own_time() -> None:
    world = World()
    for port in range(60):
        world.flow(0, "10.0.0.9", "10.0.0.1", 1000 + port, "REJ")
    for port in range(8):
        world.flow(7200, "10.0.0.9", "10.0.0.1", 5000 + port, "REJ")
    (found,) = findings(world.run())
    assert found.evidence["ports_slow"] > 50
    assert found.time_ns < START_NS + 10 * SECOND


def test_a_clock_that_steps_back_is_noticed_and_starts_anew() -> None:
    pipeline = Pipeline()
    _scan().run(pipeline)
    result = pipeline.tick(START_NS - 3600 * SECOND, {}, {}, {})
    (notice,) = result.notices
    assert notice.kind == "clock_step"
    assert notice.facts["seconds"] == 3608
    assert result.score.value == 0
    assert result.score.confidence == 0.5


def test_what_was_held_before_a_step_of_the_clock_is_judged() -> None:
    pipeline, world = Pipeline(), _scan()
    pipeline.tick(START_NS, columns(world.intervals[3], pipeline.reads_interval_columns), {}, {})
    result = pipeline.tick(START_NS - 100 * SECOND, {}, {}, {})
    assert [found.detector for found in result.opened] == ["port_scan"]
    assert result.verdicts[0].action is Action.BLOCK
    assert result.score.value == 0


def test_confidence_grows_as_windows_fill_and_falls_with_what_is_lost() -> None:
    pipeline = Pipeline()
    sure = [pipeline.tick(START_NS + s * SECOND, {}, {}, {}).score.confidence for s in (0, 30, 60)]
    assert sure == [0.5, 0.75, 1.0]
    pipeline.sensor(packets=900, drops=50, lost=50)
    assert pipeline.tick(START_NS + 61 * SECOND, {}, {}, {}).score.confidence == pytest.approx(0.9)
    pipeline.sensor(packets=1000, stale=True)
    assert pipeline.tick(START_NS + 62 * SECOND, {}, {}, {}).score.confidence == 0.5


def test_a_model_finds_the_host_most_of_whose_flows_are_suspicious() -> None:
    world = World()
    for i in range(20):
        world.flow(i, "10.0.0.7", f"203.0.113.{i + 1}", 443, said=(100, 2_000_000))
        world.flow(i, "10.0.0.8", f"203.0.113.{i + 1}", 443, said=(100, 2_000_000 if i == 3 else 9))
    results = world.run(Pipeline(classifier=BigReplies()))
    found = findings(results)
    assert {one.host for one in found} == {"10.0.0.7"}
    assert found[-1].source is Source.MODEL
    assert found[-1].risk >= 0.4
    assert found[-1].evidence["label"] == "exfiltration"
    verdicts = [verdict for result in results for verdict in result.verdicts]
    assert max(verdict.action for verdict in verdicts) is Action.LIMIT


def test_the_columns_a_model_needs_are_read() -> None:
    assert "resp_bytes" in Pipeline(classifier=BigReplies()).reads_flow_columns


def test_switching_a_detector_off_silences_it() -> None:
    pipeline = Pipeline(PipelineSettings(detectors={"port_scan": {"enabled": False}}))
    assert findings(_scan().run(pipeline)) == []


def test_a_setting_of_a_detector_has_its_effect() -> None:
    pipeline = Pipeline(
        PipelineSettings(detectors={"port_scan": {"half_ports": 500, "half_ports_slow": 500}})
    )
    assert findings(_scan().run(pipeline)) == []


def test_a_setting_of_the_score_has_its_effect() -> None:
    world = _scan()
    world.flow(60, "10.0.0.7", "203.0.113.1", 443)
    quick = world.run(Pipeline(PipelineSettings(qsecbit={"tau_s": 5})))[-1].score.value
    assert quick < 0.01 < world.run()[-1].score.value


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"tau": 5}, r"qsecbit\.tau: no such setting; there are: tau_s"),
        ({"tau_s": "long"}, r"qsecbit\.tau_s: 'long' is not a number"),
        ({"tau_s": 0}, r"qsecbit\.tau_s: 0 is not above 0"),
        ({"model_may_block": 1}, r"qsecbit\.model_may_block: 1 is not true or false"),
    ],
)
def test_a_wrong_setting_of_the_score_names_the_key(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Pipeline(PipelineSettings(qsecbit=section))


def test_a_storm_of_targets_makes_a_bounded_number_of_findings() -> None:
    world = World()
    for target in range(600):
        source, victim = (f"10.{n}.{target // 250}.{target % 250 + 1}" for n in (1, 2))
        world.flow(1, source, victim, 53, "OTH", proto=UDP, pkts=(40_000, 0), said=(0, 0))
    assert 0 < len(findings(world.run())) <= 256


def test_counters_tell_of_originators_where_a_sequence_model_runs() -> None:
    entry = Registry().load("threat-lstm")
    counters = Pipeline(stages=ThreatSequence(entry, capacity=2)).counters()
    assert {"originators_evictions", "originators_refusals", "stages_evictions"} <= set(counters)


def test_counters_name_every_table() -> None:
    counters = Pipeline().counters()
    assert {"fans_evictions", "fans_refusals", "findings_overflows"} <= set(counters)
    assert set(counters.values()) == {0}


class _LoudDevices:
    """A model that finds every minute of every device unusual."""

    threshold = 0.5

    def __init__(self) -> None:
        self.seen: list[int] = []

    def observe(self, windows: Windows) -> Any:
        rows = len(windows.keys)
        self.seen.append(rows)
        return SimpleNamespace(
            surprise=np.full(rows, 9, np.float32),
            risk=np.full(rows, 0.9, np.float32),
            ready=np.ones(rows, np.bool_),
            nearest=np.full((rows, 3), "bytes_up"),
            moved=np.zeros(rows, np.bool_),
        )


@pytest.mark.parametrize("is_shadowed", [True, False])
def test_a_device_model_is_shown_each_minute_and_speaks_in_shadow_until_told_otherwise(
    is_shadowed: bool,
) -> None:
    world = World()
    for second in range(0, 300, 5):
        world.flow(second, "10.0.0.7", "203.0.113.1", 443)
    model = _LoudDevices()
    pipeline = Pipeline(devices=model)
    if not is_shadowed:
        pipeline.shadow_devices(False)
    results = world.run(pipeline)
    assert len(model.seen) in (4, 5)
    assert set(model.seen) == {1}
    found = findings(results)
    told = [one for result in results for one in result.notices if one.kind == "shadow"]
    assert bool(told) == is_shadowed
    assert bool(found) != is_shadowed
    assert {(one.detector, one.host, one.source) for one in found} <= {
        ("unusual_device", "10.0.0.7", Source.MODEL)
    }
    assert all("bytes sent" in one.reason for one in found)
