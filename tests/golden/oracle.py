"""What tshark reads in a capture, as arrays in the words of our columns, kept in `.cache`."""

import csv
import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.native import tshark
from tests.need import ROOT

Columns = Mapping[str, NDArray[Any]]
Row = tuple[int, dict[str, str], dict[str, int]]  # number, fields and columns of a frame

CACHE = ROOT / ".cache" / "golden"
MORE_FIELDS = ("data.data", "communityid")
# Numbers that tshark tells of a packet; one that does not have it gets the default.
DEFAULTS = {
    "ip_version": 0, "proto": 0, "src_port": 0, "dst_port": 0, "ip_bytes": 0, "fragment": 0,
    "ttl": 0, "tos": 0, "tcp_flags": 0, "tcp_window": 0, "tcp_seq": 0, "tcp_mss": 0,
    "tcp_wscale": 255, "icmp_id": 0, "vlan_id": 0, "src_mac": 0, "dst_mac": 0,
}  # fmt: skip


def read(capture: Path) -> Columns:
    """Every IP packet of the capture: the columns of DEFAULTS and

    frame (number in the file from 0), time_ns, src_addr and dst_addr (octets), payload_bytes and
    header_bytes (-1 = tshark does not tell), first_64 (octets of the payload, first_64_length of
    them) and community_id (empty where tshark has none).
    """
    digest = hashlib.sha256(Path(__file__).read_bytes() + Path(tshark.__file__).read_bytes())
    digest.update(_version())
    digest.update(capture.read_bytes())
    cached = CACHE / f"{digest.hexdigest()[:32]}.npz"
    if not cached.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = CACHE / f"{os.getpid()}-{cached.name}"
        np.savez_compressed(partial, **_arrays(_rows(capture)))
        partial.replace(cached)
    with np.load(cached) as stored:
        return dict(stored)


@functools.cache
def _version() -> bytes:
    return subprocess.run(["tshark", "--version"], capture_output=True, check=True).stdout


def _rows(capture: Path) -> Iterator[Row]:
    """Each frame that has IP in it."""
    fields = (*tshark.FIELDS, *MORE_FIELDS)
    with tempfile.TemporaryDirectory() as profile:
        # A list in a profile: a command line with 2,900 names takes tshark a second to read.
        disabled = set(tshark.other_protocols()) - {"data", "communityid"}
        (Path(profile) / "disabled_protos").write_text("\n".join(sorted(disabled)) + "\n")
        words = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-E", "aggregator=,"]
        words += ["--enable-protocol", "communityid"]
        words += [word for field in fields for word in ("-e", field)]
        words += [word for preference in tshark.PREFERENCES for word in ("-o", preference)]
        with subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"WIRESHARK_CONFIG_DIR": profile},
        ) as process:
            assert process.stdout is not None
            csv.field_size_limit(1 << 24)
            lines = csv.reader(process.stdout, delimiter="\t", quoting=csv.QUOTE_NONE)
            for frame, line in enumerate(lines):
                row = dict(zip(fields, line, strict=True))
                columns = tshark.columns(row)
                if columns.get("ip_version") and "src_addr" in columns:
                    yield frame, row, columns
        if process.returncode not in (0, 2):  # 2: cut short or damaged further on
            raise subprocess.CalledProcessError(process.returncode, words)


def _arrays(rows: Iterator[Row]) -> Columns:
    numbers: list[tuple[int, ...]] = []
    octets = bytearray()
    identifiers: list[str] = []
    for frame, row, columns in rows:
        seconds, _, fraction = row["frame.time_epoch"].partition(".")
        time_ns = int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
        first_64 = bytes.fromhex(row["data.data"].partition(",")[0][:128])
        told = (columns.get(name, default) for name, default in DEFAULTS.items())
        numbers.append((frame, time_ns, *_sizes(columns), len(first_64), *told))
        octets += columns["src_addr"].to_bytes(16, "big") + columns["dst_addr"].to_bytes(16, "big")
        octets += first_64.ljust(64, b"\0")
        identifiers.append(row["communityid"])
    names = ("frame", "time_ns", "payload_bytes", "header_bytes", "first_64_length", *DEFAULTS)
    table = np.array(numbers, np.int64).reshape(-1, len(names))
    wide = np.frombuffer(bytes(octets), np.uint8).reshape(-1, 96)
    return {
        **{name: table[:, i] for i, name in enumerate(names)},
        "src_addr": wide[:, :16].copy(),
        "dst_addr": wide[:, 16:32].copy(),
        "first_64": wide[:, 32:].copy(),
        "community_id": np.array(identifiers, "S32"),
    }


def _sizes(columns: Mapping[str, int]) -> tuple[int, int]:
    """Payload and header octets of a whole TCP segment or UDP datagram, -1 of anything else."""
    if columns.get("fragment"):
        return -1, -1
    if "payload_bytes" in columns:
        return columns["payload_bytes"], columns["ip_bytes"] - columns["payload_bytes"]
    if columns.get("udp_length", 0) >= 8:
        payload = columns["udp_length"] - 8
        return payload, columns["ip_bytes"] - payload
    return -1, -1
