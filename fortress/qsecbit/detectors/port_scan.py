# SPDX-License-Identifier: Apache-2.0
"""Vertical port scans: one host tries many ports of another."""

from __future__ import annotations

import numpy as np

from fortress.qsecbit.contract import Scores, Signature, Values, detector
from fortress.qsecbit.shape import failing, rises
from fortress.verdict import Layer

UDP = 17


@detector(
    table="pairs",
    layer=Layer.L4,
    technique="T1046",
    category="reconnaissance",
    severity=0.6,
    signatures={6: Signature(1101, "TCP port scan"), 17: Signature(1102, "UDP port scan")},
    signature_by="proto",
    reason="{host} tried {ports:# closed or silent port/# closed or silent ports} of {target}"
    " within a minute ({ports_slow:.0f} within the hour); {fine:# attempt/# attempts} succeeded",
    evidence=("ports", "failed", "fine", "odd", "ports_slow", "failed_slow"),
    rises_with="ports",
)
def port_scan(
    proto: Values,
    ports: Values,
    failed: Values,
    fine: Values,
    odd: Values,
    ports_slow: Values,
    failed_slow: Values,
    fine_slow: Values,
    *,
    half_ports: float = 12.0,
    half_ports_slow: float = 24.0,
    udp_factor: float = 2.0,
    odd_weight: float = 5.0,
    half_odd: float = 1.5,
) -> Scores:
    """How sure we are that a source scans a target, for each pair.

    Half sure at `half_ports` different failed ports in a minute or `half_ports_slow` in an hour: a
    program that looks for its peer tries a handful (MITRE ATT&CK T1046; threshold random walk for
    the share of failures). UDP says less than TCP, because silence is an answer there; probes whose
    flags no stack sends (FIN, NULL, Xmas) say more, by `odd_weight` ports each, and prove
    themselves from `half_odd` of them on.
    """
    factor = np.where(proto == UDP, udp_factor, 1.0)
    strange = np.clip(odd / np.maximum(failed, 1), 0, 1)
    look = np.maximum(failing(failed, fine), rises(odd, half_odd))
    fast = rises(ports * (1 + odd_weight * strange), half_ports * factor) * look
    slow = rises(ports_slow, half_ports_slow * factor) * failing(failed_slow, fine_slow)
    return np.maximum(fast, slow).astype(np.float32)
