"""What a model adds to the rules, told by replaying with it off and on; shadow adds nothing."""

import json
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from fortress.cli.main import main
from fortress.cli.model_judging import added
from fortress.cli.running import complain
from fortress.config import Settings
from fortress.errors import UsageError
from fortress.qsecbit.stages import DETECTOR
from fortress.services import agent
from fortress.sinks import Outputs


class Kept:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def apply(self, event: object) -> None:
        self.events.append(event)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


def replayed(mode: str, capture: Path) -> tuple[list[str], list[str]]:
    """Every event in words, and the messages of shadow notices apart."""
    settings = Settings()
    use = replace(settings.models.threat_lstm, mode=mode)
    models = replace(settings.models, threat_lstm=use)
    kept = Kept()
    outputs = Outputs([kept], "monitor", complain)
    changed = replace(settings, models=models)
    agent.run(agent.Replay((str(capture),)), changed, outputs, Event())
    outputs.close()
    lines = [repr(event) for event in kept.events if "kind='stats'" not in repr(event)]
    shadow = [line for line in lines if "in shadow mode" in line]
    return [line for line in lines if line not in shadow], shadow


@pytest.fixture(scope="module")
def attack_day(samples_of_module: Path) -> Path:
    return samples_of_module / "attack_day.pcap.zst"


@pytest.fixture(scope="module")
def samples_of_module() -> Path:
    return Path(__file__).resolve().parents[2] / "samples"


def test_the_sequence_model_adds_to_events_and_score_of_a_multi_stage_capture(
    attack_day: Path,
) -> None:
    one = added("threat-lstm", str(attack_day), Settings())
    assert one.alerts_with + one.notices_with > one.alerts + one.notices
    assert one.peak_with > one.peak
    assert any("192.168.77.66" in found for found in one.found)


def test_in_shadow_it_is_told_of_and_every_other_event_is_the_same(attack_day: Path) -> None:
    off, nothing = replayed("off", attack_day)
    shadow, told = replayed("shadow", attack_day)
    assert off == shadow
    assert nothing == []
    assert any("192.168.77.66" in line and DETECTOR in line for line in told)


def test_evaluate_prints_one_object_a_capture(
    attack_day: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = attack_day.with_name("benign_backup.pcap.zst")
    assert main(["model", "evaluate", "threat-lstm", "--json", str(quiet)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert told["capture"].endswith("benign_backup.pcap.zst")
    assert told["found"] == []
    assert told["peak"] == told["peak_with"]


def test_a_model_that_takes_no_part_is_refused(attack_day: Path) -> None:
    with pytest.raises(UsageError, match="no model 'weather'"):
        added("weather", str(attack_day), Settings())
