"""Whole captures: the same results whatever the batches, and peace where nothing is wrong."""

from pathlib import Path

import pytest

from fortress.events import ALERT_RISK
from fortress.qsecbit import Pipeline, PipelineSettings, pipeline
from tests.detectors.replay import replay
from tests.detectors.world import findings
from tests.need import need
from tests.shared_data import captures

MOST_ALARMED_BENIGN = 0.02


@pytest.mark.parametrize("batch_packets", [1, 61, 100_000])
def test_results_do_not_depend_on_the_batch_size(samples: Path, batch_packets: int) -> None:
    capture = samples / "port_scan.pcap.zst"
    assert replay(capture, batch_packets=batch_packets) == replay(capture)


@pytest.mark.parametrize("seconds", [1, 3, 15])
@pytest.mark.parametrize(
    "sample",
    ["attack_day", "address_sweep_port", "port_scan_slow", "port_scan_v6", "arp_spoof"],
)
def test_alarms_do_not_depend_on_how_long_rows_wait(
    samples: Path, sample: str, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = samples / f"{sample}.pcap.zst"
    usual = _alarms(capture)
    monkeypatch.setattr(pipeline, "HOLD_S", seconds)
    assert _alarms(capture) == usual != set()


@pytest.mark.parametrize("sample", ["attack_day", "arp_spoof", "syn_flood_spoofed"])
def test_findings_do_not_depend_on_the_secret(samples: Path, sample: str) -> None:
    """Only the estimates in them may: whom they name, and in which order, may not."""
    told = [
        [
            (found.detector, found.host, found.target)
            for found in findings(replay(samples / f"{sample}.pcap.zst", pipeline))
        ]
        for pipeline in (Pipeline(), Pipeline(PipelineSettings(secret=0x1234_5678_9ABC_DEF1)))
    ]
    assert list(dict.fromkeys(told[0])) == list(dict.fromkeys(told[1]))


def test_the_attack_day_names_every_attack(samples: Path) -> None:
    told = findings(replay(samples / "attack_day.pcap.zst"))
    alerts = {found.detector for found in told if found.risk >= ALERT_RISK}
    assert {"address_sweep", "port_scan", "password_guess", "syn_flood"} <= alerts
    for name in ("port_scan", "beaconing"):
        assert {found.host for found in told if found.detector == name} == {"192.168.77.66"}


@pytest.mark.parametrize("sample", ["admin", "backup", "browse", "busy", "mixed"])
def test_benign_samples_raise_no_alert(samples: Path, sample: str) -> None:
    told = findings(replay(samples / f"benign_{sample}.pcap.zst"))
    assert [found.reason for found in told if found.risk >= ALERT_RISK] == []


def test_few_of_the_shared_benign_captures_raise_an_alert() -> None:
    need("shared")
    count, alarmed = 0, []
    for capture in captures("benign", "dns-benign"):
        count += 1
        alerts = [f for f in findings(replay(capture.path)) if f.risk >= ALERT_RISK]
        if alerts:
            alarmed.append(f"{capture.path.name}: {alerts[0].detector}: {alerts[0].reason}")
    assert count > 400
    assert len(alarmed) <= MOST_ALARMED_BENIGN * count, "\n".join(alarmed)


def _alarms(capture: Path) -> set[tuple[str, str, str, int]]:
    return {
        (found.detector, found.host, found.target, found.signature_id)
        for found in findings(replay(capture))
        if found.risk >= ALERT_RISK
    }
