"""Conversations of every shared capture, against tshark and NFStream, but for listed exceptions."""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from fortress_core import open_capture

from tests.golden import by_nfstream
from tests.golden.conversations import (
    Conversations,
    differences,
    of_core,
    of_tshark,
    spell,
)
from tests.need import need
from tests.shared_data import captures

TABLE = tomllib.loads(Path(__file__).with_name("exceptions.toml").read_text())
TIMES_ONLY = {"tshark": ("stamps",), "nfstream": ("clock",)}


def allowed(against: str) -> dict[str, dict[str, Any]]:
    return {one["capture"]: one for one in TABLE["exception"] if one["against"] == against}


def compared(against: str, theirs: Callable[[Path], Conversations], in_ms: bool) -> list[str]:
    """What is wrong: differences without an exception, exceptions without a difference."""
    wrong: list[str] = []
    listed = allowed(against)
    for name, path in every_capture().items():
        ours = of_core(path)
        found = differences(rounded(ours) if in_ms else ours, theirs(path))
        entry = listed.pop(name, {"conversations": 0, "why": ""})
        if len(found) != entry["conversations"]:
            shown = "; ".join(f"{spell(key)}: {pair}" for key, pair in list(found.items())[:3])
            wrong.append(f"{name}: {len(found)}, listed {entry['conversations']}: {shown}")
        elif entry["why"] in TIMES_ONLY[against]:
            wrong += [
                f"{name}: {spell(key)}: more than times differ"
                for key, (own, their) in found.items()
                if not own or not their or (own.packets, own.bytes) != (their.packets, their.bytes)
            ]
    return wrong + [f"{name}: listed, but there is no such capture" for name in listed]


@cache
def every_capture() -> dict[str, Path]:
    return {f"{one.path.parent.name}/{one.path.name}": one.path for one in captures()}


def rounded(conversations: Conversations) -> Conversations:
    """NFStream's times are whole milliseconds."""
    return {
        key: replace(
            one,
            first_ns=one.first_ns // 10**6 * 10**6,
            last_ns=one.last_ns // 10**6 * 10**6,
        )
        for key, one in conversations.items()
    }


def test_conversations_are_those_of_tshark() -> None:
    need("shared", "tshark")
    assert compared("tshark", of_tshark, in_ms=False) == []


def test_conversations_are_those_of_nfstream() -> None:
    need("shared", "rivals")
    paths = list(every_capture().values())
    found = dict(zip(paths, by_nfstream.of_nfstream(paths), strict=True))
    assert compared("nfstream", found.__getitem__, in_ms=True) == []


def test_every_exception_has_a_reason_and_a_difference() -> None:
    for one in TABLE["exception"]:
        assert TABLE["reasons"][one["against"]][one["why"]]
        assert one["conversations"] > 0


def test_captures_that_cannot_be_read_to_their_end_are_told_of() -> None:
    need("shared")
    told = []
    for name, path in every_capture().items():
        with open_capture([path], flow_columns=["proto"]) as stream:
            for _ in stream:
                pass
            told += [
                {"capture": name, "offset": one.offset, "message": one.message}
                for one in stream.damages()
            ]
    assert told == TABLE["damage"]
