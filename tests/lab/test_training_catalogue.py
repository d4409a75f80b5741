"""The scenarios for training are complete, bounded, and say what they hold."""

import shlex
import string

import pytest

from tests.lab.network import HOSTS, placeholders
from tests.lab.scenario import catalogue, training_catalogue
from tests.lab.services import SERVICES

SCENARIOS = training_catalogue()
KINDS = {"c2", "flood", "guess", "scan", "tunnel", "web"}
scenarios = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())


def test_no_scenario_for_training_has_the_name_of_one_that_ships() -> None:
    assert not set(SCENARIOS) & set(catalogue())


def test_every_kind_of_attack_is_made_by_several_tools() -> None:
    tools = {kind: set() for kind in KINDS}
    for scenario in SCENARIOS.values():
        for truth in scenario.truths:
            tools[truth.kind].add(truth.tool)
    assert min(len(names) for names in tools.values()) >= 2


@scenarios
def test_a_scenario_for_training_names_only_what_the_lab_has(scenario) -> None:
    known = {*placeholders(), "page", "room", "user"}
    for step in scenario.steps:
        assert step.actor in HOSTS
        for text in [step.command] + ([step.truth.packets] if step.truth else []):
            assert {name for _, name, _, _ in string.Formatter().parse(text) if name} <= known
        assert shlex.split(step.command)
    assert set(scenario.services) <= set(SERVICES)


@scenarios
def test_a_scenario_for_training_is_described_and_bounded(scenario) -> None:
    assert scenario.sentence.endswith(".")
    assert 0 < scenario.max_seconds <= 300
    assert 0 < scenario.max_packets <= 100_000
    for step in scenario.steps:
        assert step.at + (step.times - 1) * step.every < scenario.max_seconds, step.command


@scenarios
def test_a_scenario_for_training_says_kind_and_tool_or_means_no_harm(scenario) -> None:
    assert scenario.name.startswith("benign_") == (not scenario.truths)
    for truth in scenario.truths:
        assert truth.kind in KINDS
        assert truth.tool
