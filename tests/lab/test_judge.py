"""The judge finds what was detected, what was missed and what was made up."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.lab.__main__ import main
from tests.lab.judge import GRACE_NS, JudgeError, epoch_ns, judge, read_events
from tests.lab.labels import Label

START, SECOND = 1_795_437_000_000_000_000, 10**9
CAMERA, NAS, CAMERA_MAC = "192.168.77.66", "192.168.77.10", "02:00:5e:00:77:66"
SCAN = Label(START, START + 5 * SECOND, CAMERA, NAS, CAMERA_MAC, "T1046", "port_scan", "")
FORGED_FLOOD = Label(START, START + SECOND, None, NAS, None, "T1499.001", "syn_flood", "")


def alert(detector: str, seconds: float, src: str | None, dst: str | None, **more: object) -> dict:
    """Return an alert event so many seconds after START."""
    whole, fraction = divmod(round(seconds * 1_000_000), 1_000_000)
    body = {"detector": detector, "risk": 0.7, "reason": "because", "signature": "x"}
    event = {"event_type": "alert", "timestamp": stamp(whole, fraction), "alert": body, **more}
    return event | {k: v for k, v in (("src_ip", src), ("dest_ip", dst)) if v is not None}


def stamp(seconds: int, microseconds: int) -> str:
    moment = datetime.fromtimestamp(START // SECOND, UTC) + timedelta(0, seconds, microseconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f%z")


def test_a_detected_label_tells_how_long_it_took() -> None:
    events = [alert("port_scan", 3.25, CAMERA, NAS), alert("port_scan", 1.5, CAMERA, NAS)]
    judgement = judge((SCAN,), events)
    assert judgement.is_good
    assert judgement.hits[0].seconds == 1.5


def test_silence_on_benign_traffic_is_good_and_on_an_attack_is_not() -> None:
    assert judge((), []).is_good
    silent = judge((SCAN,), [])
    assert not silent.is_good
    assert silent.hits[0].alert is None


@pytest.mark.parametrize(
    "wrong",
    [
        alert("syn_flood", 1, CAMERA, NAS),
        alert("port_scan", 1, "192.168.77.20", NAS),
        alert("port_scan", -2, CAMERA, NAS),
        alert("port_scan", 5 + GRACE_NS / SECOND + 1, CAMERA, NAS),
    ],
    ids=["other detector", "other source", "before the attack", "long after the attack"],
)
def test_an_alert_that_fits_no_label_is_extra_and_finds_nothing(wrong: dict) -> None:
    judgement = judge((SCAN,), [wrong])
    assert len(judgement.extra) == 1
    assert judgement.hits[0].alert is None


def test_a_second_opinion_that_the_label_allows_is_neither_extra_nor_credit() -> None:
    label = replace(SCAN, also=("syn_flood",))
    judgement = judge((label,), [alert("syn_flood", 1, CAMERA, NAS)])
    assert judgement.extra == ()
    assert judgement.hits[0].alert is None


def test_the_flow_model_is_right_about_any_attacker_and_wrong_about_others() -> None:
    right, wrong = (alert("flow_model", 1, host, NAS) for host in (CAMERA, "192.168.77.20"))
    assert judge((SCAN,), [right]).extra == ()
    assert judge((SCAN,), [right]).hits[0].alert is None
    assert len(judge((SCAN,), [wrong]).extra) == 1


def test_forged_sources_are_judged_by_the_target() -> None:
    assert judge((FORGED_FLOOD,), [alert("syn_flood", 1, "11.22.33.44", NAS)]).is_good
    assert judge((FORGED_FLOOD,), [alert("syn_flood", 1, None, NAS)]).is_good
    assert not judge((FORGED_FLOOD,), [alert("syn_flood", 1, "11.22.33.44", CAMERA)]).is_good


def test_a_station_is_known_by_its_hardware_address_too() -> None:
    assert judge((SCAN,), [alert("port_scan", 1, None, None, src_mac=CAMERA_MAC)]).is_good
    other = alert("port_scan", 1, None, None, src_mac="02:00:5e:00:77:20")
    assert not judge((SCAN,), [other]).is_good


def test_a_notice_is_enough_exactly_where_the_label_says_so_and_never_extra() -> None:
    spoken = alert("port_scan", 1, CAMERA, NAS)
    notice = {**spoken, "event_type": "notice"}
    notice["notice"] = {**notice.pop("alert"), "kind": "finding", "risk": 0.3}
    assert not judge((SCAN,), [notice]).is_good
    assert judge((replace(SCAN, notice=True),), [notice]).is_good
    assert judge((), [notice]).is_good
    other_kind = {**notice, "notice": {"kind": "clock_step", "message": "…"}}
    assert judge((), [other_kind]).is_good


def test_the_highest_score_on_the_way_is_kept() -> None:
    scores = [(0.1, "GREEN"), (0.81, "RED"), (0.5, "AMBER")]
    events = [{"event_type": "score", "score": {"value": v, "status": s}} for v, s in scores]
    judgement = judge((), events)
    assert (judgement.peak_score, judgement.peak_status) == (0.81, "RED")


def test_stamps_are_exact_to_the_microsecond() -> None:
    assert epoch_ns("2026-11-23T12:30:00.123457+0000") == 1_795_437_000_123_457_000


def test_a_replay_that_broke_off_or_babbles_is_an_error() -> None:
    with pytest.raises(JudgeError, match="did not end with a stats event"):
        read_events(['{"event_type": "score"}'])
    with pytest.raises(JudgeError, match=r"event line 2: .*Expecting value"):
        read_events(['{"event_type": "score"}', "Traceback"])
    with pytest.raises(JudgeError, match=r"event line 1: .*event_type"):
        read_events(["{}"])


def test_the_command_judges_recorded_events(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = json.loads((samples / "port_scan.labels.json").read_text())["labels"]
    late = (labels[0]["start"] - START) / SECOND + 2
    good = [alert("port_scan", late, CAMERA, NAS), {"event_type": "stats"}]
    events = tmp_path / "events"
    for lines, status in (
        (good, 0),
        (good[1:], 1),
        ([alert("beaconing", late, "10.0.0.1", None), *good], 1),
    ):
        events.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert main(["judge", "port_scan", "--events", str(events)]) == status
    out = capsys.readouterr().out
    assert "found after 2.0 s" in out
    assert "MISSED" in out
    assert "EXTRA" in out
    assert main(["judge", "port_scan", "--events", str(events), "--json"]) == 1
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["name"] == "port_scan"
    assert [one["detector"] for one in verdict["extra"]] == ["beaconing"]


def test_unknown_names_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", "no_such"]) == 2
    assert main(["record", "no_such"]) == 2
    assert "no scenario 'no_such'; known: address_sweep" in capsys.readouterr().err
