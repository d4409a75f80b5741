"""The steps after the core on the rows of a shipped capture: windows, detectors, model, score."""

import time
from pathlib import Path

import pytest

from bench.conftest import Run
from bench.parts import Tick, read_ticks, run_pipeline, watched
from fortress.features.flow import flow_matrix
from fortress.inference import FlowClassifier, Registry
from fortress.qsecbit import Pipeline
from fortress.qsecbit.catalogue import catalogue, chosen

pytestmark = pytest.mark.benchmark(timer=time.process_time)  # neighbours do not count


@pytest.fixture(scope="session")
def classifier() -> FlowClassifier:
    return FlowClassifier(Registry().load("flow-classifier"))


@pytest.fixture(scope="session")
def ticks(sample: Path, classifier: FlowClassifier) -> list[Tick]:
    return read_ticks(sample, Pipeline(classifier=classifier))


@pytest.mark.parametrize("name", catalogue())
def test_a_detector_scores_its_tables(
    bench: Run, ticks: list[Tick], classifier: FlowClassifier, name: str
) -> None:
    setting = next(one for one in chosen({}) if one.detector.name == name)
    _, tables = watched(ticks, classifier)
    given = [table for kind, table in tables if kind == setting.detector.table]
    assert given
    bench(lambda: [setting.scores(table) for table in given])


def test_flows_become_a_matrix(bench: Run, ticks: list[Tick], classifier: FlowClassifier) -> None:
    given = [{name: tick.flows[name] for name in classifier.columns} for tick in ticks]
    bench(lambda: [flow_matrix(flows) for flows in given])


def test_flows_are_classified(bench: Run, ticks: list[Tick], classifier: FlowClassifier) -> None:
    given = [{name: tick.flows[name] for name in classifier.columns} for tick in ticks]
    bench(lambda: [classifier.classify(flows) for flows in given])


def test_the_pipeline_judges_every_tick(
    bench: Run, ticks: list[Tick], classifier: FlowClassifier
) -> None:
    bench(lambda: run_pipeline(ticks, Pipeline(classifier=classifier)))
