"""A gateway forwards as before while its guard works, dies and comes back."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.need import need
from tests.net.guarded import blocked, pings, until
from tests.net.house import (
    ATTACKER,
    ATTACKER6_SITE,
    CAMERA,
    LAN,
    LAPTOP,
    SERVER,
    WAN,
    House,
    house,
)
from tests.net.house_traffic import LEAST_SHARE, Going, best_shares, operating, serving, syn_flood

PACED = ("-b", "2500M")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose server takes transfers, for all tests one after the other."""
    need("netns", "nft", "lab")
    with house(tmp_path_factory.mktemp("house")) as made, serving(made):
        yield made


@pytest.fixture
def home(built: House) -> Iterator[House]:
    """The house without a guard, and nobody at work."""
    yield built
    built.clear()


def test_a_transfer_goes_on_while_the_flooding_attacker_is_blocked(home: House) -> None:
    home.start()
    going = Going(home, 3, *PACED)
    with syn_flood(home, LAPTOP):
        time.sleep(0.5)
        home.block(ATTACKER, ATTACKER6_SITE, seconds=60)
        until(lambda: home.hits()[ATTACKER] > 100)
        assert not pings(home.stranger, LAPTOP)
        done = going.finish()
    assert done.never_stalled, done


def test_a_transfer_goes_on_while_a_hundred_thousand_are_blocked_and_the_ruleset_is_flushed(
    home: House,
) -> None:
    home.config += "[feeds.big]\nmost = 100000\n"
    home.start()
    texts = [f"100.{64 + (i >> 16)}.{i >> 8 & 255}.{i & 255}" for i in range(100_000)]
    going = Going(home, 6, *PACED)
    with home.client() as client:
        assert client.load_feed("big", texts, 3600).entries == 100_000
        home.nft("flush ruleset")
        until(lambda: client.status().restored, 30)  # a second, of a thousand
    done = going.finish()
    assert done.never_stalled, done
    until(lambda: "100.64.0.1" in home.nft("list ruleset"), 30)  # lists come after the rest


def test_routing_goes_on_when_the_guard_is_killed_and_starts_again(home: House) -> None:
    guard = home.start()
    home.block(ATTACKER, seconds=600)
    home.block(CAMERA, seconds=2)
    going = Going(home, 4)
    home.kill(guard)
    assert not pings(home.stranger, LAPTOP)
    until(lambda: pings(home.camera, SERVER))
    home.start()
    assert not pings(home.stranger, LAPTOP)
    with home.client() as client:
        assert [one.target for one in client.blocks()] == [ATTACKER]
    done = going.finish()
    assert done.never_stalled, done


def test_paced_transfers_keep_their_pace_with_a_guard_and_its_blocks(home: House) -> None:
    """At least 95 % of 2.5 Gbit/s, out, in and by IPv6, in one of some tries (neighbours)."""
    home.start()
    home.block(ATTACKER, ATTACKER6_SITE, CAMERA)
    assert best_shares(home) >= LEAST_SHARE


def test_an_operator_who_works_by_ssh_is_never_blocked(home: House, tmp_path: Path) -> None:
    home.config += "[protect]\nssh_login_grace_s = 0.5\n"
    home.start()
    with home.client() as client:
        assert client.add([blocked(LAPTOP, 60, origin="automatic")])[0].done
        client.remove([LAPTOP], "automatic")
    with operating(home, tmp_path):
        until(lambda: _is_spared(home), 30)
        with home.client() as client:
            for own in (LAPTOP, LAN, WAN):
                (outcome,) = client.add([blocked(own, 60, origin="automatic")])
                assert "is never blocked" in outcome.reason
        assert pings(home.laptop, SERVER)


def _is_spared(home: House) -> bool:
    """Whether the guard knows the operator; it looks around when an address of ours changes."""
    home.namespace.ip("addr replace 10.99.0.1/32 dev lo")
    home.namespace.ip("addr del 10.99.0.1/32 dev lo")
    time.sleep(0.3)
    with home.client() as client:
        return any(LAPTOP in one and "operator" in one for one in client.status().spared)


def test_masqueraded_stations_are_cut_off_from_a_blocked_stranger_too(home: House) -> None:
    home.masquerade()
    home.start()
    assert pings(home.laptop, ATTACKER)
    home.block(ATTACKER)
    assert not pings(home.laptop, ATTACKER)
    home.block(LAPTOP)
    assert not pings(home.laptop, SERVER)
    assert pings(home.camera, SERVER)
