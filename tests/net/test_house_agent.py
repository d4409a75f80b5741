"""A gateway with the agent and the guard in it: who attacks is cut off, everybody else is not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.need import need
from tests.net.guarded import CAMERA_MAC, pings, until
from tests.net.house import (
    ATTACKER,
    ATTACKER6_SITE,
    CAMERA,
    CAMERA6,
    LAN,
    LAPTOP,
    LAPTOP6,
    LAPTOP_MAC,
    LAPTOP_SITE,
    SERVER,
    SERVER6,
    WAN,
    House,
    house,
)
from tests.net.house_reaction import attack, port_scan_attack, rounds, syn_flood_attack, witnessed
from tests.net.house_traffic import (
    LEAST_SHARE,
    Going,
    best_shares,
    everyday,
    forging_flood,
    internet,
    operating,
    running,
    serving,
    syn_flood,
)
from tests.net.namespace import Namespace
from tests.patience import patient

CUT_OFF_S = 15.0  # a tenth of a second is what it takes; neighbours may have the machine


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose server takes transfers, for all tests one after the other."""
    need("netns", "nft", "lab")
    with house(tmp_path_factory.mktemp("house")) as made, serving(made):
        yield made


@pytest.fixture
def home(built: House) -> Iterator[House]:
    """The house with a guard that knows nothing yet, and nobody else at work."""
    built.start()
    yield built
    built.clear()


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minute]:
    """Everyday life in another house, which goes on beside the tests that ask for it."""
    need("netns", "nft", "lab")
    folder = tmp_path_factory.mktemp("everyday")
    with house(folder) as made, serving(made), internet(made, folder):
        made.start()
        made.start_agent("enforce", "br-lan", "wan0")
        with Minute(made, folder) as going:
            yield going


class Minute:
    """A minute of everyday life, in a thread."""

    def __init__(self, made: House, folder: Path) -> None:
        self.house, self._folder = made, folder
        self._done: Future[dict[str, int]] = Future()
        self._thread = Thread(target=self._live)

    def done(self) -> dict[str, int]:
        """How often each deed worked, when the minute is over; what went wrong is raised."""
        return self._done.result(timeout=patient(180))

    def __enter__(self) -> Minute:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _live(self) -> None:
        try:
            self._done.set_result(everyday(self.house, self._folder, 60))
        except BaseException as error:
            self._done.set_exception(error)


def test_paced_transfers_keep_their_pace_with_the_agent_on(home: House) -> None:
    """At least 95 % of 2.5 Gbit/s, out, in and by IPv6, in one of some tries (neighbours)."""
    home.start_agent()
    assert best_shares(home) >= LEAST_SHARE


def flooding4(home: House) -> AbstractContextManager[object]:
    """hping3 asks the laptop for connections."""
    return syn_flood(home, LAPTOP)


def flooding6(home: House) -> AbstractContextManager[object]:
    """nping asks the laptop for connections, by IPv6."""
    words = ("-6", "--tcp", "--flags", "syn", "-p", "80", "--rate", "2000", "-c", "60000", "-N")
    return running(home.stranger, "nping", *words, "-q", LAPTOP6)


def scanning4(home: House) -> AbstractContextManager[object]:
    """nmap tries the laptop's ports."""
    return running(home.stranger, "nmap", "-n", "-Pn", "-sS", "-p", "1-3000", "-T4", LAPTOP)


def scanning6(home: House) -> AbstractContextManager[object]:
    """nmap tries the laptop's ports, by IPv6."""
    return running(home.stranger, "nmap", "-6", "-n", "-Pn", "-sS", "-p", "1-3000", "-T4", LAPTOP6)


@pytest.mark.parametrize(
    ("attacking", "target", "detector", "six"),
    [
        (flooding4, ATTACKER, "syn_flood", False),
        (scanning4, ATTACKER, "port_scan", False),
        (flooding6, ATTACKER6_SITE, "syn_flood", True),
        (scanning6, ATTACKER6_SITE, "port_scan", True),
    ],
    ids=["SYN flood", "nmap", "SYN flood by IPv6", "nmap by IPv6"],
)
def test_an_attacker_is_cut_off_while_the_transfer_goes_on(
    home: House,
    attacking: Callable[[House], AbstractContextManager[object]],
    target: str,
    detector: str,
    six: bool,
) -> None:
    home.start_agent()
    victim = LAPTOP6 if six else LAPTOP
    going = Going(home, 5, "-b", "1000M", six=six)
    with attacking(home):
        until(lambda: home.blocked().get(target) == "automatic", CUT_OFF_S)
        until(lambda: not pings(home.stranger, victim), CUT_OFF_S)
    done = going.finish()
    assert done.never_stalled, done
    assert home.blocked() == {target: "automatic"}, "nobody else"
    assert detector in {event["alert"]["detector"] for event in home.events("alert")}
    assert pings(home.laptop, SERVER6 if six else SERVER)


def test_a_station_that_poisons_arp_is_cut_off_by_its_mac(home: House) -> None:
    home.start_agent()
    words = ("arpspoof", "-i", "eth0", "-t", LAPTOP, LAN)
    until(lambda: pings(home.camera, LAPTOP) and pings(home.laptop, LAN))
    with running(home.camera, *words):
        until(lambda: CAMERA_MAC in home.cut_off(), 2 * CUT_OFF_S)
    home.laptop.ip("neigh flush all")
    until(lambda: pings(home.laptop, SERVER))
    assert not pings(home.camera, LAPTOP)


def test_in_monitor_mode_nobody_is_blocked_and_it_is_told_who_would_be(home: House) -> None:
    home.start_agent("monitor")
    with syn_flood(home, LAPTOP):
        until(lambda: ("told", ATTACKER, "BLOCK") in _acts(home), CUT_OFF_S)
        time.sleep(0.5)
    assert home.blocked() == {}
    assert pings(home.stranger, LAPTOP)


def _acts(home: House) -> set[tuple[str, str, str]]:
    acts = [event["block"] for event in home.events("block")]
    return {(one["outcome"], one["target"], one["action"]) for one in acts}


def test_routing_goes_on_and_blocks_end_on_time_when_the_agent_is_killed(home: House) -> None:
    agent = home.start_agent()
    with syn_flood(home, LAPTOP):
        until(lambda: ATTACKER in home.blocked(), CUT_OFF_S)
    home.block(ATTACKER, seconds=4)  # as the agent's stands for minutes
    going = Going(home, 6, "-b", "2500M")
    agent.kill()
    agent.wait()
    assert not pings(home.stranger, LAPTOP)
    until(lambda: pings(home.stranger, LAPTOP))
    done = going.finish()
    assert done.never_stalled, done
    assert home.blocked() == {}
    home.start_agent()
    with syn_flood(home, LAPTOP, "-a", "198.19.0.1"):
        until(lambda: "198.19.0.1" in home.blocked(), CUT_OFF_S)


def test_an_agent_finds_the_guard_again_that_was_killed(home: House) -> None:
    home.start_agent()
    with syn_flood(home, LAPTOP):
        until(lambda: ATTACKER in home.blocked(), CUT_OFF_S)
    going = Going(home, 6, "-b", "2500M")
    home.kill(home.guards[-1])
    assert not pings(home.stranger, LAPTOP)
    home.start()
    assert home.blocked() == {ATTACKER: "automatic"}
    assert not pings(home.stranger, LAPTOP)
    with syn_flood(home, LAPTOP, "-a", "198.19.0.1"):
        until(lambda: "198.19.0.1" in home.blocked(), 2 * CUT_OFF_S)
    done = going.finish()
    assert done.never_stalled, done


def test_attackers_are_dropped_soon_after_what_is_too_much(home: House, tmp_path: Path) -> None:
    """Within ten times what the bench promises (bench/test_reaction.py): 5 s of a 500 ms p99."""
    home.start_agent()
    for kind in (syn_flood_attack(), port_scan_attack()):
        folder = tmp_path / kind.name
        folder.mkdir()
        with witnessed(home, folder):
            for number in range(3):
                attack(home, kind, f"198.19.{kind.enough}.{number}")
        seen = rounds(folder, kind)
        assert len(seen) == 3
        assert all(one.arrived < one.sent and math.isfinite(one.seconds) for one in seen), seen
        assert all(one.seconds <= 5 for one in seen), seen


@pytest.mark.usefixtures("minute")
def test_whoever_forges_the_gateways_address_does_not_block_the_gateway(home: House) -> None:
    home.start_agent("enforce", "br-lan", "wan0")
    with _forging(home.stranger, WAN, CAMERA):
        until(lambda: _forged(home), CUT_OFF_S)
    with _forging(home.camera, LAN, SERVER):
        until(lambda: CAMERA_MAC in home.cut_off(), CUT_OFF_S)  # frames tell who it was
    assert {one["source"] for one in _forged(home)} == {WAN}
    assert not {LAN, WAN} & home.blocked().keys()
    assert pings(home.laptop, LAN)
    assert pings(home.laptop, SERVER)


@pytest.mark.usefixtures("minute")
@pytest.mark.parametrize("interfaces", [("br-lan",), ("br-lan", "wan0"), ("wan0",)], ids="+".join)
def test_who_forges_a_stations_address_outside_does_no_harm_to_the_station(
    home: House, interfaces: tuple[str, ...]
) -> None:
    """Nothing is done about the station, by address or MAC, nor thought of it; the rest goes on."""
    home.start_agent("enforce", *interfaces)
    home.settle()
    going = Going(home, 4, "-b", "100M"), Going(home, 4, "-b", "100M", port=5202, six=True)
    with (
        forging_flood(home.stranger, LAPTOP, CAMERA, seconds=4),
        forging_flood(home.stranger, LAPTOP6, CAMERA6, seconds=4),
    ):
        assert all(one.finish().never_stalled for one in going)
    if "wan0" in interfaces:
        until(lambda: _forged(home), CUT_OFF_S)
        told = _forged(home)[-1]
        assert told["interface"] == "wan0"
        assert (told["source"], told["target"]) in ((LAPTOP, CAMERA), (LAPTOP6, CAMERA6))
        assert told["mac"] != LAPTOP_MAC
    assert home.blocked() == {}
    verdicts = {event["verdict"]["target"] for event in home.events("verdict")}
    assert not {LAPTOP, LAPTOP6, LAPTOP_MAC, LAPTOP_SITE} & verdicts
    assert pings(home.laptop, SERVER)
    assert pings(home.laptop, SERVER6)


@pytest.mark.usefixtures("minute")
@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_who_forges_another_stations_address_is_cut_off_and_not_that_station(
    home: House, six: bool
) -> None:
    """While the station itself is busy with the same target, on the same port."""
    source, target = (LAPTOP6, SERVER6) if six else (LAPTOP, SERVER)
    home.start_agent("enforce", "br-lan", "wan0")
    home.settle()
    going = Going(home, 5, "-b", "50M", six=six)
    with forging_flood(home.camera, source, target, port=5201, seconds=6):
        until(lambda: CAMERA_MAC in home.cut_off(), CUT_OFF_S)
    assert home.blocked() == {CAMERA_MAC: "automatic"}, home.events("verdict")
    assert going.finish().never_stalled
    (alert, *_) = home.events("alert")
    assert alert["src_mac"] == CAMERA_MAC
    assert pings(home.laptop, SERVER6 if six else SERVER)


@pytest.mark.usefixtures("minute")
def test_whoever_forges_the_operators_address_does_not_block_the_operator(
    home: House, tmp_path: Path
) -> None:
    home.stop(home.guards[-1])
    home.config += "[protect]\nssh_login_grace_s = 0.5\n"
    home.start()
    with operating(home, tmp_path):
        home.start_agent("enforce", "br-lan", "wan0")
        until(lambda: any("operator" in one for one in _spared(home)))
        with _forging(home.stranger, LAPTOP, CAMERA):
            until(lambda: _forged(home), CUT_OFF_S)
            time.sleep(1)
        assert home.blocked() == {}
        assert pings(home.laptop, SERVER)


def _forged(home: House) -> list[dict[str, Any]]:
    """What the agent told of addresses of ours that came from outside."""
    notices = [event["notice"] for event in home.events("notice")]
    return [one for one in notices if one["kind"] == "forged"]


def _forging(place: Namespace, address: str, victim: str) -> AbstractContextManager[object]:
    """A flood of SYNs in somebody else's name."""
    words = ("-S", "-p", "22", "-i", "u500", "-q", "-n", "-a", address, victim)
    return running(place, "hping3", *words)


def _spared(home: House) -> tuple[str, ...]:
    with home.client() as client:
        return client.status().spared


def test_a_minute_of_everyday_life_blocks_nobody(minute: Minute) -> None:
    done, home = minute.done(), minute.house
    assert min(done.values()) >= 5, done
    assert home.blocked() == {}
    assert home.events("alert") == []
