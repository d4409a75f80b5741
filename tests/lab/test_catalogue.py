"""The catalogue of scenarios is complete, bounded, and agrees with what is shipped."""

import hashlib
import shlex
import string
from pathlib import Path

import pytest

from tests.lab.furnish import PASSWORD
from tests.lab.labels import SUFFIX, labels_path, read_labels
from tests.lab.network import HOSTS, placeholders
from tests.lab.scenario import catalogue
from tests.lab.services import SERVICES
from tests.lab.shelf import BEGIN, END, table

DETECTORS = {
    "port_scan",
    "address_sweep",
    "syn_flood",
    "udp_flood",
    "icmp_flood",
    "arp_spoof",
    "password_guess",
    "beaconing",
}
SCENARIOS = catalogue()
SHIPPED_LIMIT_BYTES = 10_000_000
captures = pytest.mark.parametrize(
    "capture", sorted((Path(__file__).parents[2] / "samples").glob("*.pcap*")), ids=lambda p: p.name
)
scenarios = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())


def test_each_detector_has_a_scenario_and_a_shipped_capture(samples: Path) -> None:
    assert {name for one in SCENARIOS.values() for name in one.detectors} == DETECTORS
    shipped = {label.detector for p in samples.glob(f"*{SUFFIX}") for label in read_labels(p)[1]}
    assert shipped == DETECTORS


def test_a_demonstration_and_several_benign_captures_are_shipped(samples: Path) -> None:
    assert len(SCENARIOS["attack_day"].detectors) >= 5
    _, labels = read_labels(samples / f"attack_day{SUFFIX}")
    assert tuple(sorted({label.detector for label in labels})) == SCENARIOS["attack_day"].detectors
    assert len(list(samples.glob(f"benign_*{SUFFIX}"))) >= 3


@scenarios
def test_a_scenario_names_only_what_the_lab_has(scenario) -> None:
    known = {*placeholders(), "page", "room", "user"}
    for step in scenario.steps:
        assert step.actor in HOSTS
        texts = [step.command] + ([step.truth.packets] if step.truth else [])
        for text in texts:
            assert {name for _, name, _, _ in string.Formatter().parse(text) if name} <= known
        assert shlex.split(step.command)
    assert set(scenario.services) <= set(SERVICES)


@scenarios
def test_a_scenario_is_described_and_bounded(scenario) -> None:
    assert scenario.sentence.endswith(".")
    assert "\n" not in scenario.sentence
    assert 0 < scenario.max_seconds <= 1_000
    assert 0 < scenario.max_packets <= 100_000
    for step in scenario.steps:
        assert step.at + (step.times - 1) * step.every < scenario.max_seconds, step.command


@scenarios
def test_a_scenario_is_benign_exactly_when_its_name_says_so(scenario) -> None:
    assert scenario.name.startswith("benign_") == (not scenario.truths)


@captures
def test_a_shipped_capture_is_the_one_its_labels_describe(capture: Path) -> None:
    facts, _ = read_labels(labels_path(capture))
    assert facts["capture"] == capture.name
    assert facts["sha256"] == hashlib.sha256(capture.read_bytes()).hexdigest()
    assert facts["dropped"] == 0
    assert capture.name == f"{facts['scenario']}.pcap.zst"


@captures
def test_a_shipped_capture_was_made_by_the_scenario_as_it_is_now(capture: Path) -> None:
    facts, labels = read_labels(labels_path(capture))
    scenario = SCENARIOS[facts["scenario"]]
    assert facts["sentence"] == scenario.sentence
    assert facts["snaplen"] == scenario.snaplen
    assert [label.detector for label in labels] == [t.detector for t in scenario.truths]
    assert [(one["actor"], one["times"]) for one in facts["commands"]] == [
        (step.actor, step.times) for step in scenario.steps
    ]


def test_every_labels_file_has_its_capture(samples: Path) -> None:
    for path in samples.glob(f"*{SUFFIX}"):
        assert (samples / f"{path.name.removesuffix(SUFFIX)}.pcap.zst").exists()


def test_the_table_of_samples_is_fresh(samples: Path) -> None:
    readme = (samples / "README.md").read_text()
    assert readme.split(BEGIN)[1].split(END)[0].strip() == table(samples).strip()


def test_the_samples_stay_small(samples: Path) -> None:
    assert sum(path.stat().st_size for path in samples.iterdir()) <= SHIPPED_LIMIT_BYTES


def test_no_labels_file_tells_the_password(samples: Path) -> None:
    for path in samples.glob(f"*{SUFFIX}"):
        assert PASSWORD not in path.read_text()


def test_the_example_of_the_readme_is_a_scenario() -> None:
    text = (Path(__file__).parent / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    place: dict[str, object] = {}
    exec(code, place)  # our own text
    assert place["SCENARIO"].detectors == ("port_scan",)
