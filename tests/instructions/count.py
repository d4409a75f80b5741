"""Counts instructions with callgrind: of the core by what its code is for, of feature steps, of a
block's way through the guard, of a frame's way through gate and tap.

A count does not depend on how busy the machine is. It does on compiler, C library and processor
features; the first is recorded beside the counts, calls into the second are left out, and
valgrind shows every program the same processor.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from fortress_core import StreamOptions, open_capture

from bench.build import core_driver
from fortress.qsecbit import Pipeline
from tests.instructions import block_path
from tests.need import ROOT

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.json"
SAMPLE = ROOT / "samples" / "attack_day.pcap.zst"
TICKS = 60  # of the sample, for the feature steps
FRAMES = 1000  # of each way through gate and tap, in their sources
GROUPS = {
    "parse": r"(parse\w*|bytes|decode)\.h",
    "flow update": r"(flow_(update|late|table|state|expiry|record)|hash)\.[ch]",
    "export": r"((flow|interval|packet)_columns|community_id|sha1|batch|intervals|packet_rows"
    r"|stream_rows)\.([ch]|def)",
    "stream": r"(stream|stream_packets)\.[ch]",
    "read": r"(pcap|input|source_pcap|capture_file)\.[ch]",
}


def compiler() -> str:
    return subprocess.run(
        ["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True
    ).stdout.strip()


def core() -> dict[str, float]:
    """Instructions a packet of each group of the core's sources, on the sample, all columns."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        told = callgrind(out, [core_driver(), SAMPLE, "intervals"])
        packets = int(told.split()[0])
        costs = by_file(out)
    counts: Counter[str] = Counter()
    for name, cost in costs.items():
        for group, pattern in GROUPS.items():
            if re.fullmatch(pattern, Path(name).name):
                counts[group] += cost
    return {group: round(counts[group] / packets, 1) for group in GROUPS}


def features() -> dict[str, float]:
    """Instructions of each feature step over the rows of the sample's first ticks."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows, marks, out = folder / "rows.npz", folder / "marks.so", folder / "steps"
        write_rows(rows)
        make_marks(marks)
        program = HERE / "feature_step.py"
        callgrind(out, [sys.executable, program, marks, rows], "--instr-atstart=no")
        return {step: total(part) for step, part in steps(folder)}


def blocks() -> dict[str, float]:
    """Instructions of the guard for a block: alone, one of 10,000, and one that was flushed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        marks, out, state = folder / "marks.so", folder / "steps", folder / "state"
        state.mkdir()
        make_marks(marks)
        program = HERE / "block_path.py"
        words = [sys.executable, program, marks, state]
        told = callgrind(out, words, "--instr-atstart=no", alone=True)
        counts = {step: total(part) for step, part in steps(folder)}
        stand = int(told.split()[0])
        each = {"one": block_path.ONES, "batch": block_path.BATCH, "restored": stand}
        return {step: round(counts[step] / number) for step, number in each.items()}


def gate() -> dict[str, float]:
    """Instructions and lookups of each way of a frame through the gate's program."""
    return kernel_program("gate_paths.c")


def tap() -> dict[str, float]:
    """The same of the tap's."""
    return kernel_program("tap_paths.c")


def kernel_program(name_of_source: str) -> dict[str, float]:
    """Instructions and lookups of each way that a source prints, compiled for this machine.

    What is inlined into the program counts; what a lookup costs does not.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, binary = HERE / name_of_source, folder / "paths"
        folders = [f"-I{ROOT / 'core_ext' / one}" for one in ("include", "bpf")]
        flags = ["-O2", "-g", "-std=gnu11", "-Wall", "-Werror"]
        subprocess.run(["clang-14", *flags, *folders, source, "-o", binary], check=True)
        told = callgrind(folder / "steps", [binary], "--instr-atstart=no")
        counts: dict[str, float] = {}
        for way, part in steps(folder):
            own = sum(
                cost for file, cost in by_file(part).items() if Path(file).name != source.name
            )
            counts[way] = round(own / FRAMES, 1)
        for way, lookups, _ in (line.split() for line in told.splitlines()):
            counts[f"{way} lookups"] = int(lookups)
    return counts


def make_marks(library: Path) -> None:
    """Compiles what switches counting on and off from Python."""
    source = HERE / "marks.c"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", source, "-o", library], check=True)


def steps(folder: Path) -> Iterator[tuple[str, Path]]:
    """The name of each step that was counted, and where its counts are."""
    for part in folder.glob("steps.*"):
        told = part.read_text(errors="replace")
        step = re.search(r"^desc: Trigger: Client Request: (\w+)", told, re.MULTILINE)
        if step:
            yield step[1], part


def total(part: Path) -> int:
    """All instructions of a step."""
    told = part.read_text(errors="replace")
    found = re.search(r"^(?:totals|summary): (\d+)", told, re.MULTILINE)
    if not found:
        raise RuntimeError(f"{part}: callgrind tells no total")
    return int(found[1])


def callgrind(out: Path, command: list[str | Path], *more: str, alone: bool = False) -> str:
    """Runs the command under callgrind, in a network namespace of its own when `alone`; what it
    printed.
    """
    words = [
        *(("unshare", "--net") if alone else ()),
        "valgrind",
        "--tool=callgrind",
        f"--callgrind-out-file={out}",
        "--compress-pos=no",
    ]
    done = subprocess.run(
        [*words, "--compress-strings=no", *more, *command],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise RuntimeError(f"{command}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def by_file(out: Path) -> Counter[str]:
    """Self cost by source file; inlined code counts to the file it was written in."""
    costs: Counter[str] = Counter()
    file, is_call = "", False
    for line in out.read_text(errors="replace").splitlines():
        if line.startswith(("fl=", "fi=", "fe=")):
            file = line[3:]
        elif line.startswith("calls="):
            is_call = True
        elif line[:1].isdigit():
            if not is_call:
                costs[file] += int(line.split()[1])
            is_call = False
    return costs


def write_rows(path: Path) -> None:
    """The rows of the sample's first ticks, as `Pipeline` reads them, for feature_step.py."""
    reader = Pipeline()
    tables = {
        "intervals": reader.reads_interval_columns,
        "packets": reader.reads_packet_columns,
        "flows": None,
    }
    parts: dict[str, list[np.ndarray]] = {}
    ticks = 0
    options = StreamOptions(packet_rows="control")
    with open_capture([SAMPLE], options=options) as stream:
        for batch in stream:
            for table, names in tables.items():
                rows = getattr(batch, table)
                for name in names or rows.names:
                    parts.setdefault(f"{batch.tick_ns}/{table}/{name}", []).append(
                        rows[name].copy()
                    )
            ticks += batch.tick_closed
            if ticks == TICKS:
                break
    np.savez(path, **{name: np.concatenate(values) for name, values in parts.items()})


PARTS: dict[str, Callable[[], dict[str, float]]] = {
    "core": core,
    "features": features,
    "blocks": blocks,
    "gate": gate,
    "tap": tap,
}


def record(names: Sequence[str] = ()) -> None:
    """Writes what the counts are now, of all parts or of these."""
    known = json.loads(RECORDED.read_text()) if names else {}
    now = known | {"gcc": compiler()} | {name: PARTS[name]() for name in names or PARTS}
    RECORDED.write_text(json.dumps(now, indent=2) + "\n")
    print(RECORDED.read_text(), end="")
