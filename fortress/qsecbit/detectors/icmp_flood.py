# SPDX-License-Identifier: Apache-2.0
"""ICMP floods, seen from the target: pings by the hundred, or answers nobody asked for."""

from __future__ import annotations

import numpy as np

from fortress.qsecbit.contract import Scores, Signature, Values, detector
from fortress.qsecbit.shape import rises
from fortress.verdict import Layer

ICMP = 1


@detector(
    table="targets",
    layer=Layer.L3,
    technique="T1498.001",
    category="denial of service",
    severity=0.7,
    signatures={ICMP: Signature(1501, "ICMP flood")},
    reason="{target} got {pkts:# ICMP packet/# ICMP packets} in a second"
    " ({requests:# echo request/# echo requests}) from {sources:# source/# sources}",
    evidence=("pkts", "bytes", "requests", "sources", "top_share", "answers"),
    rises_with="requests",
)
def icmp_flood(
    proto: Values,
    pkts: Values,
    requests: Values,
    *,
    half_requests: float = 150.0,
    half_others: float = 600.0,
) -> Scores:
    """How sure we are that a target is under an ICMP flood, for each target and second.

    Half sure at `half_requests` echo requests a second (an unprivileged ping sends at most five),
    or at `half_others` packets of any kind: hosts limit what they send themselves (RFC 4443 §2.4
    f), and a reflected flood has no limit (T1498.001, T1498.002).
    """
    sure = rises(np.maximum(requests / half_requests, pkts / half_others), 1.0)
    return np.where(proto == ICMP, sure, 0).astype(np.float32)
