"""What the guard itself does not allow, whatever policy or agent ask for."""

import json
from pathlib import Path

import pytest

from fortress.errors import GuardError
from fortress.respond.backend import Place
from fortress.respond.guard import Guard
from fortress.respond.guard_settings import FeedRule, Limits, Protect
from fortress.respond.messages import LoadFeed, Remove
from fortress.respond.never_block import spare
from fortress.verdict import Action
from tests.respond.world import AGENT, GATEWAY, GATEWAY6, OURS, ROOT, Clock, Memory, world


@pytest.mark.parametrize(
    "target",
    [
        GATEWAY, GATEWAY6, "192.168.0.0/16", "0.0.0.0/0", "::/0", "127.0.0.1", "169.254.7.7",
        "224.0.0.251", "255.255.255.255", "::1", "fe80::1", "ff02::1", "ff:ff:ff:ff:ff:ff",
        "01:00:5e:00:00:fb", "00:00:00:00:00:00", "::ffff:192.168.1.1", "0.1.2.3",
    ],
)  # fmt: skip
@pytest.mark.parametrize(("asker", "origin"), [(ROOT, "operator"), (AGENT, "automatic")])
def test_precious_targets_are_refused_whoever_asks(
    tmp_path: Path, target: str, asker: object, origin: str
) -> None:
    here = world(tmp_path)
    refused = here.add(target, asker=asker, origin=origin)  # type: ignore[arg-type]
    assert list(refused) == [target]
    assert here.backend.entries == {}
    (line,) = [json.loads(one) for one in here.audit().splitlines() if '"refuse"' in one]
    assert (line["origin"], line["reason"]) == (origin, refused[target])


def test_the_users_own_list_is_never_blocked(tmp_path: Path) -> None:
    here = world(tmp_path, protect=Protect(never=("203.0.113.0/24",)))
    assert "protect.never" in here.add("203.0.113.7")["203.0.113.7"]
    assert "protect.never" in here.add("203.0.0.0/16")["203.0.0.0/16"]
    assert here.add("203.0.114.7") == {}


def test_automatic_blocks_are_counted_by_the_minute(tmp_path: Path) -> None:
    here = world(tmp_path, limits=Limits(automatic_per_minute=3))
    targets = [f"203.0.113.{i}" for i in range(5)]
    refused = here.add(*targets, asker=AGENT, origin="automatic")
    assert list(refused) == targets[3:]
    assert "more than 3 automatic blocks in a minute" in refused[targets[3]]
    assert here.add("203.0.113.200") == {}, "an operator has a budget of his own"
    here.clock.pass_time(59)
    assert here.add(targets[3], asker=AGENT, origin="automatic")
    here.clock.pass_time(2)
    assert here.add(targets[3], asker=AGENT, origin="automatic") == {}


def test_what_stands_already_costs_nothing_of_the_budget(tmp_path: Path) -> None:
    here = world(tmp_path, limits=Limits(automatic_per_minute=1))
    for _ in range(5):
        assert here.add("203.0.113.1", asker=AGENT, origin="automatic") == {}


@pytest.mark.parametrize(
    ("prefix", "allowed"),
    [
        ("203.0.113.0/24", True), ("203.0.112.0/23", False), ("8.0.0.0/8", False),
        ("2001:db8:7::/48", True), ("2001:db8:6::/47", False), ("2001:db8:7:1::/64", True),
    ],
)  # fmt: skip
def test_automatic_prefixes_are_narrow(tmp_path: Path, prefix: str, allowed: bool) -> None:
    here = world(tmp_path)
    refused = here.add(prefix, asker=AGENT, origin="automatic")
    assert (refused == {}) is allowed
    assert here.add(prefix) == {}, "an operator may"


def test_an_automatic_block_has_an_end_and_not_too_far(tmp_path: Path) -> None:
    here = world(tmp_path)
    for seconds in (None, 0.0, -1.0, 86_401.0):
        with pytest.raises(GuardError):
            here.add("203.0.113.1", asker=AGENT, origin="automatic", seconds=seconds)
    assert here.backend.entries == {}


def test_the_agent_is_no_operator(tmp_path: Path) -> None:
    here = world(tmp_path)
    with pytest.raises(GuardError, match="may not act as an operator"):
        here.add("203.0.113.1", asker=AGENT)
    with pytest.raises(GuardError, match="may not act as an operator"):
        here.guard.remove(Remove(("203.0.113.1",), "operator"), AGENT)
    with pytest.raises(GuardError, match="may not act as an operator"):
        here.guard.undo(AGENT)


def test_an_operators_block_is_not_changed_automatically(tmp_path: Path) -> None:
    here = world(tmp_path)
    here.add("203.0.113.1", seconds=30.0)
    assert here.add("203.0.113.1", asker=AGENT, origin="automatic", seconds=600.0) == {}
    assert here.guard.ledger.held["203.0.113.1"].left_s(here.clock.boot) == 30
    notes = here.guard.remove(Remove(("203.0.113.1",), "automatic"), AGENT).notes
    assert notes[0].reason == "was blocked by an operator"


def test_a_shorter_or_milder_automatic_block_changes_nothing(tmp_path: Path) -> None:
    here = world(tmp_path)
    here.add("203.0.113.1", asker=AGENT, origin="automatic", seconds=600.0)
    here.add("203.0.113.1", asker=AGENT, origin="automatic", seconds=60.0)
    here.add("203.0.113.1", asker=AGENT, origin="automatic", action=Action.LIMIT, seconds=60.0)
    held = here.guard.ledger.held["203.0.113.1"]
    assert (held.left_s(here.clock.boot), held.action) == (600, Action.BLOCK)
    here.add("203.0.113.1", asker=AGENT, origin="automatic", seconds=900.0)
    assert here.guard.ledger.held["203.0.113.1"].left_s(here.clock.boot) == 900


def test_who_was_unblocked_by_an_operator_has_an_hours_grace(tmp_path: Path) -> None:
    here = world(tmp_path)
    here.add("203.0.113.1", asker=AGENT, origin="automatic")
    here.guard.remove(Remove(("203.0.113.1",), "operator"), ROOT)
    assert "grace" in here.add("203.0.113.1", asker=AGENT, origin="automatic")["203.0.113.1"]
    assert here.guard.explain("203.0.113.1", "").pardoned_s == 3600
    here.clock.pass_time(3601)
    assert here.add("203.0.113.1", asker=AGENT, origin="automatic") == {}


def test_a_large_number_wants_confirmation(tmp_path: Path) -> None:
    here = world(tmp_path, limits=Limits(unconfirmed=10))
    targets = [f"203.0.113.{i}" for i in range(11)]
    with pytest.raises(GuardError, match="confirm the number"):
        here.add(*targets)
    assert here.backend.entries == {}
    assert here.add(*targets, confirmed=True) == {}
    assert len(here.backend.entries) == 11


def test_a_full_table_refuses_what_is_new_and_renews_what_stands(tmp_path: Path) -> None:
    here = world(tmp_path, limits=Limits(most_blocks=2))
    refused = here.add("203.0.113.1", "203.0.113.2", "203.0.113.3")
    assert refused == {"203.0.113.3": "203.0.113.3: 2 blocks stand already"}
    assert here.add("203.0.113.1", seconds=600.0) == {}


def test_what_the_kernel_refuses_is_neither_done_nor_remembered(tmp_path: Path) -> None:
    here = world(tmp_path)
    here.add("203.0.113.1", seconds=600.0)
    here.backend.refuses = True
    with pytest.raises(GuardError, match="the set is full"):
        here.add("203.0.113.1", "203.0.113.2", seconds=900.0)
    assert list(here.guard.ledger.held) == ["203.0.113.1"]
    assert here.guard.ledger.held["203.0.113.1"].left_s(here.clock.boot) == 600
    again = world(tmp_path, here.clock)
    assert list(again.backend.entries) == ["203.0.113.1"]


def test_of_two_backends_both_do_it_or_none(tmp_path: Path) -> None:
    here = world(tmp_path)
    second = type(here.backend)()
    here.guard.backends = (here.backend, second)
    second.refuses = True
    with pytest.raises(GuardError):
        here.add("203.0.113.1")
    assert here.backend.entries == {}
    here.add("203.0.113.2")
    assert list(here.backend.entries) == list(second.entries) == ["203.0.113.2"]


def test_undo_takes_adds_and_dels_back_in_order(tmp_path: Path) -> None:
    here = world(tmp_path)
    here.add("203.0.113.1", seconds=600.0)
    here.add("203.0.113.1", "203.0.113.2", action=Action.LIMIT)
    here.guard.remove(Remove(("203.0.113.2",), "operator"), ROOT)
    assert here.guard.undo(ROOT).targets == ("203.0.113.2",)
    assert here.backend.entries == {"203.0.113.1": Action.LIMIT, "203.0.113.2": Action.LIMIT}
    assert here.guard.undo(ROOT).targets == ("203.0.113.1", "203.0.113.2")
    assert here.backend.entries == {"203.0.113.1": Action.BLOCK}
    here.guard.undo(ROOT)
    assert here.backend.entries == {}
    with pytest.raises(GuardError, match="nothing to undo"):
        here.guard.undo(ROOT)


def test_undo_brings_back_nothing_that_is_over_or_precious_now(tmp_path: Path) -> None:
    here = world(tmp_path)
    here.add("203.0.113.1", "203.0.113.2", seconds=60.0)
    here.add("203.0.113.3", seconds=None)
    here.guard.remove(Remove(("203.0.113.1", "203.0.113.3"), "operator"), ROOT)
    here.clock.pass_time(61)
    here.guard.see([spare("203.0.113.3", "a default gateway")], OURS)
    here.guard.expire()
    notes = here.guard.undo(ROOT).notes
    assert "a default gateway" in notes[0].reason
    assert here.guard.ledger.held == {}


def test_a_list_that_guard_toml_does_not_name_or_that_is_too_long_is_refused(
    tmp_path: Path,
) -> None:
    here = world(tmp_path, feeds={"good": FeedRule(most=2)})
    with pytest.raises(GuardError, match=r"add \[feeds.bad\]"):
        here.guard.load_feed(LoadFeed("bad", ("203.0.113.1",), 60.0), AGENT)
    with pytest.raises(GuardError, match=r"raise feeds.good.most"):
        here.guard.load_feed(LoadFeed("good", ("1.1.1.1", "1.1.1.2", "1.1.1.3"), 60.0), AGENT)
    assert here.backend.feeds == {}


def test_a_list_loses_what_is_ours_and_keeps_the_rest(tmp_path: Path) -> None:
    here = world(tmp_path, feeds={"bogons": FeedRule()})
    refused = ("192.168.0.0/16", "192.168.1.77", "224.0.0.0/4", "0.0.0.0/0", "4.0.0.0/7", "what")
    texts = ("10.0.0.0/8", "203.0.113.5", "02:00:00:00:00:01", *refused)
    done = here.guard.load_feed(LoadFeed("bogons", texts, 3600.0), AGENT)
    assert (done.entries, done.refused) == (2, 7)
    assert here.guard.explain("10.9.8.7", "").feeds == ("bogons",)
    assert here.guard.explain("203.0.113.5", "").blocked
    again = world(tmp_path, here.clock, feeds={"bogons": FeedRule()})
    assert again.backend.feeds == {"bogons": 2}
    here.clock.pass_time(3601)
    assert world(tmp_path, here.clock, feeds={"bogons": FeedRule()}).backend.feeds == {}


def test_a_list_that_the_kernel_refuses_leaves_the_one_before(tmp_path: Path) -> None:
    here = world(tmp_path, feeds={"l": FeedRule()})
    here.guard.load_feed(LoadFeed("l", ("203.0.113.5",), 3600.0), AGENT)
    here.backend.refuses = True
    with pytest.raises(GuardError, match="full"):
        here.guard.load_feed(LoadFeed("l", ("203.0.113.6", "203.0.113.7"), 3600.0), AGENT)
    assert here.guard.explain("203.0.113.5", "").feeds == ("l",)
    assert here.guard.explain("203.0.113.6", "").feeds == ()


def test_who_becomes_precious_is_unblocked_and_told(tmp_path: Path) -> None:
    here = world(tmp_path)
    here.add("203.0.113.1", "203.0.113.0/25", "203.0.113.200")
    here.guard.see([spare("203.0.113.1", "a default gateway")], Place())
    assert list(here.backend.entries) == ["203.0.113.200"]
    assert [one.target for one in here.told if one.kind == "unblocked"] == [
        "203.0.113.1",
        "203.0.113.0/25",
    ]


def test_a_list_loses_who_becomes_precious_and_gets_him_back(tmp_path: Path) -> None:
    here = world(tmp_path, feeds={"l": FeedRule()})
    here.guard.load_feed(LoadFeed("l", ("203.0.113.5", "203.0.113.6"), 3600.0), AGENT)
    here.guard.see([spare("203.0.113.5", "a default gateway")], OURS)
    assert here.backend.feeds == {"l": 1}
    here.guard.see([], OURS)
    assert here.backend.feeds == {"l": 2}


def test_who_is_precious_at_the_start_is_not_blocked_from_the_state_file(tmp_path: Path) -> None:
    here = world(tmp_path)
    here.add("203.0.113.1", "203.0.113.2")
    again = Guard(here.settings, [backend := Memory(refuses=False)], here.clock.clocks)
    backend.refuses = True  # there are no tables to change before the first rebuild
    again.see([spare("203.0.113.1", "a default gateway")], OURS)
    backend.refuses = False
    again.rebuild("start")
    assert list(backend.entries) == ["203.0.113.2"]


def test_ends_are_told(tmp_path: Path) -> None:
    here = world(tmp_path)
    here.add("203.0.113.1", seconds=60.0)
    here.clock.pass_time(60)
    here.guard.expire()
    assert here.told[-1].kind == "expired"
    assert here.guard.blocks().blocks == ()
    assert '"expired"' in here.audit()


def test_a_prefix_is_not_quarantined(tmp_path: Path) -> None:
    here = world(tmp_path)
    assert (
        "not quarantined" in here.add("203.0.113.0/24", action=Action.QUARANTINE)["203.0.113.0/24"]
    )
    assert here.add("2001:db8:9::/64", action=Action.QUARANTINE) == {}


def test_a_guard_whose_disk_is_full_blocks_all_the_same_and_says_so(tiny_disk: Path) -> None:
    here = world(tiny_disk)
    (tiny_disk / "ballast").write_bytes(b"x" * (400 << 10))
    more = [f"203.{i >> 8}.{i & 255}.1" for i in range(3000)]
    assert here.add(*more, confirmed=True) == {}
    assert len(here.backend.entries) == 3000
    troubles = here.guard.status().troubles
    assert any("No space left" in one for one in troubles)
    assert any("audit lines could not be written" in one for one in troubles)


def test_after_a_reboot_ends_are_counted_by_the_wall_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world(tmp_path)
    here.add("203.0.113.1", seconds=600.0)
    here.add("203.0.113.2", seconds=30.0)
    monkeypatch.setattr("fortress.respond.ledger.boot_id", lambda: "another boot")
    later = world(tmp_path, Clock(boot=5.0, wall=here.clock.wall + 100))
    (held,) = later.guard.ledger.held.values()
    assert held.left_s(5.0) == pytest.approx(500, abs=0.01)
