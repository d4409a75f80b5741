"""A guard that blocks with XDP, beside nftables or alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fortress.verdict import Action
from tests.need import need
from tests.net.guarded import CAMERA, LAPTOP, OTHER, STRANGER, Gateway, gateway, pings, until

BOTH = 'backends = ["nftables", "xdp"]\nwan_ports = ["wan0"]\n'
ALONE = 'backends = ["xdp"]\nwan_ports = ["wan0"]\n'


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway without a guard, with a WAN port that takes XDP."""
    need("netns", "bpf")
    with gateway(tmp_path) as made:
        made.config = ""
        until(lambda: pings(made.laptop, STRANGER))
        yield made


def attached(home: Gateway) -> bool:
    """Whether there is an XDP program on the WAN port."""
    return "prog/xdp" in home.namespace.run("ip", "link", "show", "wan0")


def test_the_gate_is_attached_while_it_holds_an_entry(home: Gateway) -> None:
    home.config = BOTH
    guard = home.start()
    assert not attached(home)
    home.block(STRANGER)
    assert attached(home)
    with home.client() as client:
        client.remove([STRANGER])
        assert not attached(home)
        home.block(STRANGER, seconds=4.0)
        assert attached(home)
        until(lambda: not attached(home))
        assert client.status().troubles == ()
    home.stop(guard)


@pytest.mark.parametrize("config", [BOTH, ALONE])
def test_a_stranger_is_dropped_and_counted(home: Gateway, config: str) -> None:
    home.config = config
    home.start()
    home.block(STRANGER)
    assert not pings(home.stranger, LAPTOP, count=3)
    assert pings(home.laptop, OTHER)
    with home.client() as client:
        (standing,) = client.blocks()
    assert standing.hits is not None
    assert standing.hits >= 3


def test_alone_it_drops_lists_and_refuses_quarantine(home: Gateway) -> None:
    home.config = ALONE + "[feeds.small]\nmost = 10\n"
    home.start()
    with home.client() as client:
        client.load_feed("small", [STRANGER], 3600)
        assert not pings(home.stranger, LAPTOP)
        client.load_feed("small", [], 3600)
        assert pings(home.stranger, LAPTOP)
        with pytest.raises(Exception, match="quarantine needs the nftables backend"):
            home.block(CAMERA, action=Action.QUARANTINE)
        assert client.blocks() == ()


@pytest.mark.parametrize("backends", [ALONE, ""], ids=["xdp", "nftables"])
@pytest.mark.parametrize(("burst_s", "least", "most"), [(1, 5, 24), (8, 40, 60)])
def test_a_limited_stranger_may_do_a_little_and_burst_s_of_it_at_once(
    home: Gateway, backends: str, burst_s: int, least: int, most: int
) -> None:
    """A hundred pings take two seconds and a little: the burst, and five in each of these."""
    home.config = f"{backends}[rates]\nicmp_per_s = 5\nburst_s = {burst_s}\n"
    home.start()
    home.block(STRANGER, action=Action.LIMIT)
    assert least <= pings(home.stranger, LAPTOP, count=100) <= most


def test_what_a_killed_guard_left_attached_is_replaced(home: Gateway) -> None:
    home.config = BOTH
    guard = home.start()
    home.block(STRANGER, seconds=600)
    home.kill(guard)
    assert attached(home)
    assert not pings(home.stranger, LAPTOP)
    home.start("--remove")
    with home.client() as client:
        assert client.status().troubles == ()
        client.remove([STRANGER])
    assert not attached(home)
    assert pings(home.stranger, LAPTOP)
