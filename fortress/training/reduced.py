# SPDX-License-Identifier: Apache-2.0
"""The flow classifier's gate on public flow tables of another origin and another meter:
`python -m fortress.training.reduced [SHARED]`.

CIC-IDS2017's Tuesday (password guessing by Patator among benign flows) comes as CICFlowMeter's
columns, which lack entropy, retransmissions and each side's flags. So a twin of the gate learns
from our own captures with the features alone that both have, its threshold is picked on our
held-out tools, and it is asked once about all of theirs. It is another model than the one that
ships; and of that set a rule of two ports finds as much, so it is told beside it.
"""

from __future__ import annotations

import csv
import lzma
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from fortress.errors import InputError
from fortress.features import flow
from fortress.training import candidates, evaluate
from fortress.training.dataset import RECORDED, FlowSet, load_flows
from fortress.training.evaluate import Rate

TABLE = Path("flows/cicids2017/Tuesday_bruteforce_balanced.csv.xz")
Floats = npt.NDArray[np.float64]
# Our columns, by theirs; a "packet length" of CICFlowMeter is that of the payload, a time is in µs.
_PLAIN = {
    "resp_port": "Destination Port",
    "orig_pkts": "Total Fwd Packets",
    "resp_pkts": "Total Backward Packets",
    "orig_payload_bytes": "Total Length of Fwd Packets",
    "resp_payload_bytes": "Total Length of Bwd Packets",
    "orig_payload_max": "Fwd Packet Length Max",
    "resp_payload_max": "Bwd Packet Length Max",
    "iat_mean_ns": "Flow IAT Mean",
    "iat_std_ns": "Flow IAT Std",
    "iat_max_ns": "Flow IAT Max",
    "orig_iat_mean_ns": "Fwd IAT Mean",
    "orig_iat_std_ns": "Fwd IAT Std",
    "resp_iat_mean_ns": "Bwd IAT Mean",
    "resp_iat_std_ns": "Bwd IAT Std",
}


@dataclass(frozen=True, slots=True)
class Flows:
    """Theirs: features (flows, features), NaN where they have none; the label of each flow."""

    matrix: npt.NDArray[np.float32]
    label: npt.NDArray[np.str_]
    port: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Told:
    """What the twin says of one table."""

    features: int
    ours: tuple[float, float]
    roc_auc: float
    pr_auc: float
    recall: dict[str, Rate]
    false: Rate
    by_port: tuple[Rate, Rate]


def read_table(path: Path) -> Flows:
    """The flows of CICFlowMeter's table that count as conversations. Raises InputError."""
    try:
        with lzma.open(path, "rt", encoding="utf-8", newline="") as lines:
            rows = csv.reader(lines)
            names = [name.strip() for name in next(rows)]
            cells = [row for row in rows if len(row) == len(names)]
    except (OSError, StopIteration, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read as a table of flows: {error}") from None
    missing = sorted({*_PLAIN.values(), "Label", "act_data_pkt_fwd"} - {*names})
    if missing:
        raise InputError(f"{path}: no column {missing[0]!r}")
    column = {name: np.array([row[names.index(name)] for row in cells]) for name in names}
    label = column.pop("Label")
    theirs = {name: column[name].astype(np.float32) for name in _PLAIN.values()}
    flows = {ours: theirs[name] for ours, name in _PLAIN.items()}
    flows["proto"] = np.full(len(label), np.nan, np.float32)
    known = [f for f in flow.FEATURES if set(f.columns) <= set(flows) and f.name not in _PROTOCOLS]
    matrix = np.full((len(label), len(flow.FEATURES)), np.nan, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        for feature in known:
            told = feature.compute(*(flows[name] for name in feature.columns))
            matrix[:, flow.FEATURES.index(feature)] = np.nan_to_num(told, nan=flow.ABSENT)
    spoke = (flows["orig_payload_bytes"] > 0) & (flows["resp_payload_bytes"] > 0)
    whole = spoke & (flows["orig_pkts"] + flows["resp_pkts"] >= flow.MIN_PACKETS)
    return Flows(matrix[whole], label[whole], flows["resp_port"][whole])


_PROTOCOLS = ("tcp", "udp", "icmp")


def twin(flows: FlowSet, theirs: Flows) -> Told:
    """The gate learnt from `flows` with the features that `theirs` have, asked about them."""
    shared = np.isfinite(theirs.matrix).all(axis=0)
    cut = replace(flows, matrix=flows.matrix[:, shared])
    make = candidates.CANDIDATES[candidates.CHOSEN]
    fold = evaluate.folds_by(cut.group)
    held_out = evaluate.out_of_fold(make, cut, fold)
    threshold = evaluate.held_out_threshold(make, cut, cut.group)
    recall = evaluate.judge(cut, held_out, threshold).recall
    model = evaluate.fit(make, cut, np.ones(len(cut), np.bool_))
    score: Floats = model.predict_proba(theirs.matrix[:, shared])[:, 1]
    attack, found = theirs.label != "BENIGN", score >= threshold
    logins = np.isin(theirs.port, (21, 22))
    return Told(
        int(shared.sum()),
        (evaluate.pr_auc(cut, held_out), recall),
        float(roc_auc_score(attack, score)),
        float(average_precision_score(attack, score)),
        {
            str(name): Rate(
                int(found[theirs.label == name].sum()), int((theirs.label == name).sum())
            )
            for name in np.unique(theirs.label[attack])
        },
        Rate(int(found[~attack].sum()), int((~attack).sum())),
        (_share(logins[attack]), _share(logins[~attack])),
    )


def _share(rows: npt.NDArray[np.bool_]) -> Rate:
    return Rate(int(rows.sum()), len(rows))


def main(shared: Path) -> None:
    """Print what the twin says of CIC-IDS2017's Tuesday."""
    theirs = read_table(shared / "data" / TABLE)
    samples = Path(__file__).resolve().parents[2] / "samples"
    flows = load_flows(shared, samples, lambda _step, _share: None, recorded=RECORDED)
    told = twin(flows, theirs)
    low, high = told.false.interval
    print(f"{told.features} of {len(flow.FEATURES)} features; ours, tools unseen: PR-AUC "
          f"{told.ours[0]:.3f}, recall {told.ours[1]:.3f}")  # fmt: skip
    attacks = sum(rate.total for rate in told.recall.values())
    print(f"CIC-IDS2017 Tuesday, {told.false.total} benign conversations, {attacks} of attacks: "
          f"ROC-AUC {told.roc_auc:.3f}, PR-AUC {told.pr_auc:.3f}")  # fmt: skip
    for name, rate in told.recall.items():
        print(f"  {name}: {rate.hits} of {rate.total} found")
    print(f"  benign: {told.false.hits} called attacks ({low:.1e} to {high:.1e})")
    found, false = told.by_port
    print(f"  a rule, ports 21 and 22: {found.hits} of {found.total} found, {false.hits} false")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("../shared"))
