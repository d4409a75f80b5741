# SPDX-License-Identifier: Apache-2.0
"""A row above the threshold put into words: who, to whom, how, and the flow or packet it rests on.

Nothing here runs for a row that makes no finding.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

from fortress_core import format_addr, format_mac

from fortress.features.logins import SERVICES
from fortress.features.rows import ARP, ICMP, ICMP6, TCP, UDP, Columns, Table
from fortress.qsecbit.contract import Detector
from fortress.verdict import Finding, Source

_PROTOCOLS = {ARP: "ARP", ICMP: "ICMP", TCP: "TCP", UDP: "UDP", ICMP6: "ICMPv6"}
_SERVICE_NAMES = {(TCP, service.port): service.name for service in SERVICES} | {
    (TCP, 80): "HTTP", (TCP, 443): "HTTPS", (TCP, 445): "SMB", (UDP, 53): "DNS", (UDP, 443): "QUIC",
}  # fmt: skip
_OWN = 0.5  # from this share of the packets on, a flood is the busiest source's


@dataclass(frozen=True, slots=True)
class Evidence:
    """The rows of one tick that findings point into."""

    ns: int
    intervals: Columns
    flows: Columns
    packets: Columns


def finding(
    detector: Detector, table: Table, row: int, confidence: float, tick: Evidence
) -> Finding:
    """What a detector found in a row of its table."""
    values = {name: column[row] for name, column in table.items()}
    words = _SUBJECTS[detector.table](values, tick)
    signature = detector.signature(values[detector.signature_by] if detector.signature_by else 0)
    told = {name: _plain(values[name]) for name in detector.evidence}
    names = {
        "host": words["host"],
        "target": words.get("target") or "many",
        "service": _service(words, values),
        "guilty": words.get("src_mac", ""),
    }
    return Finding(
        detector=detector.name,
        signature=signature.text,
        signature_id=signature.id,
        category=detector.category,
        layer=detector.layer,
        source=Source.RULE,
        technique=detector.technique,
        severity=detector.severity,
        confidence=confidence,
        reason=detector.say(values, names),
        evidence=told,
        **words,
    )


def of_flow(values: Columns, row: int) -> dict[str, Any]:
    """The fields of a finding that say which flow (of interval or flow rows) it rests on."""
    proto, source, target = (
        int(values["proto"][row]),
        format_addr(values["orig_addr"][row]),
        format_addr(values["resp_addr"][row]),
    )
    ports = int(values["orig_port"][row]), int(values["resp_port"][row])
    icmp = proto in (ICMP, ICMP6)
    return {
        "time_ns": int(values["last_ns"][row]),
        "host": source,
        "target": target,
        "src_ip": source,
        "src_port": None if icmp else ports[0],
        "dest_ip": target,
        "dest_port": None if icmp else ports[1],
        "src_mac": mac_text(int(values["orig_mac"][row])),
        "proto": _PROTOCOLS.get(proto, str(proto)),
        "flow_id": int(values["flow_id"][row]),
        "community_id": "" if icmp else community_id(source, target, *ports, proto),
        "in_iface": str(int(values["iface"][row])),
    }


def mac_text(mac: int) -> str:
    """A MAC in text, empty for 0."""
    return format_mac(mac) if mac else ""


def community_id(source: str, target: str, source_port: int, port: int, proto: int) -> str:
    """The flow's community id, version 1 with seed 0 (github.com/corelight/community-id-spec)."""
    one, other = (_packed(source), source_port), (_packed(target), port)
    (low, low_port), (high, high_port) = sorted((one, other))
    text = struct.pack("!H", 0) + low + high + struct.pack("!BBHH", proto, 0, low_port, high_port)
    return "1:" + base64.b64encode(hashlib.sha1(text, usedforsecurity=False).digest()).decode()


def _packed(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


def _of_pair(values: Mapping[str, Any], tick: Evidence) -> dict[str, Any]:
    return of_flow(tick.intervals, int(values["row"]))


def _of_sweep(values: Mapping[str, Any], tick: Evidence) -> dict[str, Any]:
    row = int(values["row"])
    if row < 0:
        return _of_packet(tick.packets, -1 - row) | {"target": ""}
    return of_flow(tick.intervals, row) | {"target": ""}


def _of_target(values: Mapping[str, Any], tick: Evidence) -> dict[str, Any]:
    words = of_flow(tick.intervals, int(values["row"]))
    if values["top_share"] < _OWN:  # nobody to hold responsible: the sources are many, or made up
        words |= {"host": words["target"], "src_ip": "", "src_port": None, "flow_id": None}
        words["community_id"] = ""
    return words


def _of_ended(values: Mapping[str, Any], tick: Evidence) -> dict[str, Any]:
    return of_flow(tick.flows, int(values["row"])) | {"time_ns": tick.ns}


def _of_claim(values: Mapping[str, Any], tick: Evidence) -> dict[str, Any]:
    row = int(values["row"])
    words = _of_packet(tick.packets, row)
    mac = int(values["guilty_mac"])
    own = int(values["own_high"]) << 64 | int(values["own_low"])
    host = format_addr(own.to_bytes(16, "big")) if own else mac_text(mac)
    return words | {"host": host, "target": words["src_ip"], "src_mac": mac_text(mac)}


def _of_packet(packets: Columns, row: int) -> dict[str, Any]:
    source = format_addr(packets["src_addr"][row])
    target = format_addr(packets["dst_addr"][row])
    return {
        "time_ns": int(packets["time_ns"][row]),
        "host": source,
        "target": target,
        "src_ip": source,
        "dest_ip": target,
        "src_mac": mac_text(int(packets["src_mac"][row] or packets["arp_mac"][row])),
        "proto": "ARP" if int(packets["arp_op"][row]) < 3 else "ICMPv6",
        "in_iface": str(int(packets["iface"][row])),
    }


def _service(words: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    proto, port = words.get("proto", ""), words.get("dest_port")
    if port is None:
        return str(proto)
    number = next((key for key, name in _PROTOCOLS.items() if name == proto), -1)
    name = _SERVICE_NAMES.get((number, port))
    return f"{name} ({proto} {port})" if name else f"{proto} {port}"


def _plain(value: Any) -> float | int:
    number = float(value)
    return int(number) if number.is_integer() else number


_SUBJECTS = {
    "pairs": _of_pair,
    "sweeps": _of_sweep,
    "targets": _of_target,
    "logins": _of_pair,
    "services": _of_ended,
    "claims": _of_claim,
}
