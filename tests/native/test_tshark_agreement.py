"""Each packet's columns against tshark's fields, on captures that nobody here wrote."""

import csv
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.native import tshark
from tests.native.programs import built
from tests.need import SHARED, need
from tests.shared_data import unpacked

# Where the two differ, and why we hold ours: (capture, column) → reason.
EXPLAINED = {
    ("0865d92e_nDPI__ah.pcapng", "src_port"): "tshark looks into AH over IPv4, we keep proto 51",
    ("0865d92e_nDPI__ah.pcapng", "icmp_id"): "as above",
    ("14f1176e_nDPI__telnet.pcap", "payload_bytes"): "wire length below IP's: tshark gives up with "
    "0, we go by the IP header (and say decode 21)",
    **{
        ("2c715b5b_nDPI__gre.pcapng", column): "PPTP's GRE version 1 is not followed inwards"
        for column in (
            *("src_addr", "dst_addr", "proto", "ttl", "tos", "ip_bytes", "src_port", "dst_port"),
            "payload_bytes",
        )
    },
}
FEW = {  # by what they hold; the environment FORTRESS_CAPTURES=all takes every shared capture
    "attack": ("c3cd2a47", "d264f119", "4cebaf55", "1036cb18", "2acd2e5b"),
    "benign": ("0865d92e", "14f1176e", "2c715b5b", "gre", "vxlan", "pppoe", "6in4", "ipip"),
}
UNKNOWN_LINKS = ("192",)  # PPI


def chosen() -> list[tuple[str, str]]:
    """Return group and name of the captures to compare."""
    table = SHARED / "data" / "pcap" / "labels.tsv"
    if not table.is_file():
        return []
    with table.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if "/" in row["file_in_tar"]]
    every = os.environ.get("FORTRESS_CAPTURES") == "all"
    return [
        (row["group"], row["file_in_tar"])
        for row in rows
        if row["linktype"] not in UNKNOWN_LINKS
        and (
            every
            or row["linktype"] != "1"
            or any(word in row["file_in_tar"] for word in FEW.get(row["group"], ()))
        )
    ]


def ours(capture: Path) -> list[dict[str, int]]:
    """Return the columns of every packet as integers."""
    done = subprocess.run(
        [built("plain") / "dump", capture], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [
        {name: int(value, 16 if name.endswith("_addr") else 10) for name, value in row.items()}
        for row in csv.DictReader(done.stdout.splitlines(), delimiter="\t")
    ]


def differences(capture: Path) -> Counter[str]:
    """Return how often each column differs, with the first case in its name."""
    found: Counter[str] = Counter()
    first: dict[str, str] = {}
    mine = ours(capture)
    theirs = list(tshark.packets(capture))
    assert len(mine) == len(theirs)
    for number, (row, expected) in enumerate(zip(mine, theirs, strict=True), start=1):
        if (length := expected.pop("udp_length", None)) is not None and not row["fragment"]:
            expected["payload_bytes"] = length - 8
        for column, value in expected.items():
            if row[column] != value and (capture.name, column) not in EXPLAINED:
                found[column] += 1
                first.setdefault(column, f"packet {number}: {row[column]}, tshark {value}")
    return Counter({f"{column} ({first[column]})": count for column, count in found.items()})


@pytest.mark.parametrize(("group", "name"), chosen() or [("", "no shared data")])
def test_columns_of_every_packet_agree_with_tshark(group: str, name: str) -> None:
    need("shared", "tshark")
    assert differences(unpacked(group) / name) == {}


def test_columns_of_the_shipped_captures_agree_with_tshark(samples: Path) -> None:
    need("tshark")
    captures = sorted(samples.glob("*.pcap*"))
    if not captures:
        pytest.skip("no capture in samples/")
    for capture in captures:
        assert differences(capture) == {}
