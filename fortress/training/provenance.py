# SPDX-License-Identifier: Apache-2.0
"""Does a column tell what a flow does, or where its capture was taken? The probe that decided which
features there are.

For each group of columns: how well it tells benign flows of one origin from benign flows of the
others (area under ROC, 0.5 = not at all), and what it is worth for finding attacks of unseen tools,
alone and added to the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from fortress.training.dataset import FlowSet
from fortress.training.evaluate import MakeModel, folds_by, out_of_fold, pr_auc
from fortress.training.truth import Fate

MAIN_ORIGIN = "ntop"
_MAX_PER_CAPTURE = 100

# What the flow classifier does not read, and might.
LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "TTL": ("orig_ttl_min", "resp_ttl_min"),
    "TCP window": ("orig_window_first", "resp_window_first"),
    "TCP options": ("orig_mss", "resp_mss", "orig_wscale", "resp_wscale", "orig_tcp_options"),
    "IP version": ("ip_version",),
    "sizes with headers": ("orig_size_min", "orig_size_mean", "resp_size_min", "resp_size_mean"),
    "times and rates": ("duration_ns", "iat_mean_ns", "pkts_per_s", "bytes_per_s", "handshake_ns"),
    "service port": ("resp_port",),
}
COLUMNS: tuple[str, ...] = tuple(name for group in LEFT_OUT.values() for name in group)
# A port is offered as classes of services, not as a number.
_SERVICES = (
    (53,),
    (80, 443, 8080, 8443),
    (21, 22, 23, 3389, 5900),
    (139, 445),
    (25, 110, 143, 993),
)


@dataclass(frozen=True, slots=True)
class Probe:
    """What a group of columns gives away and what it is worth."""

    name: str
    origin_auc: float
    alone: float
    added: float


def probe(flows: FlowSet, make: MakeModel) -> tuple[Probe, ...]:
    """The probe of every group in LEFT_OUT and of the features themselves (their `added` is what
    they reach).
    """
    used = replace(flows, matrix=flows.matrix)
    reached = _worth(used, make)
    rows = [Probe("the features", _origin_auc(used, make), reached, reached)]
    for name, columns in LEFT_OUT.items():
        extra = _matrix(flows, columns)
        alone = replace(flows, matrix=extra)
        both = replace(flows, matrix=np.hstack([flows.matrix, extra]))
        rows.append(Probe(name, _origin_auc(alone, make), _worth(alone, make), _worth(both, make)))
    return tuple(rows)


def _worth(flows: FlowSet, make: MakeModel) -> float:
    return pr_auc(flows, out_of_fold(make, flows, folds_by(flows.group)))


def _origin_auc(flows: FlowSet, make: MakeModel) -> float:
    benign = np.flatnonzero(flows.judged & (flows.fate == Fate.BENIGN))
    rank = np.zeros(len(flows), np.intp)
    for capture in np.unique(flows.capture[benign]):
        rows = benign[flows.capture[benign] == capture]
        rank[rows] = np.arange(len(rows))
    some = flows.take(benign[rank[benign] < _MAX_PER_CAPTURE])
    elsewhere = some.origin != MAIN_ORIGIN
    posed = replace(
        some,
        fate=np.where(elsewhere, Fate.ATTACK, Fate.BENIGN).astype(np.int8),
        group=some.capture,
    )
    return float(roc_auc_score(elsewhere, out_of_fold(make, posed, folds_by(some.capture))))


def _matrix(flows: FlowSet, columns: tuple[str, ...]) -> npt.NDArray[np.float32]:
    if columns == ("resp_port",):
        ports = flows.columns["resp_port"]
        classes = [np.isin(ports, service) for service in _SERVICES] + [ports < 1024]
        return np.stack(classes, axis=1).astype(np.float32)
    raw = np.stack([flows.columns[name].astype(np.float32) for name in columns], axis=1)
    return np.nan_to_num(raw, nan=-1)
