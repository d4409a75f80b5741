# SPDX-License-Identifier: Apache-2.0
"""Address sweeps: one host tries the same service, ping or ARP on many addresses."""

from __future__ import annotations

import numpy as np

from fortress.qsecbit.contract import Scores, Signature, Values, detector
from fortress.qsecbit.shape import failing, rises
from fortress.verdict import Layer

ARP, ICMP, TCP, UDP, ICMP6 = 0, 1, 6, 17, 58
# What worms and scanners look for beyond the privileged ports: databases, remote desktops, device
# consoles, proxies (SANS ISC's and GreyNoise's most scanned ports).
SOUGHT = (
    1433, 1521, 1723, 1883, 2222, 2323, 2375, 3128, 3306, 3389, 5000, 5038, 5060, 5432, 5555, 5900,
    5901, 5985, 6379, 7547, 8000, 8080, 8081, 8291, 8443, 8728, 8888, 9000, 9200, 11211, 27017,
    37215, 52869, 60001,
)  # fmt: skip
PRIVILEGED = 1024
_IS_SOUGHT = np.zeros(65536, np.bool_)
_IS_SOUGHT[:PRIVILEGED] = True
_IS_SOUGHT[list(SOUGHT)] = True


@detector(
    table="sweeps",
    layer=Layer.L3,
    technique="T1018",
    category="reconnaissance",
    severity=0.6,
    signatures={
        ARP: Signature(1201, "ARP sweep"),
        ICMP: Signature(1202, "Ping sweep"),
        ICMP6: Signature(1202, "Ping sweep"),
        TCP: Signature(1203, "TCP address sweep"),
        UDP: Signature(1204, "UDP address sweep"),
    },
    signature_by="proto",
    reason="{host} looked for {targets:# address/# addresses} within a minute by {service}"
    " ({targets_slow:.0f} within the hour) that did not answer;"
    " {fine:# attempt was/# attempts were} answered",
    evidence=("targets", "failed", "fine", "targets_slow", "aim", "local"),
    rises_with="targets",
)
def address_sweep(
    proto: Values,
    port: Values,
    local: Values,
    targets: Values,
    failed: Values,
    fine: Values,
    local_slow: Values,
    targets_slow: Values,
    failed_slow: Values,
    fine_slow: Values,
    aim: Values,
    *,
    half_local: float = 8.0,
    pinged_weight: float = 0.8,
    half_arp: float = 20.0,
    half_remote: float = 30.0,
    udp_factor: float = 2.0,
    slow_factor: float = 3.0,
) -> Scores:
    """How sure we are that a source sweeps addresses, for each source and service.

    Half sure at `half_local` private addresses in a minute, `half_remote` others (where it looks
    for both, each counts for its part), `half_arp` ARP or neighbour requests (routers ask for
    whoever is written to), `udp_factor` times as many by UDP, `slow_factor` times as many in an
    hour (T1018; threshold random walk for the share of failures).
    Pings of private addresses count at least `pinged_weight` even when all are answered: a small
    site has no twenty hosts that somebody would watch. Ports that only peer-to-peer programs use
    count as much as they are the source's one aim: those who look for peers fail on ports all over.
    """
    pinged = (proto == ICMP) | (proto == ICMP6)
    sought = _IS_SOUGHT[np.clip(port, 0, 65535).astype(np.intp)] | pinged
    one_aim = np.where(sought, 1.0, np.clip(np.maximum(aim, local), 0, 1))

    def sure(targets: Values, failed: Values, fine: Values, local: Values) -> Values:
        each = local / half_local + (1 - local) / half_remote  # what one target counts for
        each = np.where(proto == ARP, 1 / half_arp, each)
        weight = targets * np.where(proto == UDP, each / udp_factor, each)
        least = pinged * local * pinged_weight
        told: Values = rises(weight, 1) * np.maximum(failing(failed, fine), least)
        return told

    fast = sure(targets, failed, fine, np.clip(local, 0, 1))
    slow = sure(targets_slow / slow_factor, failed_slow, fine_slow, np.clip(local_slow, 0, 1))
    surest: Values = np.maximum(fast, slow) * one_aim
    return surest.astype(np.float32)
