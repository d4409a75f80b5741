# SPDX-License-Identifier: Apache-2.0
"""What devices do minute by minute, from captures (by our own core) and from public Zeek logs of
whole days.

A flow counts in the minute it began in, where live every minute of a long flow counts: whatever is
learnt here of one device is never mixed with what is learnt live. A device is put under one address
of its own, so that attacks of other captures can be laid over its days.
"""

from __future__ import annotations

import ipaddress
import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.errors import InputError
from fortress.features import host
from fortress.features.keys import Float32, address_key, words
from fortress.training import truth
from fortress.training.captures import Capture
from fortress.training.dataset import read_columns
from fortress.training.truth import Fate

Columns = dict[str, npt.NDArray[Any]]
Bools = npt.NDArray[np.bool_]
SECRET = 0x5EED
DEVICE = "192.168.255.2"  # the address that every device is put under
COLUMNS = tuple(dict.fromkeys((*host.FLOW_COLUMNS, *truth.COLUMNS)))
_PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1}
_STATE = {name: code for code, name in enumerate(host.STATES)}


@dataclass(frozen=True, slots=True)
class Doings:
    """Flows of one device (as DEVICE) in order of their beginning; `name` tells which, `origin`
    where from, `kind` which attack they are or "benign", `tool` what made them.
    """

    name: str
    origin: str
    kind: str
    tool: str
    flows: Columns

    def __len__(self) -> int:
        return len(self.flows["proto"])

    @property
    def minutes(self) -> npt.NDArray[np.int64]:
        """The minute of the first flow is 0."""
        began = self.flows["first_ns"]
        return np.asarray((began - began[0]) // host.WINDOW_NS)

    def take(self, chosen: npt.NDArray[Any]) -> Doings:
        """Some of the flows."""
        flows = {name: column[chosen] for name, column in self.flows.items()}
        return Doings(self.name, self.origin, self.kind, self.tool, flows)


def windows(flows: Columns) -> tuple[npt.NDArray[np.int64], Float32]:
    """When each minute of DEVICE in which it did anything begins (ns), and its features."""
    order = np.argsort(flows["first_ns"], kind="stable")
    flows = {name: column[order] for name, column in flows.items()}
    minute = flows["first_ns"] // host.WINDOW_NS
    own = address_key(SECRET, words(addresses([DEVICE])))[0]
    minutes, starts = host.Minutes(SECRET, capacity=4096), np.flatnonzero(np.diff(minute)) + 1
    begun, matrices = [], []
    for rows in np.split(np.arange(len(minute)), starts):
        part = {name: column[rows] for name, column in flows.items()}
        done = host.rows_of_flows(part, SECRET)
        mine = np.flatnonzero(done.device == own)
        if len(mine):
            minutes.observe(int(part["first_ns"][0]), host.take(done, mine))
            closed = minutes.close()
            assert closed is not None
            begun.append(closed.start_ns)
            matrices.append(closed.matrix)
    empty = np.empty((0, len(host.FEATURES)), np.float32)
    return np.array(begun, np.int64), np.concatenate(matrices) if matrices else empty


def overlaid(day: Doings, attack: Doings, start_ns: int) -> Columns:
    """The flows of a day with those of an attack laid over it from `start_ns` on."""
    shift = start_ns - attack.flows["first_ns"][0]
    moved = attack.flows | {name: attack.flows[name] + shift for name in ("first_ns", "last_ns")}
    return {name: np.concatenate((day.flows[name], moved[name])) for name in COLUMNS}


def of_capture(capture: Capture, device: str = "") -> Iterator[Doings]:
    """What attackers of a capture did (those flows alone), or a benign capture's device.

    An attacker is an address that begins attack flows; without `device` the benign device is the
    address that begins most flows.
    """
    flows, _, _ = read_columns(capture, COLUMNS)
    judged = capture.judge(flows)
    for fate, kinds in ((Fate.ATTACK, np.unique(judged.kind)), (Fate.BENIGN, np.array(["benign"]))):
        for kind in kinds.tolist():
            rows = np.flatnonzero((judged.fate == fate) & (judged.kind == kind))
            if not len(rows) or (fate == Fate.BENIGN and (judged.fate == Fate.ATTACK).any()):
                continue
            seen, counts = np.unique(flows["orig_addr"][rows].view("S16"), return_counts=True)
            own = _packed(device) if device else seen[np.argmax(counts)]
            mine = rows[_has(flows, own)[rows]]
            if len(mine):
                part = {name: flows[name][mine] for name in COLUMNS}
                tool = str(judged.group[mine[0]])
                yield Doings(capture.name, capture.origin, kind, tool, _as_device(part, own))


def read_zeek(path: Path, name: str, device: str) -> dict[str, Doings]:
    """The flows of one device in a Zeek conn.log (tab separated or JSON lines; plain or xz), by the
    publisher's label: "benign" first, then kinds of attack ("" where the log has no labels).

    Raises InputError where the log cannot be read.
    """
    records = list(_records(path))
    if not records:
        raise InputError(f"{path}: no Zeek conn.log with records")
    flows = {
        "first_ns": np.array([float(r["ts"]) * 1e9 for r in records]).astype(np.int64),
        "orig_addr": addresses([str(r["id.orig_h"]) for r in records]),
        "resp_addr": addresses([str(r["id.resp_h"]) for r in records]),
        "orig_port": np.array([int(r["id.orig_p"]) for r in records], np.uint16),
        "resp_port": np.array([int(r["id.resp_p"]) for r in records], np.uint16),
        "proto": np.array([_PROTOCOLS.get(str(r["proto"]), 0) for r in records], np.uint8),
        "conn_state": np.array([_STATE.get(str(r["conn_state"]), 0) for r in records], np.uint8),
        "orig_pkts": np.array([_number(r.get("orig_pkts")) for r in records]),
        "resp_pkts": np.array([_number(r.get("resp_pkts")) for r in records]),
        "orig_bytes": np.array([_number(r.get("orig_ip_bytes")) for r in records]),
        "resp_bytes": np.array([_number(r.get("resp_ip_bytes")) for r in records]),
    }
    flows["last_ns"] = flows["first_ns"]
    flows["orig_mac"] = flows["resp_mac"] = np.zeros(len(records), np.uint64)
    label = np.array([_label(r) for r in records])
    own = _packed(device)
    found = {}
    for kind in sorted(set(label.tolist()), key=lambda word: (word != "benign", word)):
        rows = np.flatnonzero(_has(flows, own) & (label == kind))
        rows = rows[np.argsort(flows["first_ns"][rows], kind="stable")]
        if len(rows):
            part = {column: flows[column][rows] for column in COLUMNS}
            found[kind] = Doings(name, "stratosphereips", kind, name, _as_device(part, own))
    return found


def addresses(texts: list[str]) -> npt.NDArray[np.void]:
    """Addresses as the core has them, IPv4 mapped."""
    return np.frombuffer(b"".join(_packed(text) for text in texts), "V16")


def _packed(text: str) -> bytes:
    packed = ipaddress.ip_address(text).packed
    return packed if len(packed) == 16 else b"\0" * 10 + b"\xff\xff" + packed


def _octets(column: npt.NDArray[np.void]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(column).view(np.uint8).reshape(len(column), 16)


def _has(flows: Columns, own: bytes) -> Bools:
    wanted = np.frombuffer(own.ljust(16, b"\0"), np.uint8)
    ends = (_octets(flows[side]) == wanted for side in ("orig_addr", "resp_addr"))
    return np.asarray(np.any([end.all(axis=1) for end in ends], axis=0), np.bool_)


def _as_device(flows: Columns, own: bytes) -> Columns:
    """The flows with the device's address replaced by DEVICE and no MACs, in order of beginning."""
    wanted = np.frombuffer(own.ljust(16, b"\0"), np.uint8)
    order = np.argsort(flows["first_ns"], kind="stable")
    changed = {name: column[order] for name, column in flows.items()}
    for side in ("orig_addr", "resp_addr"):
        octets = _octets(changed[side]).copy()
        octets[(octets == wanted).all(axis=1)] = np.frombuffer(_packed(DEVICE), np.uint8)
        changed[side] = octets.view("V16").ravel()
    changed["orig_mac"] = changed["resp_mac"] = np.zeros(len(order), np.uint64)
    return changed


def _records(path: Path) -> Iterator[dict[str, Any]]:
    names: list[str] = []
    try:
        with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("{"):
                    yield json.loads(line)
                elif line.startswith("#fields"):
                    names = line.split()[1:]
                elif not line.startswith("#") and names:
                    # some mirrors part the last columns by spaces
                    yield dict(zip(names, line.replace("   ", "\t").split("\t"), strict=False))
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read as a Zeek log: {error}") from None


def _label(record: dict[str, Any]) -> str:
    label = str(record.get("label", "")).strip().lower()
    if label == "malicious":
        detail = str(record.get("detailed-label", record.get("detailedlabel", ""))).strip()
        return detail or label
    return "benign" if label in ("benign", "background") else label


def _number(value: Any) -> int:
    return int(value) if value not in (None, "-", "") else 0
