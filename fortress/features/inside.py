# SPDX-License-Identifier: Apache-2.0
"""Which addresses are on our side, and whose packets are whose there: a device is its MAC.

Anybody on a link can write anybody's address into a packet. So a source on our side is the address
together with the MAC that sent the frame: what is said in a device's name by another one is never
counted as the device's.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.features.keys import Addresses, Bool, UInt64, as_host, is_private

_LOW = (1 << 64) - 1
_V4 = 0xFFFF << 32


class Inside:
    """Some networks; vectorised membership, one comparison for each of them."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [_words(text) for text in networks]

    def has(self, address: Addresses) -> Bool:
        """Whether each address is of one of them."""
        found = np.zeros(len(address.low), np.bool_)
        for high, high_mask, low, low_mask in self._networks:
            found |= ((address.high & high_mask) == high) & ((address.low & low_mask) == low)
        return found


def sender(
    address: Addresses, mac: npt.NDArray[Any] | UInt64, inside: Inside | None = None
) -> Addresses:
    """Whom packets are counted for: hosts, and on our side the address with the MAC in its first
    word. Without `inside` our side are the private addresses.
    """
    ours = is_private(address) if inside is None else inside.has(address)
    host = as_host(address)
    return Addresses(np.where(ours, host.high ^ mac, host.high), host.low)


def _words(text: str) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    network = ip_network(text, strict=False)
    shift = 128 - network.max_prefixlen
    mask = ~((1 << (network.max_prefixlen - network.prefixlen)) - 1) & ((1 << 128) - 1)
    whole = int(network.network_address) | (_V4 if shift else 0)
    return (
        np.uint64(whole >> 64),
        np.uint64(mask >> 64),
        np.uint64(whole & mask & _LOW),
        np.uint64(mask & _LOW),
    )
