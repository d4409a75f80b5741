"""What a finding is put into words with."""

import re
from pathlib import Path

import pytest
from fortress_core import format_addr, open_capture

from fortress.features.windows import TABLES
from fortress.qsecbit import catalogue
from fortress.qsecbit.contract import Detector, Fact
from fortress.qsecbit.describe import community_id, mac_text
from tests.detectors.world import UDP, World, findings


def test_the_community_id_is_that_of_the_core_in_both_directions(samples: Path) -> None:
    names = ["orig_addr", "resp_addr", "orig_port", "resp_port", "proto", "community_id"]
    compared = 0
    with open_capture([samples / "benign_mixed.pcap.zst"], flow_columns=names) as stream:
        for batch in stream:
            for row in range(batch.flows.rows):
                flow = {name: batch.flows[name][row] for name in names}
                if flow["proto"] not in (6, 17):
                    continue
                ends = format_addr(flow["orig_addr"]), format_addr(flow["resp_addr"])
                ports, proto = (int(flow["orig_port"]), int(flow["resp_port"])), int(flow["proto"])
                expected = flow["community_id"].rstrip(b"\0").decode()
                assert community_id(*ends, *ports, proto) == expected
                assert community_id(*ends[::-1], *ports[::-1], proto) == expected
                compared += 1
    assert compared > 50


@pytest.mark.parametrize(("mac", "text"), [(0, ""), (0x02005E107766, "02:00:5e:10:77:66")])
def test_a_mac_in_words(mac: int, text: str) -> None:
    assert mac_text(mac) == text


def test_a_finding_names_the_flow_it_rests_on() -> None:
    world = World()
    for port in range(60):
        world.flow(0, "10.0.0.9", "10.0.0.1", 1000 + port, "REJ", source_port=40_000)
    (found,) = findings(world.run())
    assert (found.src_ip, found.src_port) == ("10.0.0.9", 40_000)
    assert (found.dest_ip, found.dest_port, found.proto) == ("10.0.0.1", 1000, "TCP")
    assert found.src_mac == "02:00:00:00:00:01"
    assert found.flow_id == 1
    assert found.community_id.startswith("1:")
    assert found.evidence["failed"] == 60


def test_one_is_not_told_in_the_plural() -> None:
    world = World()
    for number in range(400):
        world.flow(20, "10.0.0.9", "10.0.0.1", 80, "S0", source_port=30_000 + number)
    told = {found.detector: found.reason for found in findings(world.run())}
    assert " on 1 port from 1 source" in told["syn_flood"]


@pytest.mark.parametrize("detector", catalogue().values(), ids=lambda detector: detector.name)
def test_every_reason_reads_well_for_one_and_for_many(detector: Detector) -> None:
    words = dict.fromkeys(("host", "target", "service", "guilty"), "x")
    one, many = (detector.say(dict.fromkeys(TABLES[detector.table], n), words) for n in (1, 7))
    noun = "address|attempt|byte|connection|flow|packet|port|reply|request|source|SYN"
    plural = "|".join(["addresses", "replies", *(f"{word}s" for word in noun.split("|"))])
    assert not re.search(rf"\b1 ([\w ]{{0,20}} )?({plural})\b", one), one
    assert not re.search(rf"\b7 ([\w ]{{0,20}} )?({noun})\b", many), many
    assert re.search(rf"\b7 ([\w ]{{0,20}} )?({plural})\b", many), many


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (1.2, "# port/# ports", "1 port"),
        (0, "# port/# ports", "0 ports"),
        (1.6, "# port/# ports", "2 ports"),
        (2, "looks/look", "look"),
        (0.25, ".0%", "25%"),
    ],
)
def test_a_value_chooses_between_one_and_many(value: float, form: str, text: str) -> None:
    assert format(Fact(value), form) == text


def test_a_flood_from_everywhere_blames_nobody() -> None:
    world = World()
    for number in range(600):
        source = f"{20 + number % 180}.1.{number % 250}.9"
        world.flow(0, source, "10.0.0.1", 53, "OTH", proto=UDP, pkts=(1, 0))
    found = findings(world.run())[0]
    assert found.host == found.target == found.dest_ip == "10.0.0.1"
    assert (found.src_ip, found.src_port, found.flow_id, found.community_id) == ("", None, None, "")


def test_services_are_called_by_their_names() -> None:
    world = World()
    for number in range(8):
        world.flow(number * 2, "10.0.0.9", "10.0.0.1", 2222, said=(2000, 2400))
    assert "SSH (TCP 2222) of 10.0.0.1" in findings(world.run())[0].reason
