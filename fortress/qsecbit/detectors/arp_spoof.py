# SPDX-License-Identifier: Apache-2.0
"""ARP and neighbour spoofing: somebody claims an address that is another's."""

from __future__ import annotations

import numpy as np

from fortress.qsecbit.contract import Scores, Signature, Values, detector
from fortress.verdict import Layer


@detector(
    table="claims",
    layer=Layer.L2,
    technique="T1557.002",
    category="adversary in the middle",
    severity=0.9,
    signatures={
        0: Signature(1601, "ARP spoofing"),
        1: Signature(1602, "ARP spoofing of the gateway"),
    },
    signature_by="gateway",
    reason="{guilty} claims {target} ({unrequested:# reply/# replies} nobody asked for within a"
    " minute; disputed by another device: {disputed:.0f})",
    evidence=("guilty_claims", "disputed", "unrequested", "gateway", "guilty_addresses"),
    rises_with="unrequested",
)
def arp_spoof(
    guilty_claims: Values,
    disputed: Values,
    unrequested: Values,
    gateway: Values,
    guilty_addresses: Values,
    *,
    conflict_weight: float = 0.5,
    unrequested_weight: float = 0.35,
    unopposed_weight: float = 0.1,
    gateway_weight: float = 0.5,
    addresses_weight: float = 0.3,
) -> Scores:
    """How sure we are that a device claims an address that is not its own, for each claim.

    Weights of evidence add up in the exponent: two devices that claim one address (a conflict,
    which a wrong setting makes too), replies nobody asked for (the means of arpspoof and ettercap:
    caches take them, RFC 826 does not know them), the gateway's address, more addresses than one.
    Without a second device unrequested replies alone say little each (T1557.002).
    """
    conflict = disputed > 0
    asked = np.where(conflict, unrequested_weight, unopposed_weight) * unrequested
    backed = unrequested > 0
    weight = conflict * (conflict_weight + gateway_weight * (gateway > 0) * backed) + asked
    weight += addresses_weight * (guilty_addresses > 1) * conflict * backed
    return np.where(guilty_claims > 0, -np.expm1(-weight), 0).astype(np.float32)
