# SPDX-License-Identifier: Apache-2.0
"""Training of `host-anomaly`: what a typical device's minutes are like, how rare a surprise is,
what attacks look like over real days; all of it judged on devices that were left out.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.metrics import average_precision_score

from fortress.errors import InputError
from fortress.features import host
from fortress.inference import ModelEntry
from fortress.inference.histogram import Histogram
from fortress.inference.host_baseline import Typical
from fortress.inference.session import open_session
from fortress.training.captures import captures_folder, lab_captures, shared_captures
from fortress.training.dataset import RECORDED, Progress
from fortress.training.evaluate import Rate
from fortress.training.export import publish
from fortress.training.figures import Scored, draw_curves
from fortress.training.host_card import write_card
from fortress.training.host_data import Doings, of_capture, read_zeek, windows
from fortress.training.host_study import (
    BELOW,
    REACH,
    Asked,
    Directions,
    Hit,
    ask,
    directions_of,
    measure_with,
    poisoned,
    strike,
    typical_of,
)
from fortress.training.sources import code_digest
from fortress.training.summary import cpu_us

NAME, VERSION = "host-anomaly", "1.0.0"
PRIOR = 1e-3  # share of a device's minutes that are taken to hold an attack
FALSE_A_DAY = 0.2  # false alarms that a device active in every minute may give in a day
SHIFT_MARGIN = 1.5  # times the largest move of a day's median that a clean device showed
GROWTH = 1.2  # a day, of an attacker who means to be learnt
_OPSET = 17
_MINUTES_A_DAY = 1440
_PACKAGES = ("numpy", "scikit-learn", "onnx")
# Device of a public Zeek log of whole days: file below data/flows, name, address, minutes that are
# clean (the infected camera is quiet from the 6th to the 14th hour).
_LOGS = (
    ("stratosphere-zeek/008-zeek-mixed/data/conn.log.labeled.xz", "office-40", "147.32.81.167",
     (0, 100_000)),
    ("stratosphere-zeek/010-zeek-mixed/data/conn.log.labeled.xz", "office-42", "147.32.83.234",
     (0, 100_000)),
    ("iot23/CTU-IoT-Malware-Capture-34-1.conn.log.labeled.xz", "iot-34", "192.168.1.195",
     (300, 840)),
)  # fmt: skip
_ATTACK_LOGS = (
    ("stratosphere-zeek/002-zeek-scenario-port-scanning/conn.log.xz", "ctu-nmap", "172.16.1.11",
     {"": "scan"}),
    ("stratosphere-zeek/001-zeek-scenario-malicious/labeled-conn.log.xz", "njrat", "192.168.1.115",
     {"CC": "c2"}),
    ("iot23/CTU-IoT-Malware-Capture-34-1.conn.log.labeled.xz", "iot-34", "192.168.1.195",
     {"C&C": "c2", "DDoS": "flood", "PartOfAHorizontalPortScan": "scan"}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Study:
    """What the left-out devices told, and the thresholds that came of it."""

    asked: tuple[Asked, ...]
    hits: tuple[Hit, ...]
    least: float
    inflation: float
    risk: float
    scores: tuple[float, ...]
    risks: tuple[float, ...]
    poison: dict[float, list[tuple[int, float, float]]]
    shift: float
    devices: tuple[Doings, ...]
    digest: str
    pr_auc: float
    latency_us: float

    @property
    def false(self) -> Rate:
        """Judged minutes without an attack that were alarms."""
        rarity = np.concatenate([one.rarity for one in self.asked])
        return Rate(int((rarity >= self.least).sum()), len(rarity))


def train_host_anomaly(
    data: Path, samples: Path | None, out: Path, progress: Progress
) -> ModelEntry:
    """The model, published into `out`/host-anomaly. Raises InputError without the shared data."""
    flows = _flows_folder(data)
    progress("read days and attacks", 0.0)
    devices = tuple(_devices(flows))
    attacks = tuple(_attacks(data, flows, samples))
    asked: list[Asked] = []
    hits: list[Hit] = []
    for number, device in enumerate(devices):
        progress(f"judge {device.name} by the other devices", 0.1 + 0.25 * number)
        others = [other for other in devices if other is not device]
        spread, directions = directions_of(others)
        typical = typical_of(others, spread, directions)
        asked.append(ask(device, typical, directions))
        hits += strike(device, attacks, typical, directions)
    progress("see how far a patient attacker gets", 0.85)
    spread, directions = directions_of(devices)
    typical = typical_of(devices, spread, directions)
    inflation = _inflation(asked)
    least = round(float(np.log10(_MINUTES_A_DAY * inflation / FALSE_A_DAY)), 2)
    scores, risks = _risks(hits, inflation)
    graph = to_graph(directions)
    curve = _curve(asked, hits)
    study = Study(
        asked=tuple(asked),
        hits=tuple(hits),
        least=least,
        inflation=inflation,
        risk=float(np.interp(least, scores, risks)),
        scores=scores,
        risks=risks,
        poison={
            growth: poisoned(devices[0], typical, directions, growth, least)
            for growth in (GROWTH, 2.0)
        },
        shift=round(SHIFT_MARGIN * max(one.shift for one in asked), 2),
        devices=devices,
        digest=_digest(flows),
        pr_auc=float(
            average_precision_score(curve.attack, curve.score, sample_weight=curve.weight)
        ),
        latency_us=_latency_us(graph),
    )
    texts = draw_curves(out / NAME / "figures", [curve])
    difference = _parity(graph, directions)
    progress("publish", 0.98)
    entry = publish(
        out / NAME,
        graph,
        _recipe(study, typical, directions, difference),
        write_card(NAME, VERSION, study, len(graph), texts),
        f"{NAME}.onnx",
    )
    progress("done", 1.0)
    return entry


def _curve(asked: Sequence[Asked], hits: Sequence[Hit]) -> Scored:
    """Minutes without an attack and minutes of attacks, half each; tools alike among attacks."""
    calm = np.concatenate([one.rarity for one in asked])
    names = [(hit.kind, hit.tool) for hit in hits]
    sizes = dict.fromkeys(names, 0)
    for hit in hits:
        sizes[hit.kind, hit.tool] += len(hit.rarity)
    weights = [np.full(len(h.rarity), 1 / sizes[h.kind, h.tool] / len(sizes)) for h in hits]
    rarity = np.concatenate([calm, *(hit.rarity for hit in hits)])
    return Scored(
        "devices left out",
        rarity,
        np.arange(len(rarity)) >= len(calm),
        np.concatenate([np.full(len(calm), 1 / len(calm)), *weights]),
    )


def to_graph(directions: Directions) -> bytes:
    """The graph from standardised minutes to surprise and its parts, one a feature."""
    width = len(host.FEATURES)
    values = {
        "below": np.float32(-BELOW),
        "reach": np.float32(REACH),
        "directions": directions.astype(np.float32),
    }
    nodes = [
        helper.make_node("Clip", ["minutes", "below", "reach"], ["bounded"]),
        helper.make_node("MatMul", ["bounded", "directions"], ["apart"]),
        helper.make_node("Mul", ["apart", "apart"], ["parts"]),
        helper.make_node("ReduceMean", ["parts"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sqrt", ["mean"], ["surprise"]),
        helper.make_node("Concat", ["surprise", "parts"], ["told"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "fortress",
        [helper.make_tensor_value_info("minutes", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("told", TensorProto.FLOAT, [None, width + 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=8,
        producer_name="fortress",
    )
    onnx.checker.check_model(model)
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def _flows_folder(data: Path) -> Path:
    for folder in (data / "flows", data / "data" / "flows", data.parent / "flows"):
        if (folder / _LOGS[0][0]).is_file():
            return folder
    raise InputError(
        f"{data}: no flows/stratosphere-zeek below it; host-anomaly is trained on the shared Zeek "
        "logs: put the shared folder beside the checkout or name it with --data"
    )


def _devices(flows: Path) -> Iterator[Doings]:
    for file, name, address, (first, last) in _LOGS:
        calm = read_zeek(flows / file, name, address)["benign"]
        yield calm.take((calm.minutes >= first) & (calm.minutes < last))


def _attacks(data: Path, flows: Path, samples: Path | None) -> Iterator[Doings]:
    for file, name, address, kinds in _ATTACK_LOGS:
        told = read_zeek(flows / file, name, address)
        for label, kind in kinds.items():
            yield replace(told[label], kind=kind, tool=f"{name}{':' * bool(label)}{label}")
    folder = captures_folder(data)
    with tempfile.TemporaryDirectory(prefix="fortress-training.") as room:
        captures = shared_captures(folder, Path(room), ("attack", "dns-tunnel"))
        for capture in (*captures, *lab_captures(samples, RECORDED)):
            yield from (done for done in of_capture(capture) if done.kind != "benign")


def _inflation(asked: Sequence[Asked]) -> float:
    """How many times more minutes are rare (to one in a hundred, one in 300) than they should be;
    the upper end of a 95 % interval, at least 1.
    """
    rarity = np.concatenate([one.rarity for one in asked])
    return max(
        1.0, *(Rate(int((rarity >= -np.log10(s)).sum()), len(rarity)).interval[1] / s
               for s in (1e-2, 1 / 300))
    )  # fmt: skip


def _risks(hits: Sequence[Hit], inflation: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The probability that a minute at least so rare is an attack's, at rising rarities.

    By Bayes: attacks have the share of their minutes that is as rare (tools alike), others the
    share that rarity itself says, times `inflation`.
    """
    scores = np.arange(0, 8.01, 0.25)
    tools = sorted({(hit.kind, hit.tool) for hit in hits})
    minutes = [
        np.concatenate([hit.rarity for hit in hits if (hit.kind, hit.tool) == tool])
        for tool in tools
    ]
    attack = np.array([np.mean([(told >= x).mean() for told in minutes]) for x in scores])
    benign = np.minimum(1.0, inflation * 10.0**-scores)
    risk = PRIOR * attack / np.maximum(PRIOR * attack + (1 - PRIOR) * benign, 1e-12)
    risk = np.maximum.accumulate(np.where(attack > 0, risk, 0)).clip(0, 0.99)
    return tuple(scores.tolist()), tuple(risk.round(6).tolist())


def _recipe(
    study: Study, typical: Typical, directions: Directions, difference: float
) -> dict[str, Any]:
    names = [feature.name for feature in host.FEATURES]
    matrix = np.concatenate([windows(device.flows)[1] for device in study.devices])
    rarity = np.concatenate([one.rarity for one in study.asked])
    found = np.concatenate([hit.rarity for hit in study.hits]) >= study.least
    columns = zip(names, matrix.T, strict=True)
    return {
        "version": VERSION,
        "kind": "host",
        "input": {
            "features": names,
            "fingerprint": host.fingerprint(names),
            "columns": list(host.INTERVAL_COLUMNS),
            "steps": 0,
        },
        "output": {"classes": ["surprise", *names]},
        "threshold": {"risk": study.risk, "rarity": study.least, "shift": study.shift},
        "calibration": {
            "risk": {"score": list(study.scores), "probability": list(study.risks)},
        },
        "reference": {
            "inputs": {name: Histogram.of(column).table() for name, column in columns},
            "scores": Histogram.of(np.interp(rarity, study.scores, study.risks)).table(),
        },
        "training": {
            "prior": PRIOR,
            "data_sha256": study.digest,
            "devices": [device.name for device in study.devices],
            "minutes": len(matrix),
            "code_sha256": code_digest(__name__),
            "packages": {name: version(name) for name in _PACKAGES},
        },
        "metrics": {
            "false_minutes": [study.false.hits, study.false.total],
            "false_rate_95": [round(bound, 6) for bound in study.false.interval],
            "device_days": round(sum(one.days for one in study.asked), 3),
            "attack_minutes_found": [int(found.sum()), len(found)],
            "pr_auc": round(study.pr_auc, 4),
            "inflation": round(study.inflation, 3),
            "parity_max_difference": difference,
            "held_out": _held_out(study),
        },
        "own": {
            "spread": [round(float(value), 5) for value in typical.spread],
            "surprise": [round(float(value), 5) for value in typical.surprise],
            "log10_share": [round(float(value), 5) for value in typical.log10_share],
        },
    }


def _held_out(study: Study) -> dict[str, Any]:
    """The figures by which another version of the model is compared with this one."""
    tools = sorted({(hit.kind, hit.tool) for hit in study.hits})
    found = np.array([
        np.mean([
            (hit.rarity >= study.least).any()
            for hit in study.hits
            if (hit.kind, hit.tool) == tool
        ])
        for tool in tools
    ])  # fmt: skip
    drawn = found[np.random.default_rng(1).integers(0, len(found), (2000, len(found)))]
    low, high = np.percentile(drawn.mean(axis=1), (2.5, 97.5))
    false = study.false
    return {
        "data_sha256": study.digest,
        "main": "attacks_found",
        "higher": {"attacks_found": [round(float(v), 6) for v in (found.mean(), low, high)]},
        "lower": {
            "false_minutes": [round(float(v), 6) for v in (false.value, *false.interval)],
        },
    }


def _parity(graph: bytes, directions: Directions) -> float:
    """The largest relative difference between the study's surprise and the graph's."""
    rows = np.random.default_rng(1).normal(0, 4, (1000, len(host.FEATURES))).astype(np.float32)
    told = open_session(graph, Path(f"{NAME}.onnx")).run(None, {"minutes": rows})[0][:, 0]
    ours = measure_with(directions)(rows)
    return float(np.abs(told / ours - 1).max())


def _latency_us(graph: bytes) -> float:
    """Microseconds of CPU time that the graph takes for a row."""
    session = open_session(graph, Path(f"{NAME}.onnx"))
    fed = {"minutes": np.zeros((1, len(host.FEATURES)), np.float32)}
    return cpu_us(lambda: session.run(None, fed))


def _digest(flows: Path) -> str:
    files = sorted({file for file, *_ in (*_LOGS, *_ATTACK_LOGS)})
    digests = (hashlib.sha256((flows / file).read_bytes()).hexdigest() for file in files)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
