"""What the guard writes by netlink is what it would write as text."""

import random
import select
from collections.abc import Iterator, Sequence

import pytest

from fortress.respond import nft_rules
from fortress.respond.backend import Change, Desired, Entry, Feed, Place
from fortress.respond.block import parse_target
from fortress.respond.libnftables import Nft, NftError
from fortress.respond.nft_rules import Layout, LimitRates
from fortress.respond.nftables import NftBackend
from fortress.respond.watch import TableWatch
from fortress.verdict import Action
from tests.need import need
from tests.net.namespace import Namespace, new_namespace

ACTIONS = (None, Action.LIMIT, Action.BLOCK, Action.QUARANTINE)


@pytest.fixture
def spaces() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces with a port each."""
    need("netns", "nft")
    with new_namespace() as one, new_namespace() as other:
        for space in (one, other):
            space.veth("lan0", "peer")
        yield one, other


def backend_in(space: Namespace, most: int = 1000) -> NftBackend:
    """A backend whose sockets are of the namespace."""
    with space.entered():
        return NftBackend(Layout(LimitRates(), most))


def random_changes(rng: random.Random, known: dict[str, Action | None]) -> list[Change]:
    """Changes of random targets; `known` follows."""
    changes = []
    for text in rng.sample(sorted(known), 12):
        after = rng.choice(ACTIONS)
        left_s = rng.choice([None, 1000.0, 2000.0]) if after else None
        changes.append(Change(parse_target(text), known[text], after, left_s))
        known[text] = after
    return changes


def held(backend: NftBackend) -> dict[str, tuple[Action, bool]]:
    """What stands, and whether it has an end."""
    return {one.target.text: (one.action, one.left_s is None) for one in backend.standing()}


def test_netlink_and_text_leave_the_same_elements(
    spaces: tuple[Namespace, Namespace], seed: int
) -> None:
    rng = random.Random(seed)
    texts = [f"192.168.7.{i}" for i in range(9)] + [f"2001:db8::{i:x}" for i in range(9)]
    texts += [f"2001:db8:{i}::/64" for i in range(9)] + [f"02:00:00:00:00:0{i}" for i in range(9)]
    known: dict[str, Action | None] = {parse_target(text).text: None for text in texts}
    place = Place(("lan0",), (), (parse_target("192.168.7.0/24"),))
    one, other = (backend_in(space) for space in spaces)
    with spaces[1].entered():
        nft = Nft()
    for backend in (one, other):
        backend.rebuild(Desired(place=place))
    for _ in range(20):
        changes: Sequence[Change] = random_changes(rng, known)
        one.apply(changes, lambda: ())
        if text := nft_rules.changed(changes, lambda: (), place):
            nft.run(text)
        assert held(one) == held(other)
    wanted = {text: action for text, action in known.items() if action}
    assert {text: action for text, (action, _) in held(one).items()} == wanted
    for family in ("inet", "netdev"):
        listed = [_stable(space.run("nft", "-s", "list", "table", family, "fortress"))
                  for space in spaces]  # fmt: skip
        assert listed[0] == listed[1]
    nft.close()
    for backend in (one, other):
        backend.close(keep=False)


@pytest.mark.parametrize("left_s", [0.001, 59.5, 100_000.0, 31_536_000.0])
def test_a_time_of_any_length_is_written_by_rebuilding_too(
    spaces: tuple[Namespace, Namespace], left_s: float
) -> None:
    backend = backend_in(spaces[0])
    target = parse_target("203.0.113.0/24")
    feed = Feed("list", (parse_target("198.51.100.7"),), left_s)
    backend.rebuild(Desired((Entry(target, Action.BLOCK, left_s),), (feed,)))
    left = [one.left_s for one in backend.standing()]
    if left_s > 1:
        assert left == [pytest.approx(left_s, abs=5)]
    backend.close(keep=False)


def test_thousands_come_with_their_own_times_and_change_them(
    spaces: tuple[Namespace, Namespace], seed: int
) -> None:
    """More than fit into one message, of every kind of key, with an end and without."""
    rng = random.Random(seed)
    backend = backend_in(spaces[0], most=5000)
    backend.rebuild(Desired(place=Place(("lan0",), (), ())))
    texts = [f"198.18.{i >> 8}.{i & 255}" for i in range(1001)]
    texts += [f"2001:db8::{i:x}" for i in range(1, 502)] + [
        f"2001:db8:{i:x}::/64" for i in range(1, 402)
    ]
    texts += [f"02:00:00:00:{i >> 8:02x}:{i & 255:02x}" for i in range(1, 502)]
    before: Action | None = None
    for action in (Action.BLOCK, Action.LIMIT, Action.QUARANTINE):
        wanted = {text: rng.choice([None, rng.uniform(100.0, 1e6)]) for text in texts}
        changes = [Change(parse_target(t), before, action, left) for t, left in wanted.items()]
        backend.apply(changes, lambda: ())
        found = {one.target.text: one for one in backend.standing()}
        assert found.keys() == wanted.keys()
        assert {one.action for one in found.values()} == {action}
        for text, left_s in wanted.items():
            seen = found[text].left_s
            assert seen is None if left_s is None else seen == pytest.approx(left_s, abs=15)
        before = action
    backend.close(keep=False)


def test_what_was_flushed_is_back_with_times_prefixes_and_devices(
    spaces: tuple[Namespace, Namespace],
) -> None:
    backend = backend_in(spaces[0])
    place = Place(("lan0",), (), (parse_target("192.168.7.0/24"),))
    texts = {"203.0.113.9": 500.0, "192.168.7.5": None, "203.0.113.0/27": 700.0}
    texts |= {"2001:db8:7::/64": 60.0, "02:00:00:00:00:09": 900.0}
    entries = tuple(Entry(parse_target(text), Action.BLOCK, s) for text, s in texts.items())
    backend.rebuild(Desired(entries, (), place))
    made = backend.standing()
    spaces[0].run("nft", "flush", "ruleset")
    assert backend.standing() == ()
    backend.rebuild(Desired(entries, (), place))
    for standing in (made, backend.standing()):
        left = {one.target.text: one.left_s for one in standing}
        assert left == {text: s and pytest.approx(s, abs=10) for text, s in texts.items()}
    local = spaces[0].run("nft", "list", "table", "netdev", "fortress")
    assert "192.168.7.5" in local
    assert "02:00:00:00:00:09" in local
    assert "203.0.113.9" not in local
    backend.close(keep=False)


def test_our_own_changes_wake_nobody_and_those_of_others_do(
    spaces: tuple[Namespace, Namespace],
) -> None:
    backend = backend_in(spaces[0])
    with spaces[0].entered():
        watch = TableWatch()
    backend.rebuild(Desired())
    assert watch.touched(backend.ports) == (False, False)
    many = [Change(parse_target(f"203.0.113.{i}"), None, Action.BLOCK, 60.0) for i in range(9)]
    backend.apply(many, lambda: ())
    backend.rebuild(Desired())
    assert not select.select([watch], [], [], 0)[0]
    spaces[0].run("nft", "add", "element", "inet", "fortress", "addr4", "{ 203.0.113.99 : drop }")
    assert select.select([watch], [], [], 5)[0]
    assert watch.touched(backend.ports) == (True, False)
    watch.close()
    backend.close(keep=False)


def test_a_full_set_is_refused_whole_and_says_so(spaces: tuple[Namespace, Namespace]) -> None:
    backend = backend_in(spaces[0], most=4)
    backend.rebuild(Desired())
    changes = [Change(parse_target(f"203.0.113.{i}"), None, Action.BLOCK, 60.0) for i in range(9)]
    with pytest.raises(NftError, match="the set is full"):
        backend.apply(changes, lambda: ())
    assert backend.standing() == ()
    backend.apply(changes[:4], lambda: ())
    assert len(backend.standing()) == 4
    backend.close(keep=False)


def _stable(listing: str) -> list[str]:
    """The words of a listing in order, without times that differ by when they were read."""
    words = listing.replace(",", " ").split()
    timed = [i for i, word in enumerate(words) if word == "expires"]
    return sorted(word for i, word in enumerate(words) if i not in timed and i - 1 not in timed)
