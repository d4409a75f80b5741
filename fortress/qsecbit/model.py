# SPDX-License-Identifier: Apache-2.0
"""What the flow classifier says of single flows, gathered into findings about hosts.

One suspicious flow among many says little; a host most of whose last flows are suspicious says
much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fortress.features.inside import Inside, sender
from fortress.features.keys import ABSENT, KeyTable, address_key, group, words
from fortress.features.panes import TEN_MINUTES, Panes
from fortress.qsecbit.describe import of_flow
from fortress.qsecbit.fuse import WATCH
from fortress.qsecbit.shape import failing, rises
from fortress.verdict import Finding, Layer, Source

CALM_LABEL = "benign"  # what a classifier calls a flow below the threshold in its recipe
SEVERITY = 0.55
HALF_FLOWS = 6.0
SIGNATURE_ID = 1901
READS = (
    "flow_id", "last_ns", "orig_addr", "resp_addr", "orig_port", "resp_port", "proto",
    "orig_mac", "iface",
)  # fmt: skip
_RISKY, _CALM = 0, 1


class Classified(Protocol):
    """What a classifier says: a risk in [0, 1] for each flow, and a label."""

    @property
    def risk(self) -> npt.NDArray[np.float32]:
        """The calibrated risk of each flow."""

    @property
    def labels(self) -> Any:
        """The name of the likeliest class of each flow."""


class Classifier(Protocol):
    """The part of `fortress.inference.FlowClassifier` that is used here."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The flow columns it reads."""

    def classify(self, flows: Mapping[str, npt.NDArray[Any]]) -> Classified:
        """What each flow looks like."""


@dataclass(frozen=True, slots=True)
class _Accused:
    row: int
    flows: float
    calm: float
    confidence: float


class ModelWindows:
    """Suspicious and calm flows of each source over ten minutes."""

    def __init__(self, classifier: Classifier, secret: int, capacity: int = 4096) -> None:
        self._classifier = classifier
        self._secret = secret
        self.inside: Inside | None = None
        self.table = KeyTable(capacity)
        self._panes = Panes(capacity, 2, TEN_MINUTES)

    @property
    def columns(self) -> tuple[str, ...]:
        """The flow columns that are needed."""
        return tuple(dict.fromkeys((*self._classifier.columns, *READS)))

    def observe(self, flows: Mapping[str, npt.NDArray[Any]], ns: int) -> list[Finding]:
        """Findings about the sources of the flows that ended in this tick."""
        if not flows or not len(flows["flow_id"]):
            return []
        said = self._classifier.classify(flows)
        risky = said.labels != CALM_LABEL
        if not risky.any() and not len(self.table):
            return []
        host = sender(words(flows["orig_addr"]), flows["orig_mac"], self.inside)
        source = address_key(self._secret, host)
        worth = (risky | (self.table.find(source) != ABSENT)).nonzero()[0]
        risky = risky[worth]
        groups = group(source[worth])
        counts = np.zeros((len(groups.keys), 2), np.float32)
        counts[:, _RISKY] = np.bincount(groups.of_row[risky], minlength=len(counts))
        counts[:, _CALM] = np.bincount(groups.of_row[~risky], minlength=len(counts))
        suspect = counts[:, _RISKY] > 0
        slots = self.table.find(groups.keys)
        slots[suspect], fresh = self.table.admit(groups.some(suspect), ns)
        self._panes.forget(fresh)
        known = slots != ABSENT
        self._panes.add(slots[known], counts[known], ns)
        suspect &= known
        if not suspect.any():
            return []
        totals = self._panes.totals(slots[suspect], ns)[0]
        sure = rises(totals[:, _RISKY], HALF_FLOWS) * failing(totals[:, _RISKY], totals[:, _CALM])
        first = np.full(len(counts), -1, np.intp)
        rows = risky.nonzero()[0][::-1]
        first[groups.of_row[rows]] = worth[rows]
        return [
            _finding(
                flows, said, _Accused(int(row), float(total[0]), float(total[1]), float(c)), ns
            )
            for row, total, c in zip(first[suspect], totals, sure, strict=True)
            if c * SEVERITY >= WATCH
        ]

    def clear(self) -> None:
        """Forgets everything seen."""
        self.table.clear()


def _finding(
    flows: Mapping[str, npt.NDArray[Any]], said: Classified, accused: _Accused, ns: int
) -> Finding:
    label = str(said.labels[accused.row])
    words_of_flow = of_flow(flows, accused.row) | {"time_ns": ns, "target": ""}
    share = accused.flows / max(accused.flows + accused.calm, 1)
    return Finding(
        detector="flow_model",
        signature=f"Flows look like {label}",
        signature_id=SIGNATURE_ID,
        category="machine learning",
        layer=Layer.L4,
        source=Source.MODEL,
        technique="",
        severity=SEVERITY,
        confidence=accused.confidence,
        reason=f"{accused.flows:.0f} of {accused.flows + accused.calm:.0f} flows of"
        f" {words_of_flow['host']} within ten minutes ({share:.0%}) look like {label}, the last to"
        f" {words_of_flow['dest_ip']}",
        evidence={
            "suspicious": accused.flows,
            "calm": accused.calm,
            "risk": round(float(said.risk[accused.row]), 4),
            "label": label,
        },
        **words_of_flow,
    )
