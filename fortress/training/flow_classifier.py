# SPDX-License-Identifier: Apache-2.0
"""Training of the flow classifier: data, contest, evaluation, calibration, export; all with fixed
seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.features import flow
from fortress.inference import Calibration, Histogram, ModelEntry, Recipe
from fortress.inference.session import Session
from fortress.training import candidates, evaluate, figures, provenance
from fortress.training.card import Contestant, Findings, write_card
from fortress.training.dataset import FlowSet, Progress, load_demonstration, load_flows
from fortress.training.evaluate import MakeModel, Rate, Result, folds_by, judge, out_of_fold
from fortress.training.export import OPSETS, parity, publish, to_graph
from fortress.training.kinds import KINDS, WORDS, fit_kinds, kinds_out_of_fold
from fortress.training.reliability import cross_calibrated, risk_weights
from fortress.training.sources import code_digest
from fortress.training.summary import cpu_us
from fortress.training.truth import Fate

NAME = "flow-classifier"
VERSION = "2.1.0"
CLASSES = ("benign", "attack")
_LOADED = 0.03  # share of the whole time that reading takes
_MIN_OTHER_ORIGIN = 100  # judged flows; fewer tell nothing about an origin
_PACKAGES = ("numpy", "scipy", "scikit-learn", "skl2onnx", "onnx", "protobuf", "onnxruntime")


def train_flow_classifier(
    data: Path, samples: Path | None, out: Path, progress: Progress
) -> ModelEntry:
    """The model trained on the shared captures and the lab's, published into `out`/flow-classifier.

    Raises InputError without the shared captures, ModelError when the export differs from what was
    trained.
    """
    flows = load_flows(
        data, samples, lambda step, share: progress(step, _LOADED * share), provenance.COLUMNS
    )
    contestants = tuple(_contest(flows, progress))
    make = candidates.CANDIDATES[candidates.CHOSEN]
    progress("probe for provenance", 0.43)
    probes = provenance.probe(flows, make)
    progress("evaluate on unseen tools", 0.58)
    tools = nested(make, flows, flows.group)
    progress("evaluate on unseen captures", 0.71)
    captures = nested(make, flows, flows.capture)
    progress("evaluate on other origins", 0.84)
    origins = _other_origins(make, flows)
    progress("calibrate and export", 0.95)
    threshold = evaluate.held_out_threshold(make, flows, flows.group)
    by_tool, by_capture = folds_by(flows.group), folds_by(flows.capture)
    unseen, known = (out_of_fold(make, flows, fold) for fold in (by_tool, by_capture))
    # Captures held out, not tools: a risk is stated for a mixture of known and unknown ones.
    calibration = evaluate.calibrate(flows, known)
    everything = np.ones(len(flows), np.bool_)
    model, kinds = evaluate.fit(make, flows, everything), fit_kinds(flows, everything)
    onnx, onnx_kinds = (to_graph(one, len(flow.FEATURES)) for one in (model, kinds))
    risk = float(calibration.apply(np.array([threshold], np.float32))[0])
    session = Session(ModelEntry(_draft(CLASSES, calibration, risk), out / NAME, onnx))
    named = Session(ModelEntry(_draft(KINDS, calibration, risk), out / NAME, onnx_kinds))
    judged = flows.matrix[flows.judged]
    shares = kinds_out_of_fold(flows, by_tool), kinds_out_of_fold(flows, by_capture)
    findings = Findings(
        name=NAME,
        version=VERSION,
        chosen=candidates.CHOSEN,
        flows=flows,
        contestants=contestants,
        probes=probes,
        tools=tools,
        captures=captures,
        origins=origins,
        content=_content(flows, model, threshold),
        demonstration=_demonstration(samples, model, threshold),
        threshold=threshold,
        risk=risk,
        difference=max(parity(model, session, judged), parity(kinds, named, judged)),
        size_bytes=len(onnx) + len(onnx_kinds),
        rows_per_second=candidates.rows_per_second(session, judged),
        latency_us=cpu_us(lambda: session.run(judged[:1])),
        pr_auc=(evaluate.pr_auc(flows, unseen), evaluate.pr_auc(flows, known)),
        pr_auc_95=evaluate.pr_auc_interval(flows, unseen),
        shares=shares,
        texts=_draw(
            out / NAME / "figures", flows, (unseen, known), (by_tool, by_capture), shares[0], risk
        ),
    )
    entry = publish(
        out / NAME,
        onnx,
        _recipe(findings, calibration) | {"reference": _reference(flows, session, calibration)},
        write_card(findings),
        f"{NAME}.onnx",
        {"kinds": onnx_kinds},
    )
    progress("done", 1.0)
    return entry


def _draw(
    folder: Path,
    flows: FlowSet,
    scores: tuple[evaluate.Floats, evaluate.Floats],
    folds: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    shares: evaluate.Floats,
    threshold: float,
) -> dict[str, str]:
    """The figures, drawn into `folder`, as text; of scores that no model gave what it had seen."""
    rows = flows.judged & (flows.fate != Fate.CONTENT)
    attack = flows.fate[rows] == Fate.ATTACK
    weight = evaluate.group_weights(attack, flows.group[rows])
    curves = [
        figures.Scored(name, score[rows], attack, weight)
        for name, score in zip(("tools unseen", "captures unseen"), scores, strict=True)
    ]
    risks = [cross_calibrated(flows, *pair) for pair in zip(scores, folds, strict=True)]
    calibrated = figures.Scored(
        "captures unseen", risks[1][rows], attack, risk_weights(flows)[rows]
    )
    told = ("benign", *KINDS)
    confusion = np.zeros((len(told), len(told)))
    found = risks[0] >= threshold
    for row, name in enumerate(told):
        here = flows.judged & (flows.kind == name)
        here &= flows.fate == (Fate.ATTACK if row else Fate.BENIGN)
        groups = np.unique(flows.group[here]) if row else np.array(["benign"])
        for group in groups:  # a tool counts once
            some = here & (flows.group == group) if row else here
            kind = np.argmax(shares[some], axis=1) + 1 if row else np.ones(int(some.sum()), int)
            labels = np.where(found[some], kind, 0)
            confusion[row] += np.bincount(labels, minlength=len(told)) / len(labels) / len(groups)
    return figures.draw(folder, curves, calibrated, (told, told, confusion))


def nested(make: MakeModel, flows: FlowSet, unit: npt.NDArray[np.str_]) -> Result:
    """The result when units are held out in turn and the threshold is picked on the rest alone."""
    fold = folds_by(unit)
    found = np.zeros(len(flows))
    for number in np.unique(fold):
        held_out = fold == number
        found[held_out] = _found(make, flows, held_out, unit)
    return judge(flows, found, 0.5)


def _found(
    make: MakeModel, flows: FlowSet, held_out: npt.NDArray[np.bool_], unit: npt.NDArray[np.str_]
) -> npt.NDArray[np.bool_]:
    rest = flows.take(~held_out)
    threshold = evaluate.held_out_threshold(make, rest, unit[~held_out])
    model = evaluate.fit(make, flows, ~held_out)
    found: npt.NDArray[np.bool_] = evaluate.score(model, flows, held_out) >= threshold
    return found


def _contest(flows: FlowSet, progress: Progress) -> Iterator[Contestant]:
    by_tool, by_capture = folds_by(flows.group), folds_by(flows.capture)
    judged = flows.matrix[flows.judged]
    for index, (name, make) in enumerate(candidates.CANDIDATES.items()):
        progress(f"try {name}", _LOADED + 0.4 * index / len(candidates.CANDIDATES))
        tools, captures = (out_of_fold(make, flows, fold) for fold in (by_tool, by_capture))
        onnx = to_graph(
            evaluate.fit(make, flows, np.ones(len(flows), np.bool_)), len(flow.FEATURES)
        )
        session = Session(
            ModelEntry(_draft(CLASSES, Calibration((0, 1), (0, 1)), 0.5), Path(), onnx)
        )
        yield Contestant(
            name=name,
            pr_auc_tools=evaluate.pr_auc(flows, tools),
            pr_auc_captures=evaluate.pr_auc(flows, captures),
            recall_tools=judge(flows, tools, evaluate.pick_threshold(flows, tools)).recall,
            recall_captures=judge(flows, captures, evaluate.pick_threshold(flows, captures)).recall,
            rows_per_second=candidates.rows_per_second(session, judged),
            size_bytes=len(onnx),
        )


def _other_origins(make: MakeModel, flows: FlowSet) -> dict[str, Result]:
    results = {}
    for origin in np.unique(flows.origin):
        held_out = flows.origin == origin
        judged = held_out & flows.judged & (flows.fate != Fate.CONTENT)
        if judged.sum() >= _MIN_OTHER_ORIGIN or (flows.fate[judged] == Fate.ATTACK).any():
            found = _found(make, flows, held_out, flows.group)
            results[str(origin)] = judge(flows.take(held_out), found.astype(np.float64), 0.5)
    return results


def _content(flows: FlowSet, model: Any, threshold: float) -> Rate:
    rows = (flows.fate == Fate.CONTENT) & flows.judged
    scores = evaluate.score(model, flows, rows)
    return Rate(int((scores >= threshold).sum()), int(rows.sum()))


def _demonstration(samples: Path | None, model: Any, threshold: float) -> Result | None:
    flows = load_demonstration(samples)
    if flows is None:
        return None
    everything = np.ones(len(flows), np.bool_)
    return judge(flows, evaluate.score(model, flows, everything), threshold)


def _draft(classes: tuple[str, ...], calibration: Calibration, risk: float) -> Recipe:
    names = tuple(feature.name for feature in flow.FEATURES)
    return Recipe(
        name=NAME,
        version=VERSION,
        kind="flow",
        file=f"{NAME}.onnx",
        sha256="",
        size_bytes=0,
        opset=OPSETS[""],
        features=names,
        fingerprint=flow.fingerprint(names),
        columns=flow.COLUMNS,
        steps=0,
        classes=classes,
        thresholds={"risk": risk},
        calibrations={"risk": calibration},
    )


def _recipe(findings: Findings, calibration: Calibration) -> dict[str, Any]:
    names = [feature.name for feature in flow.FEATURES]
    flows, tools = findings.flows, findings.tools
    return {
        "version": VERSION,
        "kind": "flow",
        "input": {
            "features": names,
            "fingerprint": flow.fingerprint(names),
            "columns": list(flow.COLUMNS),
            "steps": 0,
        },
        "output": {"classes": list(CLASSES)},
        "threshold": {"risk": findings.risk, "score": findings.threshold},
        "calibration": {
            "risk": {
                "score": list(calibration.score),
                "probability": list(calibration.probability),
            },
        },
        "training": {
            "model": findings.chosen,
            "seed": evaluate.SEED,
            "prior": evaluate.PRIOR,
            "min_packets": flow.MIN_PACKETS,
            "data_sha256": flows.digest,
            "captures": len(np.unique(flows.capture)),
            "flows": len(flows),
            "judged_benign": int((flows.judged & (flows.fate == Fate.BENIGN)).sum()),
            "judged_attack": int((flows.judged & (flows.fate == Fate.ATTACK)).sum()),
            "damages": list(flows.damages),
            "code_sha256": code_digest(__name__),
            "packages": {name: version(name) for name in _PACKAGES},
        },
        "metrics": {
            "unseen_tools": _metrics(tools),
            "unseen_captures": _metrics(findings.captures),
            "pr_auc": {
                "unseen_tools": round(findings.pr_auc[0], 4),
                "unseen_captures": round(findings.pr_auc[1], 4),
            },
            "parity_max_difference": findings.difference,
            "held_out": _held_out(findings),
        },
        "own": {"kinds": [WORDS[kind] for kind in KINDS]},
    }


def _reference(flows: FlowSet, session: Session, calibration: Calibration) -> dict[str, Any]:
    """How features and risk are spread over benign flows: what a quiet network is compared with."""
    calm = flows.matrix[flows.judged & (flows.fate == Fate.BENIGN)]
    risk = calibration.apply(1 - session.run(calm)[:, 0])
    columns = zip(flow.FEATURES, calm.T, strict=True)
    return {
        "inputs": {feature.name: Histogram.of(column).table() for feature, column in columns},
        "scores": Histogram.of(risk).table(),
    }


def _held_out(findings: Findings) -> dict[str, Any]:
    """The figures by which another version of the model is compared with this one."""
    tools, (low, high) = findings.tools, findings.pr_auc_95
    first, last = evaluate.recall_interval(tools)
    false = tools.false_flows
    return {
        "data_sha256": findings.flows.digest,
        "main": "pr_auc_unseen_tools",
        "higher": {
            "pr_auc_unseen_tools": _rounded(findings.pr_auc[0], low, high),
            "recall_unseen_tools": _rounded(tools.recall, first, last),
        },
        "lower": {"false_positive_rate": _rounded(false.value, *false.interval)},
    }


def _rounded(*values: float) -> list[float]:
    return [round(value, 6) for value in values]


def _metrics(result: Result) -> dict[str, Any]:
    return {
        "recall_mean_over_tools": round(result.recall, 4),
        "false_positive_flows": [result.false_flows.hits, result.false_flows.total],
        "false_positive_rate_95": [round(bound, 7) for bound in result.false_flows.interval],
        "false_positive_captures": [result.false_captures.hits, result.false_captures.total],
        "false_positive_rate_95_by_capture": [round(b, 7) for b in result.false_bootstrap],
    }
