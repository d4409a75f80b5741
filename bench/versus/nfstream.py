"""NFStream with its statistics, without deep packet inspection, one meter."""

import json
import subprocess
from pathlib import Path

from bench.versus import PROGRAMS, RIVALS_PYTHON, Count, Rival


def command(capture: Path, scratch: Path) -> list[str | Path]:
    return [RIVALS_PYTHON, PROGRAMS / "nfstream_flows.py", capture]


def count(capture: Path, scratch: Path) -> Count:
    done = subprocess.run(
        [*command(capture, scratch), "--count"], capture_output=True, text=True, check=True
    )
    return Count(**json.loads(done.stdout))


def version() -> str:
    script = "import nfstream; print(nfstream.__version__)"
    return subprocess.run(
        [RIVALS_PYTHON, "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()


RIVAL = Rival(
    "nfstream",
    25,
    command,
    count,
    version,
    packets_within=0.002,
    flows_within=0.005,
    differs_because="cut and contradictory packets are skipped, and a few tunnels are unpacked "
    "otherwise",
    rounds=2,
)
