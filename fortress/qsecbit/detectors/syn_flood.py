# SPDX-License-Identifier: Apache-2.0
"""SYN floods, seen from the target: connections that are asked for and never made."""

from __future__ import annotations

import numpy as np

from fortress.qsecbit.contract import Scores, Signature, Values, detector
from fortress.qsecbit.shape import failing, rises
from fortress.verdict import Layer

TCP = 6


@detector(
    table="targets",
    layer=Layer.L4,
    technique="T1499.001",
    category="denial of service",
    severity=0.9,
    signatures={TCP: Signature(1301, "TCP SYN flood")},
    reason="{target} got {half_open:# SYN/# SYNs} in a second without a handshake, on"
    " {ports:# port/# ports} from {sources:# source/# sources}",
    evidence=("half_open", "flows", "ports", "sources", "source_entropy", "top_share", "pkts"),
    rises_with="half_open",
)
def syn_flood(
    proto: Values,
    half_open: Values,
    flows: Values,
    ports: Values,
    *,
    half_rate: float = 100.0,
    per_port: float = 4.0,
) -> Scores:
    """How sure we are that a target is under a SYN flood, for each target and second.

    Half sure at `half_rate` half-open connections a second: a listening socket of Linux keeps 128
    by default in small devices (net.ipv4.tcp_max_syn_backlog), and they stay for a minute. A scan
    asks once for each port; a flood asks at least `per_port` times (T1499.001, T1498.001).
    """
    repeated = np.clip((half_open / np.maximum(ports, 1) - 1) / max(per_port - 1, 1e-6), 0, 1)
    sure = rises(half_open, half_rate) * failing(half_open, flows - half_open) * repeated
    return np.where(proto == TCP, sure, 0).astype(np.float32)
