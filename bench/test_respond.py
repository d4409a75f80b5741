"""What a block costs through the guard's socket: a real guard, real nftables, in a namespace."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fortress.respond.block import Block, make_block
from fortress.respond.client import GuardClient
from fortress.verdict import Action
from tests.need import need
from tests.net.guarded import Gateway, gateway

MANY, CROWD = 10_000, 100_000
_guard: list[Path] = []


def spent_s() -> float:
    """CPU seconds of guard and client together: neighbours do not count."""
    guard_ns = int(_guard[0].read_text().split()[0]) if _guard else 0
    return time.process_time() + guard_ns / 1e9


pytestmark = pytest.mark.benchmark(timer=spent_s)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a guard that holds nothing yet."""
    need("netns", "nft")
    with gateway(tmp_path_factory.mktemp("bench")) as made:
        made.config += "[limits]\nautomatic_per_minute = 10000\nmost_blocks = 200000\n"
        made.config += "[feeds.list]\nmost = 200000\n"
        made.start("--remove")
        with made.client() as client:
            _guard[:] = [Path(f"/proc/{client.status().pid}/schedstat")]
        yield made


@pytest.fixture
def guard(home: Gateway) -> Iterator[GuardClient]:
    """A connection to the guard, which holds nothing."""
    with home.client() as client:
        yield client
        standing = [one.target for one in client.blocks()]
        if standing:
            client.remove(standing)


def blocks(first: int, count: int, network: str = "203") -> list[Block]:
    """So many blocks of addresses that nobody has."""
    texts = (f"{network}.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in range(first, first + count))
    return [make_block(one, Action.BLOCK, 3600, why="a bench", origin="operator") for one in texts]


@pytest.mark.parametrize("standing", [0, MANY, CROWD])
def test_one_block_is_added(benchmark: object, guard: GuardClient, standing: int) -> None:
    if standing:
        guard.add(blocks(0, standing, "204"), confirmed=True)
    numbers = itertools.count()

    def add() -> None:
        (outcome,) = guard.add(blocks(next(numbers), 1), confirmed=True)
        assert outcome.done

    benchmark.pedantic(add, rounds=400, warmup_rounds=20)  # type: ignore[attr-defined]


def test_one_device_is_added_to_both_tables(benchmark: object, guard: GuardClient) -> None:
    numbers = itertools.count()

    def add() -> None:
        i = next(numbers)
        mac = f"02:00:00:00:{i >> 8:02x}:{i & 255:02x}"
        block = make_block(mac, Action.BLOCK, 3600, why="a bench", origin="operator")
        assert guard.add([block], confirmed=True)[0].done

    benchmark.pedantic(add, rounds=400, warmup_rounds=20)  # type: ignore[attr-defined]


def test_many_blocks_are_added_in_one_transaction(benchmark: object, guard: GuardClient) -> None:
    numbers = itertools.count(0, MANY)

    def new() -> tuple[tuple[list[Block]], dict[str, object]]:
        return (blocks(next(numbers), MANY),), {}

    def add(new_ones: list[Block]) -> None:
        assert all(one.done for one in guard.add(new_ones, confirmed=True))

    benchmark.pedantic(add, setup=new, rounds=4)  # type: ignore[attr-defined]


def test_a_hundred_thousand_blocks_are_added_in_one_transaction(
    benchmark: object, guard: GuardClient
) -> None:
    new = blocks(0, CROWD, "206")

    def add() -> None:
        assert all(one.done for one in guard.add(new, confirmed=True))

    benchmark.pedantic(add, rounds=1)  # type: ignore[attr-defined]


def test_a_list_of_a_hundred_thousand_is_loaded(benchmark: object, guard: GuardClient) -> None:
    texts = [f"205.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in range(100_000)]

    def load() -> None:
        assert guard.load_feed("list", texts, 3600).entries == len(texts)

    benchmark.pedantic(load, rounds=3)  # type: ignore[attr-defined]
    guard.load_feed("list", [], 3600)


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize("standing", [1000, CROWD])
def test_a_flushed_ruleset_is_restored(
    benchmark: object, home: Gateway, guard: GuardClient, standing: int
) -> None:
    guard.add(blocks(0, standing), confirmed=True)

    def flush_and_wait() -> None:
        with home.client() as listening:
            events = listening.subscribe(wait_s=10)
            home.nft("flush ruleset")
            next(event for event in events if event.kind == "restored")

    benchmark.pedantic(  # type: ignore[attr-defined]
        flush_and_wait,
        setup=lambda: time.sleep(0.3),  # the guard restores at most three times a second
        rounds=3,
    )
