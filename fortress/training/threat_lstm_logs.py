# SPDX-License-Identifier: Apache-2.0
"""Flows from Zeek's conn.log files of public data sets, as columns like those of our own core.

Only what `features/sequence.py` reads is filled in. Flows are put into the order in which our core
would hand them out: by the time at which they would have ended here.
"""

from __future__ import annotations

import ipaddress
import json
import lzma
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Log = tuple[str, str, dict[str, npt.NDArray[Any]], npt.NDArray[np.int8]]

# Name, origin, file below flows/, and the stage of each label (or of all flows: "*"). A label that
# is not named is benign traffic's, of unknown meaning, or unsolicited: -1.
_LOGS: tuple[tuple[str, str, str, Mapping[str, int]], ...] = (
    ("njrat", "stratosphere", "stratosphere-zeek/001-zeek-scenario-malicious/labeled-conn.log.xz",
     {"CC": 3, "Google": 0}),
    ("nmap-networks", "stratosphere",
     "stratosphere-zeek/002-zeek-scenario-port-scanning/conn.log.xz", {"*": 1}),
    ("windows-008", "stratosphere", "stratosphere-zeek/008-zeek-mixed/data/conn.log.labeled.xz",
     {"Microsoft": 0, "ESET": 0, "Dropbox": 0, "Cert-Validation": 0}),
    ("windows-010", "stratosphere", "stratosphere-zeek/010-zeek-mixed/data/conn.log.labeled.xz",
     {"Microsoft": 0, "Cert-Validation": 0}),
    ("mirai-34", "iot23", "iot23/CTU-IoT-Malware-Capture-34-1.conn.log.labeled.xz",
     {"Benign": 0, "C&C": 3, "DDoS": 6, "PartOfAHorizontalPortScan": 1}),
)  # fmt: skip
# Never learnt from, and never looked at before the model was finished.
_KEPT: tuple[tuple[str, str, str, Mapping[str, int]], ...] = (
    ("slips-vertical", "slips", "slips-zeek/port-scans/vertical/conn.log.xz", {"45.33.32.156": 1}),
)
_PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1}
_ORDER = (  # of the codes in the column conn_state
    "OTH", "S0", "S1", "S2", "S3", "SF", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR",
)  # fmt: skip
_STATES = {name: code for code, name in enumerate(_ORDER)}
_CLOSED = ("SF", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH")
_LINGER_NS, _IDLE_NS = 5_000_000_000, 120_000_000_000
_SECOND = 1_000_000_000
_NUMBERS = {
    "orig_payload_bytes": "orig_bytes",
    "resp_payload_bytes": "resp_bytes",
    "orig_pkts": "orig_pkts",
    "resp_pkts": "resp_pkts",
}


def read_logs(folder: Path, kept: bool = False) -> Iterator[Log]:
    """Name, origin, columns and stages of each log that is there; with `kept` of those alone that
    are never learnt from.
    """
    for name, origin, file, stages in _KEPT if kept else _LOGS:
        path = folder / file
        if path.is_file():
            with lzma.open(path, "rt", encoding="utf-8") as lines:
                rows = [row for row in _rows(lines) if row["proto"] in _PROTOCOLS]
            yield name, origin, *_columns(rows, stages)


def _rows(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    names: list[str] = []
    for line in lines:
        if line.startswith("{"):
            yield {key: str(value) for key, value in json.loads(line).items()}
        elif line.startswith("#fields"):
            names = line.split()[1:]
        elif not line.startswith("#"):
            yield dict(zip(names, line.split(), strict=False))


def _columns(
    rows: list[dict[str, str]], stages: Mapping[str, int]
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.int8]]:
    first = np.array([int(float(row["ts"]) * _SECOND) for row in rows])
    length = np.array([int(_number(row, "duration") * _SECOND) for row in rows])
    columns: dict[str, npt.NDArray[Any]] = {
        "first_ns": first,
        "last_ns": first + length,
        "orig_addr": _addresses(row["id.orig_h"] for row in rows),
        "resp_addr": _addresses(row["id.resp_h"] for row in rows),
        "orig_mac": np.zeros(len(rows), np.uint64),
        "resp_port": np.array([int(row["id.resp_p"]) for row in rows], np.uint16),
        "proto": np.array([_PROTOCOLS[row["proto"]] for row in rows], np.uint8),
        "conn_state": np.array([_STATES.get(row["conn_state"], 0) for row in rows], np.uint8),
    }
    for name, theirs in _NUMBERS.items():
        columns[name] = np.array([int(_number(row, theirs)) for row in rows], np.uint64)
    closed = np.array([row["proto"] == "tcp" and row["conn_state"] in _CLOSED for row in rows])
    order = np.argsort(columns["last_ns"] + np.where(closed, _LINGER_NS, _IDLE_NS), kind="stable")
    stage = np.array([_stage(row, stages) for row in rows], np.int8)
    return {name: column[order] for name, column in columns.items()}, stage[order]


def _stage(row: Mapping[str, str], stages: Mapping[str, int]) -> int:
    for key in ("detailedlabel", "detailed-label", "label", "id.resp_h"):
        if row.get(key) in stages:
            return stages[row[key]]
    return stages.get("*", -1)


def _number(row: Mapping[str, str], key: str) -> float:
    value = row.get(key, "-")
    return 0.0 if value == "-" else float(value)


def _addresses(texts: Iterable[str]) -> npt.NDArray[np.void]:
    octets = []
    for text in texts:
        address = ipaddress.ip_address(text)
        mapped = b"\0" * 10 + b"\xff\xff" if address.version == 4 else b""
        octets.append(mapped + address.packed)
    return np.frombuffer(b"".join(octets), "V16")
