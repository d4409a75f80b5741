"""Our sides of the comparison: the floor, the core alone, and the whole program."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.build import ROOT, compiled, core_driver
from bench.versus import PROGRAMS, Count

PYTHON = ROOT / ".venv" / "bin" / "python"
FORTRESS = ROOT / ".venv" / "bin" / "fortress"
OFTEN = 5  # floor and core run so many times as often: they are short, and their ratio is tight
FLOOR_LIMIT = 1.1 * 255  # instructions a packet: 1.1 x what a bare loop took when the goal was set


@dataclass(frozen=True, slots=True)
class Side:
    """A way to run our own code; the command gets a capture and an empty folder."""

    name: str
    meaning: str
    command: Callable[[Path, Path], list[str | Path]]


@dataclass(frozen=True, slots=True)
class CoreCount:
    """What the core found in a capture, and what it took in calls and memory."""

    count: Count
    frames: int  # all packets of the file
    calls: int
    flows_peak: int
    memory_bytes: int


def floor(capture: Path, scratch: Path) -> list[str | Path]:
    return [compiled("floor"), capture]


def core_native(capture: Path, scratch: Path) -> list[str | Path]:
    return [core_driver(), capture]


def core(capture: Path, scratch: Path) -> list[str | Path]:
    return [PYTHON, PROGRAMS / "core_flows.py", capture]


def replay(capture: Path, scratch: Path) -> list[str | Path]:
    """What a user types to see what is in a capture, the summary included."""
    return [FORTRESS, "replay", capture]


def keep(capture: Path, scratch: Path) -> list[str | Path]:
    """The same with everything written down: the EVE file and a new SQLite store beside it.

    The target is set for features, detectors, model, score and alerts, hence for `replay`; what the
    two files cost beyond that is shown, and most of it is importing SQLAlchemy.
    """
    return [*replay(capture, scratch), "--out", scratch / "out"]


def start(capture: Path, scratch: Path) -> list[str | Path]:
    """A replay of the first ten packets: what starting costs."""
    few = capture.with_name(f"{capture.stem}-few.pcap")
    if not few.exists():
        subprocess.run(["editcap", "-F", "pcap", "-r", capture, few, "1-10"], check=True)
    return replay(few, scratch)


FLOOR = Side("floor", "bare parse-and-hash loop in C, `bench/floor.c`", floor)
NATIVE = Side("core", "capture → all flow columns, C driver", core_native)
PYTHONIC = Side("core in Python", "the same through `fortress_core`, with Python's start", core)
REPLAY = Side("fortress replay", "features, detectors, model, score, alerts, summary", replay)
KEEP = Side("fortress replay --out", "the same, into EVE file and store as well", keep)
START = Side("replay's start", "`fortress replay` of ten packets", start)
SIDES = (FLOOR, NATIVE, PYTHONIC, REPLAY, KEEP, START)


def count_floor(capture: Path) -> Count:
    """What the floor found; it has no time-outs, so its flows are 5-tuples."""
    done = subprocess.run([compiled("floor"), capture], capture_output=True, text=True, check=True)
    _, packets, flows, _ = map(int, done.stdout.split())
    return Count(packets, flows, flows)


def count_core(capture: Path) -> CoreCount:
    """What the core found, through `fortress_core`."""
    command = [*core(capture, Path()), "--count"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return CoreCount(
        Count(found["packets"], found["flows"], found["records"]),
        found["all_packets"],
        found["calls"],
        found["flows_peak"],
        found["memory_bytes"],
    )


def instructions(command: list[str | Path], scratch: Path) -> int:
    """How many instructions the command executes in user space, by callgrind."""
    words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch / 'callgrind'}"]
    done = subprocess.run(
        [*words, *command],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"LC_ALL": "C"},
    )
    found = re.search(r"Collected : (\d+)|refs:\s+([\d,]+)", done.stderr)
    assert found is not None, done.stderr
    return int((found[1] or found[2]).replace(",", ""))


def floor_instructions(capture: Path, scratch: Path) -> float:
    """Instructions a packet of the floor: four more passes over the first 100,000 packets."""
    part, passes = scratch / "part.pcap", 5
    subprocess.run(["editcap", "-F", "pcap", "-r", capture, part, "1-100000"], check=True)
    once, more = (instructions([compiled("floor"), part, str(n)], scratch) for n in (1, passes))
    return (more - once) / (passes - 1) / 100_000
