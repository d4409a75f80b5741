# SPDX-License-Identifier: Apache-2.0
"""Devices that do what they never did: minutes of each device, judged by its own last days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from fortress_core import format_addr

from fortress.features.host import (
    INTERVAL_COLUMNS,
    WINDOW_NS,
    Minutes,
    Windows,
    rows_of_intervals,
)
from fortress.qsecbit.describe import mac_text
from fortress.qsecbit.fuse import WATCH
from fortress.verdict import Finding, Layer, Source

DETECTOR = "unusual_device"
SIGNATURE_ID = 1920
SEVERITY = 0.5
ROWS = 4096
_WORDS = {
    "flows_out": "connections begun",
    "flows_in": "connections received",
    "failed": "failed attempts",
    "failed_share": "share of failed attempts",
    "login_flows": "log-in services called",
    "other_flows": "uncommon ports called",
    "name_flows": "name look-ups",
    "name_bytes": "bytes to name servers",
    "echo_pkts": "ICMP packets",
    "bytes_up": "bytes sent",
    "bytes_down": "bytes received",
    "pkts_up": "packets sent",
    "pkts_down": "packets received",
    "peers": "hosts called",
    "near_peers": "hosts of the own network called",
    "services": "different services called",
    "targets": "host and port pairs called",
    "clients": "hosts that called it",
}


class Anomalies(Protocol):
    """What a model of devices says of n minutes, as `fortress.inference.host_anomaly.Anomalies`."""

    @property
    def surprise(self) -> npt.NDArray[np.float32]:
        """How far from usual."""

    @property
    def risk(self) -> npt.NDArray[np.float32]:
        """The calibrated probability of attack."""

    @property
    def ready(self) -> npt.NDArray[np.bool_]:
        """Whether the device is known enough."""

    @property
    def nearest(self) -> npt.NDArray[np.str_]:
        """The features that speak loudest, first the loudest."""

    @property
    def moved(self) -> npt.NDArray[np.bool_]:
        """Whether the whole last day is out of the ordinary, and not this minute."""


class DeviceModel(Protocol):
    """The part of `fortress.inference.HostAnomaly` that is used here."""

    threshold: float

    def observe(self, windows: Windows) -> Anomalies:
        """What it says of a minute of devices, which it then learns."""


class UnusualDevices:
    """Minutes of devices, as interval rows bring them, and what the model says when one is over."""

    columns = INTERVAL_COLUMNS

    def __init__(self, model: DeviceModel, secret: int) -> None:
        self._model = model
        self._secret = secret
        self._minutes = Minutes(secret)
        self._waiting: list[dict[str, npt.NDArray[Any]]] = []
        self._rows = 0
        self._last_ns = 0
        self.prefixes: tuple[int, ...] = ()  # of devices' global IPv6 addresses
        self.gateways: tuple[int, ...] = ()  # MACs behind which are others than their owners

    @property
    def memory_bytes(self) -> int:
        """What the minute under way holds."""
        return self._minutes.memory_bytes

    def observe(self, intervals: Mapping[str, npt.NDArray[Any]], ns: int) -> list[Finding]:
        """Findings about devices whose minute is over; the rows of a tick are to be shown once.

        Rows wait for company, at most until their minute is over: adding some costs as many.
        """
        if ns // WINDOW_NS != self._last_ns // WINDOW_NS:
            self._add_waiting()
        over = self._minutes.observe(ns, None)
        self._last_ns = ns
        if intervals and (rows := len(intervals["flow_id"])):
            self._waiting.append({name: intervals[name].copy() for name in self.columns})
            self._rows += rows
            if self._rows >= ROWS:
                self._add_waiting()
        return [] if over is None else self._judged(over, ns)

    def clear(self) -> None:
        """Forgets the minute under way."""
        self._minutes = Minutes(self._secret)
        self._waiting.clear()
        self._rows = 0

    def _add_waiting(self) -> None:
        if not self._waiting:
            return
        first = self._waiting[0]
        joined = {name: np.concatenate([one[name] for one in self._waiting]) for name in first}
        rows = rows_of_intervals(joined, self._secret, self.prefixes, self.gateways)
        self._minutes.observe(self._last_ns, rows)
        self._waiting.clear()
        self._rows = 0

    def _judged(self, windows: Windows, ns: int) -> list[Finding]:
        said = self._model.observe(windows)
        found = np.flatnonzero(said.ready & (said.risk >= self._model.threshold))
        told = [_finding(windows, said, int(row), ns) for row in found]
        return [one for one in told if one.risk >= WATCH]


def _finding(windows: Windows, said: Anomalies, row: int, ns: int) -> Finding:
    words = windows.addresses.high[row : row + 1], windows.addresses.low[row : row + 1]
    packed = b"".join(int(word[0]).to_bytes(8, "big") for word in words)
    host, key = format_addr(packed), int(windows.keys[row])
    loud = ", ".join(_WORDS.get(str(name), str(name)) for name in said.nearest[row])
    span = "day" if said.moved[row] else "minute"
    return Finding(
        time_ns=ns,
        detector=DETECTOR,
        signature="A device does what it never did",
        signature_id=SIGNATURE_ID,
        category="machine learning",
        layer=Layer.L4,
        source=Source.MODEL,
        technique="",
        severity=SEVERITY,
        confidence=float(said.risk[row]),
        reason=f"the last {span} of {host} is unlike its last seven days, most of all in: {loud}",
        host=host,
        src_ip=host,
        src_mac=mac_text(key) if key < 1 << 48 else "",
        evidence={
            "surprise": round(float(said.surprise[row]), 3),
            "risk": round(float(said.risk[row]), 4),
            "span": span,
            "loudest": loud,
        },
    )
