"""Suricata with flow logging and nothing else: no rules, no application parsers."""

import json
import re
import subprocess
from pathlib import Path

from bench.versus import Count, Rival

CONFIGURATION = Path(__file__).with_suffix(".yaml")


def command(capture: Path, scratch: Path) -> list[str | Path]:
    return ["suricata", "-c", CONFIGURATION, "-r", capture, "-l", scratch, "-k", "none",
        "-S", "/dev/null", "--runmode", "single"]  # fmt: skip


def count(capture: Path, scratch: Path) -> Count:
    subprocess.run(command(capture, scratch), capture_output=True, check=True)
    packets = records = 0
    pairs = set()
    with (scratch / "eve.json").open() as lines:
        for line in lines:
            flow = json.loads(line)
            packets += flow["flow"]["pkts_toserver"] + flow["flow"]["pkts_toclient"]
            records += 1
            ends = sorted(
                (
                    (flow["src_ip"], flow.get("src_port", 0)),
                    (flow["dest_ip"], flow.get("dest_port", 0)),
                )
            )
            pairs.add((flow["proto"], *ends))
    return Count(packets, len(pairs), records)


def version() -> str:
    done = subprocess.run(["suricata", "-V"], capture_output=True, text=True)
    return re.search(r"\d+\.\d+\.\d+", done.stdout)[0]


RIVAL = Rival(
    "suricata",
    5,
    command,
    count,
    version,
    packets_within=0.2,
    flows_within=0.02,
    differs_because="IPv6 fragments of invalid length (199,060 of a covert channel in bulk) and "
    "truncated packets are kept from its flows, ICMP errors count to the flow they "
    "speak of",
    rounds=3,
)
