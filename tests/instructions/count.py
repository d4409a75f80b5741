"""Counts instructions with callgrind: of the core by what its code is for, of the feature steps.

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
from pathlib import Path

import numpy as np
from fortress_core import StreamOptions, open_capture

from bench.build import core_driver
from fortress.qsecbit import Pipeline
from tests.need import ROOT

RECORDED = Path(__file__).with_name("recorded.json")
SAMPLE = ROOT / "samples" / "attack_day.pcap.zst"
TICKS = 60  # of the sample, for the feature steps
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
        source = Path(__file__).with_name("marks.c")
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", source, "-o", marks], check=True)
        program = Path(__file__).with_name("feature_step.py")
        callgrind(out, [sys.executable, program, marks, rows], "--instr-atstart=no")
        counts: dict[str, float] = {}
        for part in folder.glob("steps.*"):
            told = part.read_text(errors="replace")
            step = re.search(r"^desc: Trigger: Client Request: (\w+)", told, re.MULTILINE)
            total = re.search(r"^(?:totals|summary): (\d+)", told, re.MULTILINE)
            if step and total:
                counts[step[1]] = int(total[1])
    return counts


def callgrind(out: Path, command: list[str | Path], *more: str) -> str:
    """Runs the command under callgrind; what it printed."""
    words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--compress-pos=no"]
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


def record() -> None:
    """Writes what the counts are now."""
    now = {"gcc": compiler(), "core": core(), "features": features()}
    RECORDED.write_text(json.dumps(now, indent=2) + "\n")
    print(RECORDED.read_text(), end="")
