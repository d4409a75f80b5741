"""What the settings of [respond] make of verdicts: acts of a real guard, in the kernel."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fortress.config.settings import Respond
from fortress.services.agent.acts import Acts
from fortress.verdict import Act, Action, Verdict
from tests.need import need
from tests.net.agents import FORTRESS, Site, site, until
from tests.net.guarded import blocked

HOST, OTHER = "203.0.113.9", "203.0.113.10"


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Site]:
    """A gateway with a guard."""
    need("netns", "nft")
    with site(tmp_path) as made:
        made.start_guard()
        yield made


@contextmanager
def acting(lan: Site, **settings: Any) -> Iterator[Callable[..., Act]]:
    """What the agent's part that acts makes of a verdict, with these settings."""
    acts = Acts(Respond(**{"mode": "enforce"} | settings), lan.guard)

    def of(host: str = HOST, action: Action = Action.BLOCK) -> Act:
        ns = time.time_ns()
        told = acts.decide([verdict(ns, host, action)], ns)
        until(lambda: told.extend(acts.heard()) or told)
        return told[0]

    try:
        yield of
    finally:
        acts.close()


def verdict(ns: int, host: str, action: Action) -> Verdict:
    """A verdict that ends so soon that the policy's own time holds."""
    return Verdict(ns, action, host, "addr", ns + 10**9, "a test", (7,))


def left_s(lan: Site, host: str = HOST) -> float:
    """For how long the kernel yet drops a host's packets."""
    table = lan.gateway.run("nft", "-j", "list", "map", "inet", "fortress", "addr4")
    (found,) = [one["map"] for one in json.loads(table)["nftables"] if "map" in one]
    elements = [key["elem"] for key, _ in found.get("elem", [])]
    return max((one["expires"] for one in elements if one["val"] == host), default=0.0)


def test_a_first_and_a_second_offence_last_as_long_as_steps_minutes_say(lan: Site) -> None:
    with acting(lan, steps_minutes=(0.03, 90)) as of:
        assert (of().offence, 0 < left_s(lan) <= 2) == (1, True)
        until(lambda: not lan.blocked())
        assert (of().offence, 5390 < left_s(lan) <= 5400) == (2, True)


def test_an_operators_pardon_makes_the_next_offence_the_first_again(lan: Site) -> None:
    """Whoever `fortress block del` names is left alone for a while, and then begins anew."""
    with acting(lan, steps_minutes=(0.03, 60, 1440)) as of:
        assert [_offence_of(lan, of) for _ in range(2)] == [1, 2]
        guard_toml = ("--guard-config", lan.folder / "guard.toml")
        lan.gateway.run(FORTRESS, "block", "del", HOST, *guard_toml)
        assert not left_s(lan)
        time.sleep(2.5)  # the guard is asked every two seconds
        told = of()
        assert (told.outcome, told.offence) == ("refused", 1)
        assert "an operator unblocked it" in told.reason


def _offence_of(lan: Site, of: Callable[..., Act]) -> int:
    told = of()
    assert told.outcome == "done"
    if told.offence == 1:
        until(lambda: not lan.blocked())
    return told.offence


@pytest.mark.parametrize(
    ("least", "acted_upon"),
    [
        ("limit", ["LIMIT", "BLOCK"]),
        ("block", ["BLOCK"]),
        ("quarantine", []),
    ],
)
def test_milder_verdicts_than_least_are_not_acted_upon(
    lan: Site, least: str, acted_upon: list[str]
) -> None:
    acts = Acts(Respond(mode="enforce", least=least), lan.guard)
    ns = time.time_ns()
    verdicts = [verdict(ns, HOST, Action.LIMIT), verdict(ns, OTHER, Action.BLOCK)]
    told = acts.decide(verdicts, ns)
    until(lambda: told.extend(acts.heard()) or len(told) == len(acted_upon))
    acts.close()
    assert [one.action.name for one in told] == acted_upon
    assert len(lan.blocked()) == len(acted_upon)


@pytest.mark.parametrize(("on_stop", "stays"), [("keep", {HOST, OTHER}), ("remove", {OTHER})])
def test_on_stop_automatic_blocks_are_kept_or_removed_and_an_operators_stay(
    lan: Site, on_stop: str, stays: set[str]
) -> None:
    with lan.client() as guard:
        guard.add([blocked(OTHER)])
    with acting(lan, on_stop=on_stop) as of:
        assert of().outcome == "done"
        assert lan.blocked() == {HOST, OTHER}
    assert lan.blocked() == stays
    assert bool(left_s(lan)) == (HOST in stays)


def test_whom_never_names_is_refused_before_the_guard_is_asked(lan: Site) -> None:
    with acting(lan, never=("203.0.113.0/28",)) as of:
        told = of()
        assert told.outcome == "refused"
        assert "respond.never" in told.reason
    assert not lan.blocked()
