"""The agent and the guard: ports from it, blocks by it, and life without it."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.need import need
from tests.net.agents import OURS, THEIRS, Site, site, until, wire
from tests.patience import patient

ENFORCE = '[respond]\nmode = "enforce"\n'


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Site]:
    """A gateway and a stranger on a wire."""
    need("netns", "nft", "lab")
    with site(tmp_path) as made:
        yield made


def scan(lan: Site) -> None:
    """nmap scans the gateway; once it is blocked nothing answers any more."""
    words = ("nmap", "-n", "-Pn", "-sS", "-T4", "--host-timeout", "3s", "-p", "1-1000", OURS)
    subprocess.run(
        lan.stranger.command(*words), check=False, capture_output=True, timeout=patient(60)
    )


def acts(lan: Site, outcome: str) -> list[dict[str, Any]]:
    """The block events with this outcome."""
    return [e["block"] for e in lan.events("block") if e["block"]["outcome"] == outcome]


def answers(lan: Site) -> bool:
    """Whether the gateway answers the stranger's ping."""
    words = lan.stranger.command("ping", "-n", "-c", "1", "-W", "1", OURS)
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def mac_of_the_stranger(lan: Site) -> str:
    (link,) = json.loads(lan.stranger.run("ip", "-j", "link", "show", "eth0"))
    return str(link["address"])


def test_in_monitor_mode_it_is_said_what_would_be_done_and_nothing_is(lan: Site) -> None:
    lan.start_guard()
    lan.start()
    scan(lan)
    until(lambda: acts(lan, "told"))
    (told,) = acts(lan, "told")
    assert (told["action"], told["mode"]) == ("BLOCK", "monitor")
    assert not lan.blocked()
    assert answers(lan)


def test_an_attacker_is_blocked_in_the_kernel_and_stays_so_without_the_agent(lan: Site) -> None:
    lan.start_guard()
    lan.config = ENFORCE
    agent = lan.start()
    assert answers(lan)
    scan(lan)
    until(lambda: acts(lan, "done"))
    assert not answers(lan)
    assert lan.blocked() == {acts(lan, "done")[0]["target"]}
    until(lambda: lan.ask("/blocks").json["blocks"])
    agent.kill()
    agent.wait(patient(10))
    assert not answers(lan), "the kernel keeps it"
    lan.start()
    until(lambda: lan.ask("/blocks").json["blocks"])
    assert len(acts(lan, "done")) == 1, "nothing was asked for twice"


def test_a_proposed_block_is_done_when_a_person_agrees(lan: Site) -> None:
    lan.start_guard()
    lan.config = '[respond]\nmode = "confirm"\n'
    lan.start()
    scan(lan)
    until(lambda: acts(lan, "asked"))
    target = acts(lan, "asked")[0]["target"]
    until(lambda: lan.ask("/blocks").json["blocks"])
    assert lan.ask("/blocks").json["blocks"][0]["state"] == "proposed"
    assert answers(lan)
    assert lan.ask("/blocks/confirm", "POST", {"target": target}).json["done"]
    until(lambda: acts(lan, "done"))
    assert not answers(lan)
    again = lan.ask("/blocks/confirm", "POST", {"target": target})
    assert again.status >= 400
    assert "no block is proposed" in again.body.decode()


def test_whom_the_configuration_spares_is_not_blocked(lan: Site) -> None:
    lan.start_guard()
    mac = mac_of_the_stranger(lan)
    lan.config = f'{ENFORCE}never = ["{mac}", "{THEIRS}"]\n'
    lan.start()
    scan(lan)
    until(lambda: acts(lan, "refused"))
    assert "never blocked" in acts(lan, "refused")[0]["reason"]
    assert not lan.blocked()


def test_without_a_guard_it_watches_and_what_it_wanted_is_done_when_one_comes(lan: Site) -> None:
    lan.config = ENFORCE
    lan.start()
    assert lan.sensor("guard")["state"] == "missing"
    scan(lan)
    until(lambda: acts(lan, "waiting"))
    assert lan.events("alert")
    lan.start_guard()
    until(lambda: acts(lan, "done"), within_s=40)
    assert len(acts(lan, "waiting")) == 1
    assert not answers(lan)
    until(lambda: lan.sensor("guard")["state"] == "live")


def test_a_guard_that_is_killed_and_comes_back_is_found_again_and_asked_nothing_twice(
    lan: Site,
) -> None:
    guard = lan.start_guard()
    lan.config = ENFORCE
    lan.start()
    scan(lan)
    until(lambda: acts(lan, "done"))
    guard.kill()
    guard.wait(patient(10))
    until(lambda: lan.sensor("guard")["state"] == "stale")
    assert not answers(lan)
    lan.start_guard()
    until(lambda: lan.sensor("guard")["state"] == "live", within_s=40)
    time.sleep(1)
    assert len(acts(lan, "done")) == 1
    told = [one for one in lan.notices("sensor") if one.startswith("guard is")]
    assert [one.split(":")[0] for one in told] == ["guard is stale", "guard is live"]


def test_the_agent_without_a_capability_has_its_ports_from_the_guard(lan: Site) -> None:
    lan.start_guard()
    words = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    agent = lan.begin_as(words)
    until(lambda: agent.poll() is not None or lan.state() == "running")
    assert "the guard" in lan.ask("/status").json["notes"][0]
    scan(lan)
    until(lambda: lan.events("alert"))
    lan.gateway.ip("link del lan0")
    until(lambda: lan.sensor("lan0")["state"] == "stale")
    wire(lan.gateway, lan.stranger)
    until(lambda: lan.sensor("lan0")["state"] == "live")
    before = lan.sensor("lan0")["facts"]["packets"]
    assert answers(lan)
    until(lambda: lan.sensor("lan0")["facts"]["packets"] > before)
