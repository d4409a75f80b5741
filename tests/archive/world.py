"""Flows for archive tests: every column filled, ends where the test wants them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fortress.archive.arrow import SEQUENCE, flow_columns
from fortress.config.settings import Archive as Settings

COLUMNS = [one for one in flow_columns().values() if not one.name.startswith(SEQUENCE)]
NOON_NS = 1_795_435_200_000_000_000  # 2026-11-23 12:00:00 UTC
NOON_S = NOON_NS / 1e9
MINUTE_NS = 60_000_000_000


@dataclass
class Flows:
    """As the core's `Rows` are: a mapping with a number of rows."""

    columns: dict[str, Any]
    rows: int

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]


def flows(rows: int, end_ns: int = NOON_NS, step_ns: int = 1000, first_id: int = 0) -> Flows:
    """Flows that end `step_ns` apart; flow_id counts them, addresses repeat as in a network."""
    rng = np.random.default_rng(rows + first_id)
    columns: dict[str, Any] = {}
    for column in COLUMNS:
        dtype = np.dtype(column.dtype)
        if dtype.kind == "f":
            columns[column.name] = rng.integers(0, 4, rows).astype(dtype)
        elif dtype.kind == "S":
            columns[column.name] = np.full(rows, b"ShADadFf", dtype)
        elif dtype.kind == "V":
            octets = np.zeros((rows, 16), np.uint8)
            octets[:, 10:12] = 0xFF
            octets[:, 12] = 10
            octets[:, 14:] = rng.integers(0, [4, 250], (rows, 2))
            columns[column.name] = octets.view("V16").ravel()
        else:
            columns[column.name] = rng.integers(0, 4, rows).astype(dtype)
    columns["flow_id"] = np.arange(first_id, first_id + rows, dtype=np.uint64)
    columns["last_ns"] = (end_ns + step_ns * np.arange(rows)).astype(columns["last_ns"].dtype)
    return Flows(columns, rows)


def settings(**more: Any) -> Settings:
    return Settings(**{"rows_per_file": 1000} | more)
