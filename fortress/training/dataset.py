# SPDX-License-Identifier: Apache-2.0
"""The labelled flows that models of flows are trained and judged on, read from captures by our own
core.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.features import flow
from fortress.features.collect import collect_flows, core_digest
from fortress.training import truth
from fortress.training.captures import (
    Capture,
    captures_folder,
    lab_captures,
    shared_captures,
)
from fortress.training.truth import Fate

Progress = Callable[[str, float], None]
_TELL_EVERY = 100  # captures
_CLOCK_STEP = 7  # end_reason: the stamps of the capture jump back, so the flow is cut at random
CACHE = Path(__file__).resolve().parents[2] / ".cache"
RECORDED = CACHE / "lab"  # captures that the laboratory records for training only


@dataclass(frozen=True, slots=True)
class FlowSet:
    """Flows with their truth: arrays of one length (`matrix` and each of `columns` have a row a
    flow).

    `fate` is a Fate; `judged` says whether there is enough of the flow to judge; `kind`, `capture`,
    `group`, `origin` are strings; `columns` are the extra columns asked for.
    """

    matrix: npt.NDArray[np.float32]
    judged: npt.NDArray[np.bool_]
    fate: npt.NDArray[np.int8]
    kind: npt.NDArray[np.str_]
    capture: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    origin: npt.NDArray[np.str_]
    columns: Mapping[str, npt.NDArray[Any]]
    digest: str
    damages: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.fate)

    def take(self, rows: npt.NDArray[Any]) -> FlowSet:
        """The flows of a mask or of indices."""
        return FlowSet(
            self.matrix[rows],
            self.judged[rows],
            self.fate[rows],
            self.kind[rows],
            self.capture[rows],
            self.group[rows],
            self.origin[rows],
            {name: column[rows] for name, column in self.columns.items()},
            self.digest,
            self.damages,
        )


def load_flows(
    data: Path,
    samples: Path | None,
    progress: Progress,
    extra: tuple[str, ...] = (),
    recorded: Path | None = RECORDED,
) -> FlowSet:
    """All labelled flows of the shared captures under `data` and of the laboratory's in `samples`
    and `recorded`.

    Raises InputError when the shared captures are not there.
    """
    folder = captures_folder(data)
    names = tuple(dict.fromkeys((*flow.COLUMNS, *truth.COLUMNS, "end_reason", *extra)))
    parts: list[FlowSet] = []
    with tempfile.TemporaryDirectory(prefix="fortress-training.") as room:
        progress("unpack captures", 0.0)
        captures = [*shared_captures(folder, Path(room)), *lab_captures(samples, recorded)]
        for index, capture in enumerate(captures):
            if index % _TELL_EVERY == 0:
                progress(f"read captures, {index} of {len(captures)}", index / len(captures))
            parts.append(_read(capture, names, extra))
    return _joined(parts)


def load_demonstration(samples: Path | None) -> FlowSet | None:
    """The labelled flows of the capture that is never trained on; None where it is not there."""
    parts = [
        _read(capture, (*flow.COLUMNS, *truth.COLUMNS, "end_reason"), ())
        for capture in lab_captures(samples, demonstration=True)
    ]
    return _joined(parts) if parts else None


def read_columns(
    capture: Capture, names: Iterable[str]
) -> tuple[dict[str, npt.NDArray[Any]], tuple[str, ...], str]:
    """The columns of a capture's flows, what was damaged, and the sha256 of the file.

    Flows that were read once are kept below `.cache/flows` of a checkout, by digest of capture,
    columns and core.
    """
    wanted, digest = tuple(names), capture.digest
    key = hashlib.sha256("\x1f".join((digest, core_digest(), *wanted)).encode()).hexdigest()[:24]
    kept = CACHE / "flows" / f"{key}.npz"
    if kept.is_file():
        with np.load(kept, allow_pickle=False) as stored:
            damages = tuple(stored["damages "].tolist())
            return {name: stored[name] for name in wanted}, damages, digest
    collected = collect_flows([capture.path], wanted)
    damages = tuple(d.replace(str(capture.path), capture.name) for d in collected.damages)
    if CACHE.is_dir():
        kept.parent.mkdir(exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.npz")
        held: dict[str, Any] = {"damages ": np.array(damages, "U400"), **collected.columns}
        np.savez(part, **held)
        part.replace(kept)
    return collected.columns, damages, digest


def _read(capture: Capture, names: tuple[str, ...], extra: tuple[str, ...]) -> FlowSet:
    flows, damages, digest = read_columns(capture, names)
    judged = capture.judge(flows)
    keep = (judged.fate != Fate.DROPPED) & (flows["end_reason"] != _CLOCK_STEP)
    rows = int(keep.sum())
    return FlowSet(
        flow.flow_matrix(flows)[keep],
        flow.judgeable(flows)[keep],
        judged.fate[keep],
        judged.kind[keep].astype("U16"),
        np.full(rows, capture.name),
        judged.group[keep].astype("U64"),
        np.full(rows, capture.origin),
        {name: flows[name][keep] for name in extra},
        digest,
        damages,
    )


def _joined(parts: list[FlowSet]) -> FlowSet:
    extra = parts[0].columns
    digests = "\n".join(sorted(part.digest for part in parts))
    return FlowSet(
        np.concatenate([part.matrix for part in parts]),
        np.concatenate([part.judged for part in parts]),
        np.concatenate([part.fate for part in parts]),
        np.concatenate([part.kind for part in parts]),
        np.concatenate([part.capture for part in parts]),
        np.concatenate([part.group for part in parts]),
        np.concatenate([part.origin for part in parts]),
        {name: np.concatenate([part.columns[name] for part in parts]) for name in extra},
        hashlib.sha256(digests.encode()).hexdigest(),
        tuple(damage for part in parts for damage in part.damages),
    )
