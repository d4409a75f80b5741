# SPDX-License-Identifier: Apache-2.0
"""A flow classifier for this network: made from the archive's sample, judged on its last days.

Without public captures there are no attacks to learn from: the graph that ships stays, and its
threshold is raised where ordinary days here would give more false alarms than it promises. With
them the gate is trained anew on both. Nobody vouches for unlabelled flows, so what they can do is
bounded:

- each day names the threshold it would need, and the median of the days is taken: less than half of
  the days cannot move it;
- it is raised at most half of the way from what ships to certainty, and never lowered;
- in training all flows of the house are one group: their weight is at most OWN_SHARE of their side;
- whatever the days say, a model that does worse on what it has not seen is not published.

The last HELD_OUT_DAYS days are never learnt from; the version in use is judged on them, too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.features import flow
from fortress.inference.entry import ModelEntry
from fortress.inference.flow_classifier import KINDS
from fortress.inference.histogram import Histogram
from fortress.inference.recipe import Calibration
from fortress.inference.session import Session
from fortress.services.trainer.sample import Float32, House
from fortress.training import evaluate
from fortress.training.candidates import CANDIDATES, CHOSEN
from fortress.training.dataset import FlowSet
from fortress.training.evaluate import Floats, Rate
from fortress.training.export import parity, publish, to_graph
from fortress.training.truth import Fate

NAME = "flow-classifier"
HELD_OUT_DAYS = 3
LEARN_DAYS = 4
OWN_SHARE = 0.2
_OWN = "house"


@dataclass(frozen=True, slots=True)
class Gate:
    """What says how likely a flow is an attack; `attacks` are figures on public captures that were
    held out (higher is better): value and the ends of its 95 % interval.
    """

    onnx: bytes
    calibration: Calibration
    threshold: float
    raised: float = 0.0
    attacks: Mapping[str, tuple[float, float, float]] | None = None
    attacks_without: Mapping[str, tuple[float, float, float]] | None = None
    difference: float = 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """A model on the days that were held out: benign flows called attacks, confirmed ones found."""

    false: Rate
    found: Rate


def learn_days(house: House) -> tuple[int, ...]:
    """The days to learn from; none while there are too few."""
    days = house.days
    return days[:-HELD_OUT_DAYS] if len(days) >= HELD_OUT_DAYS + LEARN_DAYS else ()


def refit(shipped: ModelEntry, house: House) -> Gate:
    """The gate that ships with a threshold for this network."""
    table, start = shipped.calibration(), shipped.threshold()
    risk = _risks(shipped, house.matrix)
    threshold = raised(risk, house, start)
    return Gate(shipped.onnx, table, threshold, threshold - start)


def train(shipped: ModelEntry, house: House, base: FlowSet) -> Gate:
    """A gate trained on public captures and this network's days. Takes a minute or two."""
    make = CANDIDATES[CHOSEN]
    own = _own_flows(house, base)
    both = _joined(base, own)
    unit = np.concatenate([base.group, own.capture])
    fold = np.concatenate([evaluate.folds_by(base.group), evaluate.folds_by(own.capture)])
    without = evaluate.out_of_fold(make, base, evaluate.folds_by(base.group))
    scores = evaluate.out_of_fold(make, both, fold)
    score = max(
        evaluate.pick_threshold(both, scores), evaluate.held_out_threshold(make, both, unit)
    )
    table = evaluate.calibrate(both, scores)
    start = float(table.apply(np.array([score], np.float32))[0])
    model = evaluate.fit(make, both, np.ones(len(both), np.bool_))
    onnx = to_graph(model, len(flow.FEATURES))
    draft = ModelEntry(replace(shipped.recipe, calibrations={"risk": table}), Path(NAME), onnx)
    difference = parity(model, Session(draft), both.matrix[both.judged])
    threshold = raised(_risks(draft, house.matrix), house, start)
    at = float(np.interp(threshold, table.probability, table.score))
    return Gate(
        onnx,
        table,
        threshold,
        threshold - start,
        _attacks(base, scores[: len(base)], max(at, score)),
        _attacks(base, without, evaluate.pick_threshold(base, without)),
        difference,
    )


def raised(risk: npt.NDArray[np.float32], house: House, start: float) -> float:
    """The threshold at which the median of the days to learn from keeps to
    TARGET_FALSE_POSITIVES, at least `start` and at most half way from there to 1.
    """
    wanted = []
    for day in learn_days(house):
        today = np.sort(risk[(house.day == day) & ~house.attack])[::-1]
        sampled = len(today) / house.judged[day]
        allowed = int(house.flows[day] * evaluate.TARGET_FALSE_POSITIVES * sampled)
        wanted.append(float(today[min(allowed, len(today) - 1)]))
    if not wanted:
        return start
    least = float(np.nextafter(np.float32(np.median(wanted)), np.float32(2)))
    return min(max(start, least), (1 + start) / 2)


def judge(entry: ModelEntry, house: House) -> Judged:
    """A model on the days that were held out."""
    days = house.days[-HELD_OUT_DAYS:]
    rates = []
    for attack in (False, True):
        rows = house.of(days, attack)
        found = _risks(entry, rows) >= entry.threshold() if len(rows) else np.empty(0)
        rates.append(Rate(int(found.sum()), len(rows)))
    return Judged(*rates)


def as_entry(shipped: ModelEntry, gate: Gate) -> ModelEntry:
    """The gate as an entry that can be judged; nobody has signed it."""
    recipe = replace(
        shipped.recipe,
        thresholds={"risk": gate.threshold},
        calibrations={"risk": gate.calibration},
    )
    return ModelEntry(recipe, shipped.folder, gate.onnx)


def draft(
    folder: Path, shipped: ModelEntry, gate: Gate, held_out: Mapping[str, Any], card: str
) -> ModelEntry:
    """The gate written into `folder`/NAME as the registry takes it. `held_out` has the version and
    the tables `metrics` and `training`. Raises ModelRejected, OSError.
    """
    table = tomllib.loads((shipped.folder / "model.toml").read_text(encoding="utf-8"))
    for key in ("name", "file", "sha256", "bytes", "opset", "variants"):
        del table[key]
    calibration = gate.calibration
    table |= held_out
    table["threshold"] = {"risk": gate.threshold}
    table["calibration"] = {
        "risk": {
            "score": list(calibration.score),
            "probability": list(calibration.probability),
        }
    }
    graphs = {KINDS: shipped.graph(KINDS)}
    return publish(folder / NAME, gate.onnx, table, card, f"{NAME}.onnx", graphs)


def reference(entry: ModelEntry, house: House) -> dict[str, Any]:
    """How features and risk are spread over this network's own days: for the drift monitor."""
    calm = house.of(learn_days(house), False)
    columns = zip(flow.FEATURES, calm.T, strict=True)
    return {
        "inputs": {one.name: Histogram.of(column).table() for one, column in columns},
        "scores": Histogram.of(_risks(entry, calm)).table(),
    }


def _risks(entry: ModelEntry, matrix: Float32) -> npt.NDArray[np.float32]:
    return entry.calibration().apply(1 - Session(entry).run(matrix)[:, 0])


def _own_flows(house: House, base: FlowSet) -> FlowSet:
    """The flows of the days to learn from, so few that their side gives them OWN_SHARE at most."""
    chance = np.random.default_rng(evaluate.SEED)
    learnt = np.isin(house.day, learn_days(house))
    taken = []
    for attack, fate in ((False, Fate.BENIGN), (True, Fate.ATTACK)):
        rows = np.flatnonzero(learnt & (house.attack == attack))
        usable = base.group[base.judged & (base.fate == fate)]
        others = np.sqrt(np.unique(usable, return_counts=True)[1]).sum()
        most = int((OWN_SHARE / (1 - OWN_SHARE) * others) ** 2)  # a group weighs as its root
        if len(rows) > most:
            rows = chance.choice(rows, most, replace=False)
        taken.append(np.sort(rows))
    rows = np.concatenate(taken)
    is_attack = house.attack[rows]
    return FlowSet(
        house.matrix[rows],
        np.ones(len(rows), np.bool_),
        np.where(is_attack, Fate.ATTACK, Fate.BENIGN).astype(np.int8),
        np.where(is_attack, _OWN, "benign"),
        np.array([f"{_OWN} {day}" for day in house.day[rows]], "U64"),
        np.full(len(rows), _OWN),
        np.full(len(rows), _OWN),
        {},
        house.digest,
        (),
    )


def _joined(base: FlowSet, own: FlowSet) -> FlowSet:
    parts = {
        name: np.concatenate([getattr(base, name), getattr(own, name)])
        for name in ("matrix", "judged", "fate", "kind", "capture", "group", "origin")
    }
    return FlowSet(**parts, columns={}, digest=base.digest, damages=base.damages)


def _attacks(
    base: FlowSet, scores: Floats, threshold: float
) -> dict[str, tuple[float, float, float]]:
    """What public captures say of attacks by tools that were held out."""
    result = evaluate.judge(base, scores, threshold)
    return {
        "pr_auc_unseen_tools": (
            evaluate.pr_auc(base, scores),
            *evaluate.pr_auc_interval(base, scores),
        ),
        "recall_unseen_tools": (result.recall, *evaluate.recall_interval(result)),
    }
