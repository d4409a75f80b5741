"""What a finding is put into words with."""

from pathlib import Path

import pytest
from fortress_core import format_addr, open_capture

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
