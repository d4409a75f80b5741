"""The hot paths take no more instructions than recorded (+ 5 %)."""

import json
from collections.abc import Callable

import pytest

from tests.instructions import count
from tests.need import need

ROOM = 1.05
RECORDED = json.loads(count.RECORDED.read_text())


NEEDS = {
    "blocks": ("valgrind", "netns", "nft"),
    "gate": ("valgrind", "bpf"),
    "tap": ("valgrind", "bpf"),
}


@pytest.mark.parametrize(("part", "now"), count.PARTS.items())
def test_no_step_takes_more_instructions_than_recorded(
    part: str, now: Callable[[], dict[str, float]]
) -> None:
    need(*NEEDS.get(part, ("valgrind",)))
    if count.compiler() != RECORDED["gcc"]:
        pytest.skip(f"counts were recorded with gcc {RECORDED['gcc']}")
    counts = now()
    grown = {
        name: f"{counts[name]:,} now, {recorded:,} recorded"
        for name, recorded in RECORDED[part].items()
        if counts[name] > ROOM * recorded
    }
    assert not grown, "a regression, or record again: python -m tests.instructions"


def test_costs_are_added_up_by_source_file(tmp_path: object) -> None:
    out = tmp_path / "callgrind.out"  # type: ignore[operator]
    out.write_text(
        "fl=/a/stream.c\nfn=next\n10 5\nfi=/a/parse.h\n3 7\nfe=/a/stream.c\n11 2\n"
        "cfn=other\ncalls=4 30\n12 1000\n13 1\n"
    )
    assert count.by_file(out) == {"/a/stream.c": 8, "/a/parse.h": 7}
