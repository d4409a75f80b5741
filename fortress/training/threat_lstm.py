# SPDX-License-Identifier: Apache-2.0
"""Training of `threat-lstm`: read, judge on what is held out, learn from everything, export.

What was learnt is kept as numbers and text (`finished.npz`), so that `export` needs no training.
An interrupted run goes on where it was: every network has a checkpoint until the model is out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fortress.errors import InputError
from fortress.features import sequence
from fortress.inference import Histogram, ModelEntry
from fortress.inference.session import open_session
from fortress.training import threat_lstm_figures as pictures
from fortress.training import threat_lstm_judge as judge
from fortress.training.captures import captures_folder
from fortress.training.dataset import CACHE, RECORDED
from fortress.training.export import publish
from fortress.training.sources import code_digest
from fortress.training.summary import cpu_us
from fortress.training.threat_lstm_card import Findings, write_card
from fortress.training.threat_lstm_cut import cut
from fortress.training.threat_lstm_data import (
    STAGES,
    Corpus,
    Episode,
    demonstration,
    is_reserved,
    load_corpus,
)
from fortress.training.threat_lstm_export import INT8, Graphs, agreement, to_graphs
from fortress.training.threat_lstm_logs import read_logs
from fortress.training.threat_lstm_net import HIDDEN, Settings, ThreatNet

NAME, VERSION = "threat-lstm", "1.0.0"
STEPS = 64
ROOM = CACHE / NAME
FINISHED = ROOM / "finished.npz"
CAMPAIGNS = CACHE / "campaigns"  # recorded by `python -m tests.lab.campaigns`
# The clock is a bound for slow machines: a run that it cuts short comes out another.
FOLD = Settings(epochs=10, patience=3, seconds=180)  # while judging
SHIPPED = Settings(epochs=18, patience=5, seconds=400)
_WINDOWS = (STEPS, 1)
_PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "onnx", "onnxruntime")
Progress = Callable[[str, float], None]


def train_threat_lstm(
    data: Path, samples: Path, out: Path, progress: Progress, room: Path = ROOM
) -> ModelEntry:
    """The model trained on shared captures, logs and the lab's captures, published into
    `out`/threat-lstm. Takes some six minutes of one core.

    Raises InputError without the shared captures, ModelError when a graph differs from the network.
    """
    corpus = load_corpus(
        data, (samples, RECORDED, CAMPAIGNS), lambda step, share: progress(step, 0.05 * share)
    )
    reserved = [episode for episode in corpus.episodes if is_reserved(episode)]
    open_to_all = tuple(episode for episode in corpus.episodes if not is_reserved(episode))
    corpus = replace(corpus, episodes=open_to_all)
    kept = room / _key(corpus)
    kept.mkdir(parents=True, exist_ok=True)
    shown = [*_day(samples), *reserved, *_unseen_logs(captures_folder(data).parent / "flows")]
    outcomes = judge.held_out(corpus, FOLD, _part(progress, 0.05, 0.5), kept, (0, *_WINDOWS))
    origins = judge.other_origins(corpus, FOLD, _part(progress, 0.5, 0.82), kept)
    net = judge.learn_from(
        corpus.episodes, SHIPPED, _part(progress, 0.82, 0.98), kept / "shipped.pt"
    )
    progress("calibrate and export", 0.98)
    graphs = to_graphs(net)
    risk, surprise = (calibrate(outcomes[0]) for calibrate in _CALIBRATIONS)
    threshold = judge.pick_threshold(outcomes[0])
    found = Findings(
        name=NAME,
        version=VERSION,
        corpus=corpus,
        held_out=judge.worth(outcomes[0], judge.thresholds(outcomes[0])),
        windowed={
            size: judge.worth(outcomes[size], judge.thresholds(outcomes[size])) for size in _WINDOWS
        },
        origins={name: judge.worth(one, threshold) for name, one in origins.items()},
        shown={
            episode.name: judge.worth(judge.judged(net, [episode]), threshold) for episode in shown
        },
        threshold=threshold,
        risk=float(risk.apply(np.array([threshold], np.float32))[0]),
        graphs=graphs,
        int8_agreement=agreement(graphs, _some_windows(corpus), threshold),
        pr_auc=pictures.pr_auc(outcomes[0]),
        calm_days=_calm_days(corpus),
        latency_us=_latencies(graphs),
    )
    held = pictures.columns_of(outcomes[0], outcomes[1])
    texts = pictures.draw(out / NAME / "figures", held)
    recipe = _recipe(found, risk.score, risk.probability, surprise.score, surprise.probability)
    recipe["reference"] = _reference(corpus, net, risk.apply)
    _finish(room / FINISHED.name, net, recipe, write_card(found, texts), held)
    shutil.rmtree(kept)
    return export_threat_lstm(room / FINISHED.name, out, graphs)


def export_threat_lstm(checkpoint: Path, out: Path, graphs: Graphs | None = None) -> ModelEntry:
    """The model of a finished training published into `out`/threat-lstm.

    Raises InputError when `checkpoint` is none.
    """
    try:
        with np.load(checkpoint, allow_pickle=False) as stored:
            texts = json.loads(str(stored["texts"]))
            weights = {
                name.removeprefix("net."): torch.from_numpy(stored[name])
                for name in stored.files
                if name.startswith("net.")
            }
            held = {name: stored[f"held.{name}"] for name in texts["held"]}
        net = ThreatNet()
        net.load_state_dict(weights)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{checkpoint}: no finished training of {NAME}: {error}") from None
    graphs = graphs or to_graphs(net)
    pictures.draw(out / NAME / "figures", held)
    wanted = texts["recipe"]["own"]["graphs"]
    variants = {name: graph for name, graph in graphs.variants().items() if name in wanted}
    return publish(
        out / NAME, graphs.window, texts["recipe"], texts["card"], f"{NAME}.onnx", variants
    )


_CALIBRATIONS = (judge.calibrate_risk, judge.calibrate_surprise)
_LEAST_AGREEMENT = 0.995  # of decisions, for the integers to be shipped


def _recipe(found: Findings, *tables: Sequence[float]) -> dict[str, Any]:
    names = [feature.name for feature in sequence.FEATURES]
    graphs = ["carried", *([INT8] if found.int8_agreement >= _LEAST_AGREEMENT else [])]
    return {
        "version": VERSION,
        "kind": "sequence",
        "input": {
            "features": names,
            "fingerprint": sequence.fingerprint(names),
            "columns": list(sequence.COLUMNS),
            "steps": STEPS,
        },
        "output": {"classes": list(STAGES)},
        "threshold": {"risk": found.risk, "score": found.threshold},
        "calibration": {
            "risk": {"score": list(tables[0]), "probability": list(tables[1])},
            "surprise": {"score": list(tables[2]), "probability": list(tables[3])},
        },
        "training": {
            "model": "LSTM 20 → 64, heads for the stage and the next step",
            "seed": SHIPPED.seed,
            "data_sha256": found.corpus.digest,
            "captures": len(found.corpus.episodes),
            "campaigns": sum("campaign" in one.name for one in found.corpus.episodes),
            "flows": sum(len(one.stage) for one in found.corpus.episodes),
            "prior": judge.PRIOR,
            "code_sha256": code_digest(__name__),
            "packages": {name: version(name) for name in _PACKAGES},
        },
        "metrics": {
            "held_out": held_out_figures(found.held_out, found.corpus.digest),
            "unseen_units": _metrics(found.held_out) | {"pr_auc": round(found.pr_auc, 4)},
            "other_origins": {name: _metrics(worth) for name, worth in found.origins.items()},
            "parity_max_difference": found.graphs.difference,
            "int8_agreement": found.int8_agreement,
        },
        "own": {"graphs": graphs, "prior": judge.PRIOR},
    }


def held_out_figures(worth: judge.Worth, data: str) -> dict[str, Any]:
    """What two versions are compared by when one is published (docs/models.md)."""
    steps, hosts = worth.false_steps, worth.false_originators
    return {
        "data_sha256": data,
        "main": "recall",
        "higher": {"recall": [round(value, 4) for value in judge.mean_recall(worth)]},
        "lower": {
            "false_steps": [round(v, 6) for v in (steps.value, *worth.false_steps_bootstrap)],
            "false_originators": [round(v, 6) for v in (hosts.value, *hosts.interval)],
        },
    }


def _metrics(worth: judge.Worth) -> dict[str, Any]:
    return {
        "recall_mean_over_units": {k: round(v, 4) for k, v in worth.recall.items()},
        "stage_right": {k: round(v, 4) for k, v in worth.right.items()},
        "precision": {k: round(v, 4) for k, v in worth.precision.items()},
        "false_steps": [worth.false_steps.hits, worth.false_steps.total],
        "false_step_rate_95": [round(bound, 6) for bound in worth.false_steps.interval],
        "false_step_rate_95_by_capture": [round(b, 6) for b in worth.false_steps_bootstrap],
        "false_originators": [worth.false_originators.hits, worth.false_originators.total],
        "surprise_roc_auc": round(worth.surprise_auc, 4),
    }


def _reference(corpus: Corpus, net: ThreatNet, calibrated: Callable[..., Any]) -> dict[str, Any]:
    """How inputs and risks are spread over benign steps, for the drift monitor."""
    calm = [one for one in cut(corpus.episodes) if not (one.stage > 0).any()]
    steps = np.concatenate([one.steps for one in calm])
    outcome = judge.judged(net, [e for e in corpus.episodes if not (e.stage > 0).any()])
    return {
        "inputs": {
            feature.name: Histogram.of(steps[:, index]).table()
            for index, feature in enumerate(sequence.FEATURES)
        },
        "scores": Histogram.of(calibrated(outcome.score)).table(),
    }


def _day(samples: Path) -> list[Episode]:
    """The lab's day of attacks, where it is."""
    day = demonstration(samples)
    return [day] if day else []


def _unseen_logs(flows: Path) -> list[Episode]:
    """Public logs that are never learnt from."""
    return [
        Episode(name, f"log:{name}", origin, columns, stage)
        for name, origin, columns, stage in read_logs(flows, kept=True)
    ]


def _calm_days(corpus: Corpus) -> float:
    """Days that the benign flows of the logs of whole days last, all devices together."""
    spans = [
        np.ptp(one.flows["first_ns"][one.stage == 0])
        for one in corpus.episodes
        if one.unit.startswith("log:") and (one.stage == 0).any()
    ]
    return float(sum(spans)) / 86_400e9


def _latencies(graphs: Graphs) -> tuple[float, float]:
    """Microseconds of CPU time of a window of STEPS, and of a step with the state carried."""
    window = open_session(graphs.window, Path(f"{NAME}.onnx"))
    carried = open_session(graphs.carried, Path("carried.onnx"))
    steps = np.zeros((1, STEPS, len(sequence.FEATURES)), np.float32)
    state = np.zeros((1, HIDDEN), np.float32)
    step = {"sequence": steps[:, :1], "h0": state, "c0": state}
    return (
        cpu_us(lambda: window.run(None, {"sequence": steps})),
        cpu_us(lambda: carried.run(None, step)),
    )


def _some_windows(corpus: Corpus, count: int = 2000) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Whole windows of real sequences, float32 (windows, STEPS, features)."""
    long = [one.steps for one in cut(corpus.episodes) if len(one.steps) >= STEPS]
    chance = np.random.default_rng(SHIPPED.seed)
    picked = []
    for _ in range(count):
        steps = long[chance.integers(len(long))]
        start = chance.integers(len(steps) - STEPS + 1)
        picked.append(steps[start : start + STEPS])
    return np.stack(picked)


def _finish(
    path: Path, net: ThreatNet, recipe: dict[str, Any], card: str, held: pictures.Columns
) -> None:
    texts = json.dumps({"recipe": recipe, "card": card, "held": list(held)}, ensure_ascii=False)
    arrays = {f"net.{name}": value.numpy() for name, value in net.state_dict().items()}
    arrays |= {f"held.{name}": column for name, column in held.items()}
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, allow_pickle=False, texts=np.array(texts), **arrays)
    part.replace(path)


def _part(progress: Progress, begin: float, end: float) -> Progress:
    return lambda step, share: progress(step, begin + (end - begin) * share)


def _key(corpus: Corpus) -> str:
    names = "\n".join(episode.name for episode in corpus.episodes)
    text = f"{corpus.digest} {names} {code_digest(__name__)} {FOLD} {SHIPPED}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


__all__ = ["NAME", "Episode", "export_threat_lstm", "train_threat_lstm"]
