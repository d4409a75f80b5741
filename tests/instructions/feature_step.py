"""Runs the feature steps over saved rows under callgrind: feature_step.py MARKS.so ROWS.npz.

Each step runs once uncounted, so that what is made at first use is there, and then counted.
"""

import ctypes
import sys

import numpy as np

from fortress.features.flow import COLUMNS, flow_matrix
from fortress.qsecbit import Pipeline

Ticks = list[tuple[int, dict[str, dict[str, np.ndarray]]]]


def main(library: str, path: str) -> None:
    marks = ctypes.CDLL(library)
    ticks = read(path)
    for step in (pipeline, matrix):
        step(ticks)
        marks.count_begin()
        step(ticks)
        marks.count_end(step.__name__.encode())


def read(path: str) -> Ticks:
    tables: dict[int, dict[str, dict[str, np.ndarray]]] = {}
    with np.load(path) as stored:
        for name in stored.files:
            tick_ns, table, column = name.split("/")
            tables.setdefault(int(tick_ns), {}).setdefault(table, {})[column] = stored[name]
    return list(tables.items())


def pipeline(ticks: Ticks) -> None:
    """Windows, detectors and score, without the model."""
    made = Pipeline()
    for tick_ns, tables in ticks:
        made.tick(tick_ns, tables["intervals"], tables["flows"], tables["packets"])


def matrix(ticks: Ticks) -> None:
    """What the model is given."""
    for _, tables in ticks:
        flow_matrix({name: tables["flows"][name] for name in COLUMNS})


main(sys.argv[1], sys.argv[2])
