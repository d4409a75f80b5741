"""The agent keeps block lists fresh, from a web server to the kernel, and when that fails."""

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fortress.config.settings import Respond
from fortress.services.agent import lists
from fortress.services.agent.lists import JITTER, Lists, Pace
from tests.need import need
from tests.net.agents import Site, site, until
from tests.patience import patient
from tests.respond import list_site
from tests.respond.list_site import serving


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Site]:
    """A gateway with a guard that may load the list `drop`."""
    need("netns", "nft")
    with site(tmp_path) as made:
        made.start_guard("[feeds.drop]\nmost = 100\n")
        yield made


@pytest.fixture
def web(lan: Site) -> Iterator[list_site.Site]:
    """A web server on the gateway's loopback."""
    with contextlib.ExitStack() as stack:
        with lan.gateway.entered():
            made = stack.enter_context(serving())
        yield made


@contextlib.contextmanager
def keeping(
    lan: Site, web: list_site.Site, *, hour_s: float = 0.5, **settings: Any
) -> Iterator[Lists]:
    """The agent's part that keeps lists, with hours that are over soon; it asks every second."""
    known = {"mode": "enforce", "lists": {"drop": web.url}, "lists_every_hours": 2} | settings
    pace = Pace(hour_s, random.Random(7))
    kept = Lists(Respond(**known), lan.folder / "lists", lan.guard, pace)
    with lan.gateway.entered():
        kept.__enter__()
    try:
        yield kept
    finally:
        kept.__exit__(None, None, None)


def stands(lan: Site, text: str) -> bool:
    """Whether the kernel drops what a list names."""
    name = "feed_net4" if "/" in text else "feed_addr4"
    return text in lan.gateway.run("nft", "list", "set", "inet", "fortress", name)


def state(kept: Lists) -> tuple[str, str]:
    """What the sensor says."""
    return next(((row.state, row.reason) for row in kept.rows()), ("", ""))


def test_a_list_of_the_configuration_is_blocked_and_asked_for_again_when_it_is_time(
    lan: Site, web: list_site.Site
) -> None:
    with keeping(lan, web) as kept:
        until(lambda: stands(lan, "203.0.113.9"))
        assert stands(lan, "1.10.16.0/20")
        until(lambda: len(web.asked) >= 3)
        assert [one.get("If-None-Match") for one in web.asked[:3]] == [None, '"1"', '"1"']
        until(lambda: state(kept) == ("live", ""))
        assert dict(kept.rows()[0].facts) == {"drop": 4}
        web.etag, web.body = '"2"', web.body + b"192.0.2.99\n"
        until(lambda: stands(lan, "192.0.2.99"))


def test_the_last_good_list_stays_when_what_comes_is_implausible_and_it_is_asked_again_sooner(
    lan: Site, web: list_site.Site
) -> None:
    with keeping(lan, web, lists_every_hours=8) as kept:
        until(lambda: stands(lan, "203.0.113.9"))
        web.etag, web.body = '"2"', b"9.9.9.9\n"
        until(lambda: state(kept)[0] == "stale", 30)
        assert "shrunk from 4 to 1" in state(kept)[1]
        assert stands(lan, "203.0.113.9")
        assert not stands(lan, "9.9.9.9")
        web.body = list_site.NETSET.encode() + b"9.9.9.9\n"
        until(lambda: stands(lan, "9.9.9.9"), 3)
        until(lambda: state(kept) == ("live", ""))


def test_in_monitor_mode_a_list_is_fetched_and_not_blocked_until_the_mode_says_so(
    lan: Site, web: list_site.Site
) -> None:
    with keeping(lan, web, mode="monitor") as kept:
        until(lambda: len(web.asked) >= 2)
        assert not stands(lan, "203.0.113.9")
        kept.retune(Respond(mode="enforce", lists={"drop": web.url}, lists_every_hours=100))
        until(lambda: stands(lan, "203.0.113.9"))


def test_how_often_it_is_asked_is_what_lists_every_hours_says_and_a_little_chance(
    lan: Site, web: list_site.Site
) -> None:
    with keeping(lan, web, hour_s=0.1, lists_every_hours=168):
        until(lambda: stands(lan, "203.0.113.9"))
        with pytest.raises(AssertionError):
            until(lambda: len(web.asked) > 1, 0.7)
    pace = Pace(1.0, random.Random(7))
    times = [pace.after(100) - pace.after(0) for _ in range(200)]
    assert 100 * (1 - JITTER) - 1 < min(times) < 95 < 105 < max(times) < 100 * (1 + JITTER) + 1


def test_after_a_restart_a_list_that_stands_is_not_asked_for_at_once(
    lan: Site, web: list_site.Site
) -> None:
    with keeping(lan, web, lists_every_hours=24):
        until(lambda: stands(lan, "203.0.113.9"))
    asked = len(web.asked)
    with keeping(lan, web, lists_every_hours=24) as kept:
        until(lambda: state(kept) == ("live", ""))
        assert dict(kept.rows()[0].facts) == {"drop": 4}
        assert len(web.asked) == asked


def test_a_list_that_guard_toml_does_not_name_is_told_with_the_remedy(
    lan: Site, web: list_site.Site
) -> None:
    with keeping(lan, web, lists={"other": web.url}) as kept:
        until(lambda: state(kept)[0] == "stale")
        assert "add [feeds.other]" in state(kept)[1]


def test_a_guard_that_is_away_is_asked_when_it_is_there(lan: Site, web: list_site.Site) -> None:
    guard = lan.guards[-1]
    guard.terminate()
    guard.wait(patient(10))
    with keeping(lan, web) as kept:
        until(lambda: state(kept)[0] == "stale")
        lan.start_guard("[feeds.drop]\nmost = 100\n")
        until(lambda: stands(lan, "203.0.113.9"))
        until(lambda: state(kept) == ("live", ""))


def test_the_agent_does_it_by_its_configuration(lan: Site, web: list_site.Site) -> None:
    lan.config = f'[respond]\nmode = "confirm"\n[respond.lists]\ndrop = "{web.url}"\n'
    agent = lan.start()
    until(lambda: stands(lan, "203.0.113.9"))
    until(lambda: lan.sensor("lists")["state"] == "live")
    assert lan.sensor("lists")["facts"] == {"drop": 4}
    lan.stop(agent)
    assert list((lan.folder / "state" / "lists").iterdir())


def test_an_hour_is_one() -> None:
    assert Pace().hour_s == lists.HOUR_S == 3600
