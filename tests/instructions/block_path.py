"""Runs the way of a block through the guard under callgrind: block_path.py MARKS.so FOLDER.

In a network namespace of its own, with real nftables: a request as bytes, judged, written, told to
the kernel, audited and answered. Each step runs once uncounted, so that what is made at first use
is there.
"""

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from fortress.respond import messages
from fortress.respond.guard import Guard
from fortress.respond.guard_settings import GuardSettings, Limits
from fortress.respond.judge import Asker
from fortress.respond.nft_rules import Layout, LimitRates
from fortress.respond.nftables import NftBackend
from fortress.verdict import Action

ONES, BATCH, MOST = 100, 10_000, 100_000
ASKER = Asker(0, os.getpid(), True)


def main(library: str, folder: Path) -> None:
    marks = ctypes.CDLL(library)
    gc.disable()  # as in the guard's loop
    backend = NftBackend(Layout(LimitRates(), MOST))
    settings = replace(
        GuardSettings(),
        state=folder,
        audit=folder / "audit.jsonl",
        limits=Limits(most_blocks=MOST, unconfirmed=MOST),
    )
    guard = Guard(settings, [backend])
    guard.rebuild("start")
    fresh = addresses()

    def one() -> Callable[[], None]:
        asked = [request([next(fresh)]) for _ in range(ONES)]
        return lambda: [serve(guard, data) for data in asked] and None

    def batch() -> Callable[[], None]:
        asked = request([next(fresh) for _ in range(BATCH)])
        return lambda: serve(guard, asked)

    def restored() -> Callable[[], None]:
        backend._nft.run("flush ruleset")
        return lambda: guard.rebuild("flushed")

    for step in (one, batch, restored):
        step()()
        act = step()
        marks.count_begin()
        act()
        marks.count_end(step.__name__.encode())
    print(len(guard.ledger.held), len(backend.standing()))


def addresses() -> Iterator[str]:
    """Addresses that nobody has."""
    return (f"203.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in count())


def request(targets: list[str]) -> bytes:
    """What the client sends."""
    group = messages.Group(Action.BLOCK, 3600.0, "counted", "operator", tuple(targets))
    return messages.encode_request(messages.Add((group,), confirmed=True))


def serve(guard: Guard, data: bytes) -> None:
    """What the server does with it."""
    asked = messages.decode_request(data)
    assert isinstance(asked, messages.Add)
    messages.encode_answer(guard.add(asked, ASKER))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
