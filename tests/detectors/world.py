"""A network made by hand: flows and ARP packets by the second, as the rows that the pipeline reads.

For cases whose truth must be known exactly. Real captures stand beside them in every folder.
"""

import ipaddress
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.qsecbit import Pipeline, TickResult
from fortress.verdict import Finding

START_NS = 1_780_000_000_000_000_000
SECOND = 1_000_000_000
TCP, UDP, ICMP = 6, 17, 1
STATES = {
    name: code
    for code, name in enumerate(
        ("OTH", "S0", "S1", "S2", "S3", "SF", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR")
    )
}
_TYPES: dict[str, Any] = {
    "orig_addr": "V16", "resp_addr": "V16", "src_addr": "V16", "dst_addr": "V16",
    "first_ns": np.int64, "last_ns": np.int64, "duration_ns": np.int64, "time_ns": np.int64,
    "orig_port": np.uint16, "resp_port": np.uint16, "iface": np.uint16,
    "proto": np.uint8, "conn_state": np.uint8, "is_new": np.uint8, "orig_tcp_flags": np.uint8,
    "arp_op": np.uint8, "midstream": np.uint8,
    "orig_pkts": np.uint32, "resp_pkts": np.uint32, "resp_pkts_total": np.uint32,
    "orig_data_pkts": np.uint32, "resp_data_pkts": np.uint32,
}  # fmt: skip


def address(text: str) -> bytes:
    """The 16 bytes of an address, IPv4 as ::ffff:a.b.c.d."""
    parsed = ipaddress.ip_address(text)
    return bytes(10) + b"\xff\xff" + parsed.packed if parsed.version == 4 else parsed.packed


def mac(text: str) -> int:
    """A MAC as a number."""
    return int(text.replace(":", ""), 16)


@dataclass
class World:
    """What happened, by second; `run` replays it."""

    intervals: dict[int, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    flows: dict[int, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    packets: dict[int, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    _number: int = 0

    def flow(
        self,
        at: float,
        source: str,
        target: str,
        port: int,
        state: str = "SF",
        *,
        proto: int = TCP,
        source_port: int | None = None,
        said: tuple[int, int] = (400, 2000),
        pkts: tuple[int, int] | None = None,
        flags: int | None = None,
        data_pkts: tuple[int, int] = (1, 2),
        lasts: float = 0.2,
        midstream: bool = False,
        source_mac: str = "02:00:00:00:00:01",
    ) -> None:
        """One flow that begins and ends in the tick of `at` (its row of ended flows comes 5 s later
        for TCP).
        """
        self._number += 1
        answered = state not in ("S0", "SH", "OTH", "RSTOS0")
        orig, resp = pkts or ((1, 0) if not answered else (1, 1) if state == "REJ" else (6, 5))
        if flags is None:
            flags = 0 if proto != TCP else 2 if not answered or state == "REJ" else 27
        begin = START_NS + int(at * SECOND)
        icmp = proto == ICMP
        common = {
            "flow_id": self._number,
            "first_ns": begin,
            "last_ns": begin + int(lasts * SECOND),
            "duration_ns": int(lasts * SECOND),
            "orig_addr": address(source),
            "resp_addr": address(target),
            "orig_mac": mac(source_mac),
            "resp_mac": mac("02:00:00:00:ff:fe"),
            "orig_port": 8 if icmp else source_port or 32768 + self._number % 28000,
            "resp_port": 0 if icmp else port,
            "proto": proto,
            "conn_state": STATES[state],
            "orig_pkts": orig,
            "resp_pkts": resp,
            "midstream": midstream,
            "orig_bytes": orig * 40 + said[0] * answered,
            "resp_bytes": resp * 40 + said[1] * answered,
        }
        talks = answered and state != "REJ"
        common |= {"orig_data_pkts": data_pkts[0] * talks, "resp_data_pkts": data_pkts[1] * talks}
        payload = {"orig_payload_total": said[0] * talks, "resp_payload_total": said[1] * talks}
        self.intervals[int(at)].append(
            common | payload | {"is_new": 1, "orig_tcp_flags": flags, "resp_pkts_total": resp}
        )
        self.flows[int(at + lasts) + (5 if proto == TCP else 0)].append(common)

    def goes_on(self, at: float, said: tuple[int, int], state: str = "S1") -> None:
        """The last flow in a later tick: what both sides have said by then."""
        row = next(
            row
            for rows in self.intervals.values()
            for row in rows
            if row["flow_id"] == self._number
        )
        self.intervals[int(at)].append(
            row
            | {"is_new": 0, "last_ns": START_NS + int(at * SECOND), "conn_state": STATES[state]}
            | {"orig_payload_total": said[0], "resp_payload_total": said[1]}
        )

    def answer_late(self, at: float, source: str, target: str, port: int) -> None:
        """An older TCP flow gets its first answer in the tick of `at`."""
        self.flow(at, source, target, port, "S1")
        self.intervals[int(at)][-1]["is_new"] = 0

    def arp(self, at: float, op: int, sender: str, sender_mac: str, target: str) -> None:
        """An ARP packet: op 1 asks for `target`, op 2 tells `target` where `sender` is."""
        self.packets[int(at)].append(
            {
                "time_ns": START_NS + int(at * SECOND),
                "src_addr": address(sender),
                "dst_addr": address(target),
                "src_mac": mac(sender_mac),
                "arp_mac": mac(sender_mac),
                "arp_op": op,
            }
        )

    def run(self, pipeline: Pipeline | None = None) -> list[TickResult]:
        """The result of every tick in which something happened."""
        pipeline = pipeline or Pipeline()
        reads = (
            (self.intervals, pipeline.reads_interval_columns),
            (self.flows, pipeline.reads_flow_columns),
            (self.packets, pipeline.reads_packet_columns),
        )
        ticks = sorted(set().union(*(rows for rows, _ in reads)))
        results = [
            pipeline.tick(
                START_NS + second * SECOND,
                *(columns(rows.get(second, []), names) for rows, names in reads),
            )
            for second in ticks
        ]
        rest = pipeline.finish()
        return [*results, rest] if rest else results


def columns(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """The rows as columns, 0 where a row says nothing."""
    made = {}
    for name in names:
        kind = np.dtype(_TYPES.get(name, np.uint64))
        if kind == np.dtype("V16"):
            made[name] = np.frombuffer(b"".join(row[name] for row in rows), "V16")
        else:
            made[name] = np.array([row.get(name, 0) for row in rows], kind)
    return made


def findings(results: list[TickResult]) -> list[Finding]:
    """All findings told, in order."""
    return [found for result in results for found in result.opened]
