"""softflowd: NetFlow v9 to a closed loopback port."""

import re
import subprocess
from pathlib import Path

from bench.versus import Count, Rival


def command(capture: Path, scratch: Path) -> list[str | Path]:
    return ["softflowd", "-r", capture, "-d", "-v", "9", "-m", "400000", "-n", "127.0.0.1:19999"]


def count(capture: Path, scratch: Path) -> Count:
    done = subprocess.run(command(capture, scratch), capture_output=True, text=True, check=True)
    said = done.stdout + done.stderr
    packets, flows, records = (
        int(re.search(pattern, said)[1])
        for pattern in (r"Packets processed: (\d+)", r"Flows expired: (\d+)", r"\((\d+) records\)")
    )
    return Count(packets, flows, records)


def version() -> str:
    done = subprocess.run(["softflowd", "-h"], capture_output=True, text=True)
    return re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)[0]


RIVAL = Rival(
    "softflowd",
    1.5,
    command,
    count,
    version,
    packets_within=0.002,
    flows_within=0.01,
    differs_because="packets cut within or contradicting their IP header are skipped, ICMP type "
    "and code are ports to it, tunnelled packets count to the outer addresses; it reads a "
    "file without time-outs",
    rounds=5,
)
