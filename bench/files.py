"""`./dev bench file`: measures Fortress against its rivals and writes docs/performance.md.

It needs ../shared; `pytest bench --benchmark-only` runs on the samples.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench import captures, machine, ours, parts, report
from bench.agreement import check
from bench.measure import Usage, interleave, spend
from bench.results import Measured, Results, store, stored
from bench.versus import Rival, dpkt, nfdump, nfstream, softflowd, suricata
from tests.need import ROOT, lack

RIVALS = (softflowd.RIVAL, nfdump.RIVAL, suricata.RIVAL, nfstream.RIVAL, dpkt.RIVAL)
PAGE = ROOT / "docs" / "performance.md"
STORED = ROOT / ".cache" / "bench" / "results.json"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench file", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="runs of each fast contender")
    parser.add_argument("--capture", choices=[recipe.name for recipe in captures.RECIPES])
    parser.add_argument("--rival", action="append", help="only this one; repeat for several")
    parser.add_argument("--no-page", action="store_true", help="print, but write no page")
    parser.add_argument("--again", action="store_true", help="the page of the last run, no new one")
    options = parser.parse_args(words)
    if options.again:
        PAGE.write_text(report.page(stored(STORED)))
        return 0
    if (missing := lack("shared")) is not None:
        print(f"bench: {missing}; `.venv/bin/pytest bench --benchmark-only` needs only the samples")
        return 1
    rivals, absent = installed(options.rival)
    results = measure(options.rounds, options.capture, rivals, absent)
    store(results, STORED)
    page = report.page(results)
    print(page)
    if not options.no_page:
        PAGE.write_text(page)
    return 0


def installed(wanted: list[str] | None) -> tuple[dict[Rival, str], dict[str, str]]:
    """The rivals that are there with their versions, and why the others are not."""
    present: dict[Rival, str] = {}
    absent: dict[str, str] = {}
    for rival in RIVALS:
        if wanted and rival.name not in wanted:
            continue
        try:
            present[rival] = rival.version()
        except FileNotFoundError as error:
            absent[rival.name] = f"{error.filename} is not installed"
    return present, absent


def measure(
    rounds: int, only: str | None, rivals: dict[Rival, str], absent: dict[str, str]
) -> Results:
    """Everything, in order: instructions of the floor, agreement, then time."""
    recipes = [recipe for recipe in captures.RECIPES if only in (None, recipe.name)]
    files = {recipe.name: captures.build(recipe) for recipe in recipes}
    with tempfile.TemporaryDirectory() as scratch:
        path = next(iter(files.values()))
        instructions = ours.floor_instructions(path, Path(scratch))
    if instructions > ours.FLOOR_LIMIT:
        raise SystemExit(f"the floor takes {instructions:.0f} instructions a packet: not lean")
    measured = [
        measure_capture(recipe, files[recipe.name], rounds, list(rivals)) for recipe in recipes
    ]
    return Results(
        machine=machine.facts(),
        rounds=rounds,
        floor_instructions=instructions,
        versions={rival.name: version for rival, version in rivals.items()},
        absent=absent,
        captures=measured,
        bytes_a_flow=parts.bytes_a_flow(list(files.values())[-1]),
        parts=parts.all_parts(list(files.values())[-1]),
    )


def measure_capture(
    recipe: captures.Recipe, path: Path, rounds: int, rivals: list[Rival]
) -> Measured:
    """Agreement on one capture, then the CPU time of every contender in one interleaved run."""
    say(f"{recipe.name}: counting")
    counted, agreements = check(path, rivals)
    say(f"{recipe.name}: timing")
    run(ours.KEEP.command, path)  # untimed: afterwards there is bytecode of all it imports
    runs: dict[str, Callable[[], Usage]] = {}
    turns: dict[str, int] = {}
    for side in ours.SIDES:
        often = ours.OFTEN if side in (ours.FLOOR, ours.NATIVE) else 1
        runs[side.name], turns[side.name] = partial(run, side.command, path), often * rounds
    for rival in rivals:
        runs[rival.name] = partial(run, rival.command, path)
        turns[rival.name] = min(rounds, rival.rounds)
    return Measured(
        name=recipe.name,
        meaning=recipe.meaning,
        file_bytes=path.stat().st_size,
        counted=counted,
        agreements=agreements,
        timings=interleave(runs, turns),
    )


def run(command: Callable[[Path, Path], list[str | Path]], capture: Path) -> Usage:
    with tempfile.TemporaryDirectory() as scratch:
        return spend(command(capture, Path(scratch)), Path(scratch))


def say(text: str) -> None:
    print(f"-- {text}", file=sys.stderr, flush=True)
