# SPDX-License-Identifier: Apache-2.0
"""The flows of capture files as whole columns, for training, studies and tests (never for the live
stream).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import fortress_core
import numpy as np
import numpy.typing as npt
from fortress_core import FLOWS, StreamOptions, columns, open_capture

Columns = dict[str, npt.NDArray[Any]]
_BATCH_PACKETS = 65_536


@dataclass(frozen=True, slots=True)
class CollectedFlows:
    """Every flow of some captures: columns of one length, and what was damaged ("file at offset:
    message").
    """

    columns: Columns
    damages: tuple[str, ...]


def collect_flows(paths: Sequence[str | PathLike[str]], names: Iterable[str]) -> CollectedFlows:
    """The named flow columns of all flows in these capture files, in order of their end.

    Raises CaptureError when a file cannot be read at all.
    """
    wanted = list(dict.fromkeys(names))
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in wanted}
    options = StreamOptions(packet_rows="none", keep_intervals=False)
    with open_capture(
        [str(path) for path in paths],
        options=options,
        batch_packets=_BATCH_PACKETS,
        flow_columns=wanted,
    ) as stream:
        for batch in stream:
            if batch.flows.rows:
                for name in wanted:
                    parts[name].append(np.array(batch.flows[name]))
        damages = tuple(f"{d.path} at {d.offset}: {d.message}" for d in stream.damages())
    return CollectedFlows({name: _joined(name, part) for name, part in parts.items()}, damages)


def core_digest() -> str:
    """The sha256 of the core's library: another core may see other flows in the same capture."""
    return hashlib.sha256(Path(fortress_core._native.__file__).read_bytes()).hexdigest()


def _joined(name: str, parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    if parts:
        return np.concatenate(parts)
    dtype = next(column.dtype for column in columns(FLOWS) if column.name == name)
    return np.empty(0, dtype)
