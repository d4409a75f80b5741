# SPDX-License-Identifier: Apache-2.0
"""Password guessing: many short connections to one login service, all alike."""

from __future__ import annotations

import numpy as np

from fortress.qsecbit.contract import Scores, Signature, Values, detector
from fortress.qsecbit.shape import rises
from fortress.verdict import Layer


@detector(
    table="logins",
    layer=Layer.L5,
    technique="T1110.001",
    category="credential access",
    severity=0.75,
    signatures={
        22: Signature(1701, "SSH password guessing"),
        2222: Signature(1701, "SSH password guessing"),
        21: Signature(1702, "FTP password guessing"),
        3389: Signature(1703, "RDP password guessing"),
        23: Signature(1704, "Telnet password guessing"),
        2323: Signature(1704, "Telnet password guessing"),
    },
    signature_by="port",
    reason="{host} made {tries:# connection/# connections} to {service} of {target} within two"
    " minutes that {tries:looks like a refused password/look like refused passwords}"
    " ({tries_slow:.0f} within the hour; the server said {server_bytes:# byte/# bytes} each)",
    evidence=("tries", "tries_slow", "others", "others_slow", "server_bytes", "spread"),
    rises_with="tries",
)
def password_guess(
    tries: Values,
    others: Values,
    tries_slow: Values,
    others_slow: Values,
    spread: Values,
    *,
    half_tries: float = 3.5,
    half_tries_slow: float = 12.0,
    most_spread: float = 0.35,
) -> Scores:
    """How sure we are that a source guesses passwords of a service, for each source and service.

    Half sure between three and four refused connections in two minutes: a client asks a person
    three times in one connection before it gives up, so four of them are twelve wrong passwords.
    `half_tries_slow` count in an hour. Connections that are let in, and answers of unlike length
    (relative deviation above `most_spread`), speak against it (T1110.001).
    """
    alike = np.clip(2 - spread / most_spread, 0, 1)
    fast = rises(tries, half_tries) * tries / np.maximum(tries + others, 1)
    slow = rises(tries_slow, half_tries_slow) * tries_slow / np.maximum(tries_slow + others_slow, 1)
    return (np.maximum(fast, slow) * alike).astype(np.float32)
