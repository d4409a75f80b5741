"""nfpcapd of nfdump: flow files written to disk."""

import re
import subprocess
from pathlib import Path

from bench.versus import Count, Rival


def command(capture: Path, scratch: Path) -> list[str | Path]:
    return ["nfpcapd", "-r", capture, "-w", scratch, "-e", "1800,120"]


def count(capture: Path, scratch: Path) -> Count:
    subprocess.run(command(capture, scratch), capture_output=True, check=True)
    told = _nfdump(scratch, "-I")
    packets = int(re.search(r"^Packets: (\d+)", told, re.MULTILINE)[1])
    records = int(re.search(r"^Flows: (\d+)", told, re.MULTILINE)[1])
    pairs = set()
    for line in _nfdump(scratch, "-q", "-6", "-o", "fmt:%pr %sa %sp %da %dp").splitlines():
        proto, source, source_port, to, to_port = line.split()
        if proto in ("ICMP", "ICMP6"):
            source_port = to_port = "0"
        ends = sorted(((source, source_port), (to, to_port)))
        pairs.add((proto, *ends))
    return Count(packets, len(pairs), records)


def _nfdump(scratch: Path, *options: str) -> str:
    return subprocess.run(
        ["nfdump", "-R", scratch, *options], capture_output=True, text=True, check=True
    ).stdout


def version() -> str:
    done = subprocess.run(["nfdump", "-V"], capture_output=True, text=True)
    return re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)[0]


RIVAL = Rival(
    "nfpcapd",
    2,
    command,
    count,
    version,
    packets_within=0.002,
    flows_within=0.005,
    differs_because="cut and contradictory packets are skipped, tunnelled ones count to the outer "
    "addresses; its records have one direction each, and each packet to or from port "
    "53 is a record of its own",
    rounds=5,
)
