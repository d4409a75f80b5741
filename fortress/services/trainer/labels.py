# SPDX-License-Identifier: Apache-2.0
"""What findings and operators say of archived flows: benign, attack, or better left out.

A flow is an *attack* when it is what a confirmed finding is about: from its source, to its target
and port where it names them, within CONFIRMED_NS of it. It is *left out* when an address of any
other finding takes part within NEAR_NS of that finding, so that what may be an attack is never
learnt as ordinary. A finding that an operator called a false alarm leaves nothing out. All else is
*benign*: nobody has said so, therefore what it may move is bounded (house.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fortress.store.opinions import Opined

COLUMNS = ("first_ns", "last_ns", "orig_addr", "resp_addr", "resp_port")
BENIGN, ATTACK, LEFT_OUT = 0, 1, -1
NEAR_NS = 3_600_000_000_000  # an hour before and after
CONFIRMED_NS = 600_000_000_000  # a finding tells of at most the ten minutes before it
MOST_CONFIRMED = 1000  # of the newest; each is looked for in every batch of its time

Labels = npt.NDArray[np.int8]


class Labeller:
    """Labels batches of archived flows by a list of findings."""

    def __init__(self, findings: Iterable[Opined]) -> None:
        self._confirmed: list[Opined] = []
        near: dict[str, list[tuple[int, int]]] = {}
        for one in findings:
            if one.opinion == "false_alarm":
                continue
            if one.opinion == "confirmed" and len(self._confirmed) < MOST_CONFIRMED:
                self._confirmed.append(one)
            for address in {one.host, one.target, one.src_ip, one.dest_ip} - {""}:
                span = (one.time_ns - NEAR_NS, one.time_ns + NEAR_NS)
                near.setdefault(address, []).append(span)
        self._near = {address: _merged(spans) for address, spans in near.items()}

    def label(self, batch: pa.RecordBatch) -> Labels:
        """BENIGN, ATTACK or LEFT_OUT for each flow; `batch` holds COLUMNS."""
        labels = np.zeros(batch.num_rows, np.int8)
        first, last, port = (
            batch[name].to_numpy() for name in ("first_ns", "last_ns", "resp_port")
        )
        ends = {name: _Ends(batch[name]) for name in ("orig_addr", "resp_addr")}
        for side in ends.values():
            for address in side.known.keys() & self._near.keys():
                rows = np.flatnonzero(side.has(address))
                spans = self._near[address]
                at = np.searchsorted(spans[:, 0], last[rows], "right") - 1
                inside = (at >= 0) & (first[rows] <= spans[np.maximum(at, 0), 1])
                labels[rows[inside]] = LEFT_OUT
        begin, end = (int(first.min()), int(last.max())) if len(first) else (0, 0)
        for one in self._confirmed:
            source, target = one.src_ip or one.host, one.dest_ip or one.target
            if one.time_ns < begin or one.time_ns - CONFIRMED_NS > end:
                continue
            found = ends["orig_addr"].has(source)
            found &= (first <= one.time_ns) & (last >= one.time_ns - CONFIRMED_NS)
            if target:
                found &= ends["resp_addr"].has(target)
            if one.dest_port is not None:
                found &= port == one.dest_port
            labels[found] = ATTACK
        return labels


class _Ends:
    """A column of addresses, as texts that know their rows."""

    def __init__(self, column: Any) -> None:
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        self._codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        self.known = {text: code for code, text in enumerate(coded.dictionary.to_pylist())}

    def has(self, address: str) -> npt.NDArray[np.bool_]:
        """Which rows have this address."""
        found: npt.NDArray[np.bool_] = self._codes == self.known.get(address, -2)
        return found


def _merged(spans: list[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Spans that do not overlap, in order, (n, 2)."""
    merged: list[list[int]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    return np.array(merged, np.int64)
