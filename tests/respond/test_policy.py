"""Verdicts become acts: whom, for how long, and whether to tell, to ask or to do."""

from typing import Any

import pytest

from fortress.respond.policy import MOST_OFFENDERS, Mode, Policy, PolicySettings, target_of
from fortress.verdict import Action, Verdict

NOW = 1_700_000_000.0


def verdict(
    target: str = "203.0.113.9", action: Action = Action.BLOCK, at: float = NOW, lasts: float = 300
) -> Verdict:
    """A verdict as fuse makes it."""
    return Verdict(
        int(at * 1e9), action, target, "address", int((at + lasts) * 1e9), "scans us", (7,)
    )


def policy(mode: Mode = Mode.ENFORCE, **known: Any) -> Policy:
    """A policy that acts."""
    return Policy(PolicySettings(mode, **known))


def test_by_default_it_only_says_what_it_would_do() -> None:
    (decision,) = Policy().decide([verdict()], NOW)
    assert decision.act == "tell"
    assert decision.sentence() == "would block 203.0.113.9 for 600 s: scans us"


@pytest.mark.parametrize(
    ("mode", "act"), [("monitor", "tell"), ("confirm", "ask"), ("enforce", "do")]
)
def test_the_mode_says_what_becomes_of_a_decision(mode: str, act: str) -> None:
    (decision,) = policy(Mode(mode)).decide([verdict()], NOW)
    assert decision.act == act
    block = decision.block
    assert (block.target, block.kind, block.action) == ("203.0.113.9", "addr", Action.BLOCK)
    assert (block.origin, block.why, block.signatures) == ("automatic", "scans us", (7,))


@pytest.mark.parametrize("action", [Action.PASS, Action.WATCH])
def test_what_is_only_watched_is_not_acted_upon(action: Action) -> None:
    assert policy().decide([verdict(action=action)], NOW) == ()


def test_who_offends_again_is_blocked_for_longer() -> None:
    rules, now, lasted = policy(), NOW, []
    for _ in range(4):
        (decision,) = rules.decide([verdict(at=now)], now)
        lasted.append(decision.block.seconds)
        now = decision.until_s + 60
    assert lasted == [600, 3600, 86_400, 86_400]


def test_quiet_days_take_steps_back() -> None:
    rules, now = policy(), NOW
    for _ in range(3):
        (decision,) = rules.decide([verdict(at=now)], now)
        now = decision.until_s + 1
    now = decision.until_s + 86_400
    (decision,) = rules.decide([verdict(at=now)], now)
    assert decision.offence == 3
    now = decision.until_s + 5 * 86_400
    (decision,) = rules.decide([verdict(at=now)], now)
    assert (decision.offence, decision.block.seconds) == (1, 600)


def test_the_same_offence_is_not_counted_twice() -> None:
    rules = policy()
    rules.decide([verdict()], NOW)
    assert rules.decide([verdict(at=NOW + 10, lasts=60)], NOW + 10) == ()
    (renewed,) = rules.decide([verdict(at=NOW + 500, lasts=900)], NOW + 500)
    assert (renewed.offence, renewed.block.seconds) == (1, 900)


def test_a_stronger_verdict_acts_at_once() -> None:
    rules = policy()
    rules.decide([verdict(action=Action.LIMIT)], NOW)
    (decision,) = rules.decide([verdict(action=Action.BLOCK, at=NOW + 1)], NOW + 1)
    assert (decision.offence, decision.block.action) == (1, Action.BLOCK)


def test_a_block_lasts_at_least_as_long_as_its_verdict() -> None:
    (decision,) = policy().decide([verdict(lasts=3600)], NOW)
    assert decision.block.seconds == 3600


def test_a_person_agrees_once_and_while_it_is_time() -> None:
    rules = policy(Mode.CONFIRM)
    (asked,) = rules.decide([verdict()], NOW)
    assert rules.waiting(NOW + 1) == (asked,)
    agreed = rules.agree("203.0.113.9", NOW + 1)
    assert agreed is not None
    assert agreed.act == "do"
    assert rules.agree("203.0.113.9", NOW + 1) is None
    rules.decide([verdict("203.0.113.10")], NOW)
    assert rules.agree("203.0.113.10", NOW + 601) is None


def test_who_is_forgiven_begins_anew() -> None:
    rules = policy()
    rules.decide([verdict()], NOW)
    rules.forgive("203.0.113.9")
    (decision,) = rules.decide([verdict(at=NOW + 1)], NOW + 1)
    assert decision.offence == 1


def test_what_was_refused_counts_as_no_offence() -> None:
    rules = policy()
    rules.decide([verdict()], NOW)
    rules.refused("203.0.113.9")
    (decision,) = rules.decide([verdict(at=NOW + 500, lasts=900)], NOW + 500)
    assert decision.offence == 1
    rules.refused("203.0.113.9")
    now = decision.until_s + 1
    (decision,) = rules.decide([verdict(at=now)], now)
    assert (decision.offence, decision.block.seconds) == (1, 600)


def test_memory_of_offenders_is_bounded_and_loses_the_oldest() -> None:
    rules = policy()
    for i in range(MOST_OFFENDERS + 10):
        rules.decide([verdict(f"203.{i >> 8}.{i & 255}.9", at=NOW + i)], NOW + i)
    assert len(rules._offenders) == MOST_OFFENDERS
    assert "203.0.9.9" not in rules._offenders


@pytest.mark.parametrize(
    ("host", "macs", "target"),
    [
        ("203.0.113.9", {}, "203.0.113.9"),
        ("192.168.1.7", {}, "192.168.1.7"),
        ("192.168.1.7", {"192.168.1.7": "02:00:00:00:00:07"}, "02:00:00:00:00:07"),
        ("2001:db8:1:2::9", {}, "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", {"2001:db8:1:2::9": "02:00:00:00:00:07"}, "02:00:00:00:00:07"),
        ("fd00::9", {}, "fd00::9"),
        ("2001:db8:1:2::/64", {}, "2001:db8:1:2::/64"),
        ("02:00:00:00:00:07", {}, "02:00:00:00:00:07"),
    ],
)
def test_a_host_is_blocked_by_what_it_cannot_change(
    host: str, macs: dict[str, str], target: str
) -> None:
    found = target_of(host, macs)
    assert found is not None
    assert found.text == target


def test_a_host_that_is_none_is_left_alone() -> None:
    assert policy().decide([verdict("printer.local")], NOW) == ()


def test_steps_must_be_times() -> None:
    for steps in ((), (0.0,), (600.0, -1.0)):
        with pytest.raises(ValueError, match="steps_s"):
            policy(steps_s=steps)
