"""What the guard writes by netlink is what it would write as text."""

import random
from collections.abc import Iterator, Sequence

import pytest

from fortress.respond import nft_rules
from fortress.respond.backend import Change, Desired, Entry, Feed, Place
from fortress.respond.block import parse_target
from fortress.respond.libnftables import Nft, NftError
from fortress.respond.nft_rules import Layout, LimitRates
from fortress.respond.nftables import NftBackend
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
