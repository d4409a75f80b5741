"""Fortress, as installed, finds every attack of the shipped captures and nothing else."""

import shutil
import sys
from pathlib import Path

import pytest
from fortress_core import StreamOptions, format_addr, open_capture

from tests.lab.__main__ import main
from tests.lab.judge import judge, replay
from tests.lab.labels import Label, labels_path, read_labels
from tests.need import ROOT

FIRST_ALERT_SECONDS, FIRST_ALERT_PACKETS = 10, 200
FORTRESS = str(Path(sys.executable).with_name("fortress"))
captures = pytest.mark.parametrize(
    "capture", sorted((ROOT / "samples").glob("*.pcap.zst")), ids=lambda path: path.name
)


@captures
def test_every_label_is_detected_and_nothing_else_is_alerted(capture: Path) -> None:
    facts, labels = read_labels(labels_path(capture))
    events, status = replay([FORTRESS], capture)
    assert status == 0
    assert events[-1]["stats"]["packets"] == facts["packets"]
    judgement = judge(labels, events)
    assert [hit.label.detector for hit in judgement.hits if hit.alert is None] == []
    assert judgement.extra == ()


@captures
def test_the_first_alert_comes_within_ten_seconds_or_two_hundred_packets(capture: Path) -> None:
    _, labels = read_labels(labels_path(capture))
    events, _ = replay([FORTRESS], capture)
    late = [
        hit
        for hit in judge(labels, events).hits
        if not hit.label.notice and (hit.seconds is None or hit.seconds > FIRST_ALERT_SECONDS)
    ]
    counts = [packets_of(capture, hit.label, hit.alert.at) for hit in late if hit.alert]
    assert len(counts) == len(late)
    assert max(counts, default=0) <= FIRST_ALERT_PACKETS


def packets_of(capture: Path, label: Label, until_ns: int) -> int:
    """How many packets of its source (of anyone where that is forged) an attack had by then."""
    count, options = 0, StreamOptions(packet_rows="all", keep_intervals=False)
    names = ["time_ns", "src_addr"]
    with open_capture(capture, options=options, packet_columns=names, flow_columns=()) as stream:
        for batch in stream:
            for time_ns, source in zip(*(batch.packets[name] for name in names), strict=True):
                mine = label.src is None or format_addr(source) == label.src
                count += bool(label.start <= time_ns <= until_ns and mine)
    return count


def test_a_damaged_benign_capture_is_judged_as_partly_read(samples: Path, tmp_path: Path) -> None:
    whole = (samples / "benign_browse.pcap.zst").read_bytes()
    (tmp_path / "benign_browse.pcap.zst").write_bytes(whole[: len(whole) // 2])
    shutil.copy(samples / "benign_browse.labels.json", tmp_path)
    assert main(["judge", str(tmp_path / "benign_browse.pcap.zst"), "--fortress", FORTRESS]) == 3


def test_the_demonstration_goes_to_red_and_ends_green() -> None:
    events, _ = replay([FORTRESS], ROOT / "samples" / "attack_day.pcap.zst")
    scores = [event["score"] for event in events if event["event_type"] == "score"]
    worst = max(range(len(scores)), key=lambda at: scores[at]["value"])
    assert (scores[0]["value"], scores[0]["status"]) == (0, "GREEN")
    assert scores[worst]["status"] == "RED"
    assert scores[-1]["status"] == "GREEN"
    assert scores[-1]["value"] < 0.6 * scores[worst]["value"]
