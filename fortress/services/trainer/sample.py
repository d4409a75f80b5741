# SPDX-License-Identifier: Apache-2.0
"""A sample of the archive that fits into memory whatever the archive's size: of each day and label
so many flows, each with the same chance (the smallest of random keys, "bottom-k").

Which flows are drawn depends on the files alone, not on the order in which they are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fortress.features import flow
from fortress.services.trainer import labels
from fortress.services.trainer.labels import ATTACK, BENIGN, LEFT_OUT, Labeller

DAY_NS = 86_400_000_000_000
PER_DAY = 4000  # judged flows of a day and a label; 45 features of float32 each
MOST_DAYS = 60  # the newest; bounds memory at 60 × 2 × 2 × 4,000 × 188 bytes = 180 MB
SEED = 20_231_023
COLUMNS = tuple(dict.fromkeys((*labels.COLUMNS, *flow.COLUMNS)))

Float32 = npt.NDArray[np.float32]


@dataclass(slots=True)
class House:
    """The sampled flows of a network: `matrix` (n, features), `attack` and `day` (n,), in order of
    day. `flows` counts the benign flows of each day, `judged` those of them that could be sampled.
    """

    matrix: Float32
    attack: npt.NDArray[np.bool_]
    day: npt.NDArray[np.int64]
    flows: dict[int, int]
    judged: dict[int, int]
    left_out: int
    confirmed: int

    @property
    def days(self) -> tuple[int, ...]:
        """The days (since 1970) that have benign flows to judge."""
        return tuple(sorted(day for day, count in self.judged.items() if count))

    @property
    def digest(self) -> str:
        """The sha256 of what was sampled."""
        mixed = hashlib.sha256(self.matrix.tobytes())
        mixed.update(self.attack.tobytes() + self.day.tobytes())
        return mixed.hexdigest()

    def of(self, days: Iterable[int], attack: bool) -> Float32:
        """The features of the flows of some days, benign ones or attacks."""
        rows: Float32 = self.matrix[np.isin(self.day, list(days)) & (self.attack == attack)]
        return rows


@dataclass(slots=True)
class _Stratum:
    """Flows with the smallest keys so far, at most twice as many as are wanted."""

    most: int
    keys: list[npt.NDArray[np.float64]] = field(default_factory=list)
    rows: list[Float32] = field(default_factory=list)
    held: int = 0
    bound: float = 1.0  # no key from here on is of use

    def add(self, keys: npt.NDArray[np.float64], rows: Float32) -> None:
        self.keys.append(keys)
        self.rows.append(rows)
        self.held += len(keys)
        if self.held > 2 * self.most:
            self._trim()

    def taken(self) -> Float32:
        """The flows, in the order of their keys."""
        self._trim()
        return self.rows[0]

    def _trim(self) -> None:
        keys, rows = np.concatenate(self.keys), np.concatenate(self.rows)
        order = np.argsort(keys, kind="stable")[: self.most]
        self.keys, self.rows, self.held = [keys[order]], [rows[order]], len(order)
        if len(order) == self.most:
            self.bound = float(keys[order[-1]])


def sample(batches: Iterable[pa.RecordBatch], labeller: Labeller, per_day: int = PER_DAY) -> House:
    """The sample of all batches, which hold COLUMNS; of the newest MOST_DAYS days."""
    strata: dict[tuple[int, int], _Stratum] = {}
    flows: dict[int, int] = {}
    judged: dict[int, int] = {}
    left_out = confirmed = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        columns = {name: batch[name].to_numpy(zero_copy_only=False) for name in _NUMBERS}
        label, day = labeller.label(batch), columns["last_ns"] // DAY_NS
        is_judged = flow.judgeable(columns)
        left_out += int((label == LEFT_OUT).sum())
        confirmed += int((label == ATTACK).sum())
        chance = np.random.default_rng([SEED, int(columns["last_ns"][0]) >> 20, len(day)])
        drawn = chance.random(len(day))
        for one in np.unique(day).tolist():
            today = day == one
            benign = today & (label == BENIGN)
            flows[one] = flows.get(one, 0) + int(benign.sum())
            judged[one] = judged.get(one, 0) + int((benign & is_judged).sum())
            for kind in (BENIGN, ATTACK):
                stratum = strata.setdefault((one, kind), _Stratum(per_day))
                rows = np.flatnonzero(today & (label == kind) & is_judged & (drawn < stratum.bound))
                if len(rows):
                    some = {name: columns[name][rows] for name in flow.COLUMNS}
                    stratum.add(drawn[rows], flow.flow_matrix(some))
        for old in sorted(flows)[:-MOST_DAYS]:
            del flows[old], judged[old]
            for kind in (BENIGN, ATTACK):
                strata.pop((old, kind), None)
    parts = [(key, strata[key].taken()) for key in sorted(strata) if strata[key].held]
    width = len(flow.FEATURES)
    return House(
        np.concatenate([rows for _, rows in parts] or [np.empty((0, width), np.float32)]),
        np.concatenate([np.full(len(r), key[1] == ATTACK) for key, r in parts] or [_NO_BOOLS]),
        np.concatenate([np.full(len(r), key[0]) for key, r in parts] or [_NO_DAYS]),
        flows,
        judged,
        left_out,
        confirmed,
    )


_NUMBERS = tuple(name for name in COLUMNS if name not in ("orig_addr", "resp_addr"))
_NO_BOOLS, _NO_DAYS = np.empty(0, np.bool_), np.empty(0, np.int64)
