"""The agent under more than it can take: bounded memory, whole flows left out, and said so."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.need import need
from tests.net.agents import OURS, Site, site, until
from tests.patience import patient

FLOOD = Path(__file__).with_name("flood_flows.py")
MOST_RSS_BYTES = 350e6


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Site]:
    """A gateway that answers no SYN to port 80, and a stranger."""
    need("netns", "nft")
    with site(tmp_path) as made:
        made.gateway.run(
            "nft",
            "add table inet t; add chain inet t p { type filter hook prerouting priority -300; };"
            " add rule inet t p tcp dport 80 drop",
        )
        yield made


def flood(lan: Site, count: int, per_second: int) -> subprocess.Popen[bytes]:
    """So many flows, begun."""
    (link,) = json.loads(lan.gateway.run("ip", "-j", "link", "show", "lan0"))
    words = (sys.executable, FLOOD, "eth0", link["address"], OURS, str(count), str(per_second))
    return subprocess.Popen(lan.stranger.command(*words))


def test_memory_stays_within_its_bound_with_a_full_flow_table(lan: Site) -> None:
    agent = lan.start()
    assert flood(lan, 110_000, 10_000).wait(patient(90)) == 0
    until(lambda: lan.ask("/status").json["totals"]["packets"] > 60_000, within_s=60)
    status = lan.ask("/status").json
    rows = Path(f"/proc/{agent.pid}/status").read_text().splitlines()
    peak = next(int(row.split()[1]) * 1024 for row in rows if row.startswith("VmHWM"))
    assert peak <= MOST_RSS_BYTES, status["drops"]
    assert status["flows_active"] > 40_000
    until(lambda: lan.events("alert"))


def test_above_capacity_whole_flows_are_left_out_and_it_recovers_by_itself(lan: Site) -> None:
    lan.config = "[capture]\nring_mib = 1\n"
    lan.start()
    flooding = flood(lan, 2_000_000, 0)
    try:
        until(lambda: lan.ask("/status").json["sampled"] < 1, within_s=60)
        until(lambda: lan.ask("/status").json["drops"]["packets_shed"], within_s=30)
        until(lambda: lan.ask("/score").json["score"]["confidence"] < 0.5)
    finally:
        flooding.terminate()
        flooding.wait(patient(10))
    assert any(one.startswith("one flow in 2 is looked at") for one in lan.notices("shedding"))
    until(lambda: lan.ask("/status").json["sampled"] == 1, within_s=90)
    until(lambda: lan.notices("shedding")[-1].startswith("every flow is looked at"))
    assert lan.events("alert"), "a flood is seen through a part of its flows as well"
