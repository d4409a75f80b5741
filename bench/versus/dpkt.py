"""dpkt: the flow loop people write in Python, packets and bytes only."""

import json
import subprocess
from pathlib import Path

from bench.versus import PROGRAMS, RIVALS_PYTHON, Count, Rival


def command(capture: Path, scratch: Path) -> list[str | Path]:
    return [RIVALS_PYTHON, PROGRAMS / "dpkt_flows.py", capture]


def count(capture: Path, scratch: Path) -> Count:
    done = subprocess.run(command(capture, scratch), capture_output=True, text=True, check=True)
    return Count(**json.loads(done.stdout))


def version() -> str:
    script = "import dpkt; print(dpkt.__version__)"
    return subprocess.run(
        [RIVALS_PYTHON, "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()


RIVAL = Rival(
    "dpkt",
    None,
    command,
    count,
    version,
    packets_within=0.002,
    flows_within=0.005,
    differs_because="packets it cannot decode are skipped, and tunnels are not followed",
    rounds=1,
)
