"""What a gateway costs with Fortress on it, and how soon an attacker is dropped.

`./dev bench gateway [--rounds N] [--attackers N]` measures in network namespaces (needs root) and
writes docs/performance-gateway.md; `--again` writes the page of the last run.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bench import machine
from bench.gateway_report import Costs, Flushed, Found, Pace, Reaction, Single, missed, page
from fortress.respond.block import Block, make_block
from fortress.respond.client import GuardClient
from fortress.verdict import Action
from tests.need import ROOT
from tests.net.house import ATTACKER, ATTACKER6_SITE, CAMERA, GUARD, LAPTOP, House, house
from tests.net.house_reaction import (
    Attack,
    attack,
    port_scan_attack,
    rounds,
    syn_flood_attack,
    witnessed,
)
from tests.net.house_traffic import OFFERED, serving, transfer

PAGE = ROOT / "docs" / "performance-gateway.md"
STORED = ROOT / ".cache" / "bench" / "gateway.json"
TRANSFER_S = 3.0
VICTIMS = (LAPTOP, CAMERA)
BETWEEN_S = 1.2  # no second of a victim holds two attackers
ADDS, RESTED, REST_S = 400, 100, 0.02
BATCH, BATCHES, CROWD, FEED, FLUSHES = 10_000, 3, 100_000, 100_000, 4
UNHURRIED = "[limits]\nautomatic_per_minute = 10000\n"
BOTH = 'backends = ["nftables", "xdp"]\n'


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="transfers of each kind")
    parser.add_argument("--attackers", type=int, default=100, help="rounds of each attack")
    parser.add_argument("--again", action="store_true", help="the page of the last run, no new one")
    parser.add_argument("--no-page", action="store_true", help="print, but write no page")
    options = parser.parse_args(words)
    if not options.again:
        STORED.unlink(missing_ok=True)
        STORED.parent.mkdir(parents=True, exist_ok=True)
        STORED.write_text(json.dumps(asdict(measure(options.rounds, options.attackers)), indent=1))
    found = kept()
    if found is None:
        print(f"bench gateway: nothing was measured yet ({STORED.name})", file=sys.stderr)
        return 1
    print(page(found))
    if not options.no_page:
        PAGE.write_text(page(found))
    for line in missed(found):
        print(f"bench gateway: not met: {line}", file=sys.stderr)
    return 1 if missed(found) else 0


def kept() -> Found | None:
    """What the last run found; None when there was none, or one of another form."""
    try:
        return Found.of(json.loads(STORED.read_text()))
    except (FileNotFoundError, KeyError, TypeError):
        return None


def measure(often: int, attackers: int) -> Found:
    """All of it; what is compared takes turns."""
    facts = machine.facts()
    paces = forwarding(often)
    reactions, megabytes = [], 0.0
    for kind in (syn_flood_attack(), port_scan_attack()):
        reaction, used = reacting(kind, attackers)
        reactions.append(reaction)
        megabytes = max(megabytes, used)
    return Found(facts, often, paces, reactions, blocking(), megabytes)


# ---- forwarding ----


@contextmanager
def nothing(home: House) -> Iterator[None]:
    """The gateway alone."""
    yield


@contextmanager
def guarded(home: House, config: str = GUARD) -> Iterator[None]:
    """A guard that blocks three."""
    home.config = config
    guard = home.start("--remove")
    home.block(ATTACKER, ATTACKER6_SITE, CAMERA)
    yield
    home.stop(guard)


@contextmanager
def watched(home: House, config: str = GUARD) -> Iterator[None]:
    """A guard that blocks three, and the agent on the LAN."""
    with guarded(home, config):
        agent = home.start_agent()
        yield
        home.stop_agent(agent)


@contextmanager
def gated(home: House) -> Iterator[None]:
    """The same, with the gate (XDP) on every port."""
    with watched(home, BOTH + GUARD):
        yield


SIDES: dict[str, Callable[[House], object]] = {
    "the gateway alone": nothing,
    "guard, 3 blocks": guarded,
    "guard and agent": watched,
    "guard and agent, XDP on": gated,
}


def forwarding(often: int) -> list[Pace]:
    """Bits a second through the gateway, paced and not, in turns."""
    seen: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in SIDES}
    for number in range(often):
        say(f"forwarding, round {number + 1} of {often}")
        for name, side in SIDES.items():
            with inside() as home, serving(home), side(home):  # type: ignore[attr-defined]
                back = ("-R",) if number % 2 else ()
                seen[name][0].append(sent(home, "-b", str(OFFERED), *back))
                seen[name][1].append(sent(home, *back))
    return [Pace(name, *taken) for name, taken in seen.items()]


def sent(home: House, *options: str) -> float:
    """Bits a second of one transfer; RuntimeError when it came to a stop."""
    done = transfer(home, TRANSFER_S, *options)
    if not done.never_stalled:
        raise RuntimeError(f"a transfer stalled: {done}")
    return done.bits_per_s


# ---- reaction ----


def reacting(kind: Attack, attackers: int) -> tuple[Reaction, float]:
    """How long attackers went on, one after the other, and the agent's largest RSS in MB."""
    with inside() as home:
        home.config += UNHURRIED
        home.start()
        agent = home.start_agent()
        home.settle()
        seconds, sent, arrived = [], 0, 0
        with witnessed(home, home.folder), ThreadPoolExecutor(len(VICTIMS)) as pool:
            for number in range(0, attackers, len(VICTIMS)):
                if number % 10 == 0:
                    say(f"{kind.name}, attacker {number + 1} of {attackers}")
                names = [f"198.19.{n >> 7}.{n & 127}" for n in range(number, number + len(VICTIMS))]
                list(pool.map(partial(attack, home, kind), names, VICTIMS))
                time.sleep(BETWEEN_S)
        for one in rounds(home.folder, kind):
            seconds.append(one.seconds)
            sent, arrived = sent + one.sent, arrived + one.arrived
        status = Path(f"/proc/{agent.pid}/status").read_text()
        megabytes = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        hits = min(home.hits().values(), default=0)
        return Reaction(kind.name, kind.enough, seconds, sent, arrived, hits), megabytes


# ---- blocking ----


def blocking() -> Costs:
    """What blocks cost through the guard's socket, with few and with many standing."""
    say("blocks through the guard's socket")
    with inside() as home:
        home.config += f"[limits]\nmost_blocks = 200000\n[feeds.list]\nmost = {FEED}\n"
        home.start()
        with home.client() as client:
            ones = [single(client, 0)]
            many = [crowd(client, 0, BATCH) / BATCH]
            ones.append(single(client, BATCH))
            many += [crowd(client, n * BATCH, BATCH) / BATCH for n in range(1, BATCHES)]
            texts = [block.target for block in blocks(0, FEED, 22)]
            feed = spent(lambda: client.load_feed("list", texts, 3600))
            client.load_feed("list", [], 3600)
            few = len(client.blocks())
            flushed = Flushed(few, [restored(home) for _ in range(FLUSHES)])
            hundred = crowd(client, BATCHES * BATCH, CROWD)
            ones.append(single(client, CROWD + BATCHES * BATCH))
            standing = few + CROWD + ADDS + RESTED
            crowded = Flushed(standing, [restored(home) for _ in range(FLUSHES)])
        return Costs(ones, many, hundred, feed, [flushed, crowded])


def single(client: GuardClient, standing: int) -> Single:
    """Seconds of adding one block after the other, and of one after a rest, beside so many."""
    first = standing + CROWD * 10  # addresses that no other block here has
    new = [blocks(n, 1, 20) for n in range(first, first + ADDS + RESTED)]
    gc.collect()
    gc.freeze()  # what the bench holds is not looked through while it is timed
    quick = [spent(partial(client.add, one, confirmed=True)) for one in new[:ADDS]]
    rested = []
    for one in new[ADDS:]:
        time.sleep(REST_S)
        rested.append(spent(partial(client.add, one, confirmed=True)))
    return Single(standing, quick, rested)


def crowd(client: GuardClient, first: int, count: int) -> float:
    """Seconds of adding so many in one transaction."""
    new = blocks(first, count, 21)
    return spent(partial(client.add, new, confirmed=True))


def restored(home: House) -> float:
    """Seconds from the flush of the ruleset to its return."""
    with home.client() as client:
        events = client.subscribe(wait_s=30)
        home.nft("flush ruleset")
        begun = time.perf_counter()
        next(event for event in events if event.kind == "restored")
        took = time.perf_counter() - begun
    time.sleep(0.5)
    return took


def blocks(first: int, count: int, network: int) -> list[Block]:
    """So many blocks of addresses that nobody has."""
    texts = (f"{network}.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in range(first, first + count))
    return [make_block(one, Action.BLOCK, 3600, why="a bench", origin="operator") for one in texts]


def spent(act: Callable[[], object]) -> float:
    """Seconds that it took."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


# ---- small things ----


@contextmanager
def inside() -> Iterator[House]:
    """A house whose files are gone with it."""
    with tempfile.TemporaryDirectory() as folder, house(Path(folder)) as home:
        yield home


def say(text: str) -> None:
    print(f"-- {text}", file=sys.stderr, flush=True)
