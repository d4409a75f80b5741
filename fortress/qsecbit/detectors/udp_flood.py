# SPDX-License-Identifier: Apache-2.0
"""UDP floods, seen from the target: more packets than any use of UDP sends unanswered."""

from __future__ import annotations

import numpy as np

from fortress.qsecbit.contract import Scores, Signature, Values, detector
from fortress.qsecbit.shape import failing, rises
from fortress.verdict import Layer

UDP = 17
_ANSWERED = (
    0.02  # real-time media answers at least one packet in fifty (RFC 3550 §6.2: RTCP takes 5 %)
)
_UNSURE = 0.4  # a stream of full packets nobody answers may be a speed test or a camera


@detector(
    table="targets",
    layer=Layer.L4,
    technique="T1498.001",
    category="denial of service",
    severity=0.8,
    signatures={UDP: Signature(1401, "UDP flood")},
    reason="{target} got {pkts:# UDP packet/# UDP packets} in a second ({bytes:# byte/# bytes}) in"
    " {flows:# new flow/# new flows} from {sources:# source/# sources} and answered {answers:.0f}",
    evidence=("pkts", "bytes", "answers", "flows", "unanswered", "ports", "sources", "top_share"),
    rises_with="unanswered",
)
def udp_flood(
    proto: Values,
    pkts: Values,
    bytes: Values,  # noqa: A002 - the column's name
    answers: Values,
    flows: Values,
    unanswered: Values,
    broadcast: Values,
    *,
    half_flows: float = 300.0,
    half_packets: float = 10_000.0,
    half_broadcast: float = 300.0,
    small_bytes: float = 250.0,
) -> Scores:
    """How sure we are that a target is under a UDP flood, for each target and second.

    Half sure at `half_flows` new unanswered flows a second, at `half_broadcast` packets to
    everyone, or at `half_packets` unanswered packets smaller than `small_bytes`: whoever wants
    bandwidth sends full packets, whoever wants to exhaust sends small ones. Full ones in few flows
    alone never make an alarm (T1498.001).
    """
    silent = np.clip(1 - answers / np.maximum(_ANSWERED * pkts, 1e-6), 0, 1)
    small = np.clip(2 - bytes / np.maximum(pkts, 1) / small_bytes, 0, 1)
    many = rises(unanswered, half_flows) * failing(unanswered, flows - unanswered)
    hard = rises(pkts, half_packets) * silent * np.maximum(small, _UNSURE)
    loud = rises(pkts, half_broadcast) * (broadcast > 0)
    sure = np.maximum(np.maximum(many, hard), loud)
    return np.where(proto == UDP, sure, 0).astype(np.float32)
