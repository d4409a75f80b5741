"""What capture costs on a wire: packets a second without loss, CPU added to no capture at all.

`./dev bench live [--rounds N] [--reader NAME …]` measures in a network namespace of its own (needs
root) and writes docs/performance-live.md; `--again` writes the page of the last run. The readers
take turns. What the agent needs in memory and time is taken from the last `./dev bench gateway`.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench import gateway, machine
from bench.live_readers import READERS, Reader
from bench.live_report import Found, missed, page
from bench.live_traffic import AT_RATE, RATES, Run, elephants, long_flows, small_packets
from tests.need import ROOT

PAGE = ROOT / "docs" / "performance-live.md"
STORED = ROOT / ".cache" / "bench" / "live.json"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench live", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reader", action="append", choices=list(READERS))
    parser.add_argument("--again", action="store_true", help="the page of the last run, no new one")
    parser.add_argument("--no-page", action="store_true", help="print, but write no page")
    options = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and clean up
    if options.again:
        found = Found.of(json.loads(STORED.read_text()))
    else:
        found = measure(options.reader or list(READERS), options.rounds)
        STORED.parent.mkdir(parents=True, exist_ok=True)
        STORED.write_text(json.dumps(asdict(found), indent=1))
    written = page(found, gateway.kept())
    print(written)
    if not options.no_page:
        PAGE.write_text(written)
    for line in missed(found):
        print(f"bench live: not met: {line}", file=sys.stderr)
    return 1 if missed(found) else 0


def measure(names: list[str], rounds: int) -> Found:
    """All readers in turns: their runs, and the highest rate of each without loss."""
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        lossless = {name: without_loss(READERS[name], scratch) for name in names}
        runs = [run for _, tried in lossless.values() for run in tried]
        for number in range(rounds):
            print(f"-- live, round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            for reader in (None, *(READERS[name] for name in names)):
                runs.append(small_packets(reader, AT_RATE, scratch))
                runs.append(long_flows(reader, scratch))
                if not (reader and reader.takes_all):
                    runs.append(elephants(reader, scratch))
    return Found(facts, rounds, {name: best for name, (best, _) in lossless.items()}, runs)


def without_loss(reader: Reader, scratch: Path) -> tuple[int, list[Run]]:
    """The highest rate that came about without a loss in one of two tries, and all runs."""
    print(f"-- live, {reader.name} without loss", file=sys.stderr, flush=True)
    runs: list[Run] = []
    best = 0
    for rate in RATES:
        tried = []
        for _ in range(2):
            tried.append(small_packets(reader, rate, scratch))
            if tried[-1].seen == tried[-1].sent:
                best = max(best, round(tried[-1].sent / tried[-1].seconds))
                break
        runs += tried
        if tried[-1].seen != tried[-1].sent:
            break
    return best, runs
