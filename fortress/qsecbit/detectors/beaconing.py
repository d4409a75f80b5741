# SPDX-License-Identifier: Apache-2.0
"""Beaconing: connections to one service by the clock, each like the last."""

from __future__ import annotations

import numpy as np

from fortress.qsecbit.contract import Scores, Signature, Values, detector
from fortress.qsecbit.shape import rises
from fortress.verdict import Layer

TCP = 6
_STEEP_EXCHANGES = 4.0  # TLS keeps 94 %, an SSH session of a few commands 8 %
_STEEP = 1.8  # a sleep with a third of jitter still counts nearly fully
# What the web and mail use; calling home on another port is one more reason (T1571).
USUAL = (80, 443, 853, 993, 995, 587, 465, 5223, 5228, 8883)


@detector(
    table="services",
    layer=Layer.L5,
    technique="T1071",
    category="command and control",
    severity=0.6,
    signatures={
        6: Signature(1801, "Beaconing over TCP"),
        17: Signature(1802, "Beaconing over UDP"),
    },
    signature_by="proto",
    reason="{host} calls {service} of {target} every {gap_s:.0f} s (spread {gap_spread:.0%}) for"
    " {span_s:.0f} s, {size_bytes:# byte/# bytes} each time",
    evidence=(
        *("gaps", "gap_s", "gap_spread", "size_bytes", "size_spread", "exchanges", "span_s"),
        "bursts",
    ),
    rises_with="span_s",
    lone_risk=0.39,
)
def beaconing(
    proto: Values,
    port: Values,
    local: Values,
    gaps: Values,
    bursts: Values,
    gap_spread: Values,
    size_spread: Values,
    exchanges: Values,
    span_s: Values,
    *,
    half_gaps: float = 6.0,
    half_span_s: float = 180.0,
    most_spread: float = 0.4,
    half_exchanges: float = 8.0,
    usual_port: float = 0.8,
    local_target: float = 0.85,
) -> Scores:
    """How sure we are that a program calls home by the clock, for each service.

    The spread is the median absolute deviation of the gaps by their median: 0.69 for arrivals by
    chance (exponential gaps), 0.17 for a sleep of 45 s ± 33 %; at `most_spread` nothing is left.
    A call asks for work and is told that there is none: one packet with payload a side by HTTP,
    four by TLS 1.2 (RFC 5246 §7.3); at `half_exchanges` half of the suspicion is left, because
    who talks back and forth for longer is at work. TCP that nobody answers calls nobody.
    Sizes alike, many gaps and a long time make it surer. Update checks and keep-alives do the same,
    so regularity alone stays a notice (`lone_risk`), whatever the score (T1071, T1571).
    """
    regular = np.clip(_STEEP * (1 - gap_spread / most_spread), 0, 1)
    alike = np.clip(1.25 - size_spread, 0.2, 1)
    idle = 1 - rises(exchanges, half_exchanges, _STEEP_EXCHANGES)
    told = (exchanges > 0) | (proto != TCP)
    long = rises(gaps, half_gaps) * rises(span_s, half_span_s, 2.0)
    unhurried = 1 / (1 + bursts)
    common = np.where(np.isin(port, USUAL), usual_port, 1.0) * np.where(
        local > 0, local_target, 1.0
    )
    sure: Values = regular * alike * idle * told * long * unhurried * common
    return sure.astype(np.float32)
