# SPDX-License-Identifier: Apache-2.0
"""Which hosts are on our side, by the text of their address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

# The same as fortress.features.keys.is_private, which tests hold to it: RFC 1918, 3927, 6598, 4193,
# loopback and link-local. Python's own is_private counts documentation networks as well.
LOCAL_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10",
        "127.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128",
    )
)  # fmt: skip
_MOST_REMEMBERED = 4096


class Places:
    """The networks on our side: the private ones, and the IPv6 prefixes of the link that are
    learned.
    """

    def __init__(self) -> None:
        self._prefixes: frozenset[int] = frozenset()
        self._gateways: frozenset[int] = frozenset()
        self._known: dict[str, bool] = {}

    def learn(self, prefixes: Iterable[int], gateways: Iterable[int]) -> None:
        """Takes the /64 prefixes (upper 64 bits) whose hosts were heard on the link itself, and the
        MACs that packets from elsewhere come from.
        """
        self._gateways = frozenset(gateways)
        found = frozenset(prefixes)
        if found != self._prefixes:
            self._prefixes = found
            self._known.clear()

    def is_gateway(self, mac: str) -> bool:
        """Whether packets from elsewhere come from this MAC: nobody may be blocked by it."""
        return int(mac.replace(":", ""), 16) in self._gateways

    def is_local(self, host: str) -> bool:
        """Whether a host is on our side: by its address, or a device known by its MAC alone."""
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            known = self._known[host] = self._look(host)
        return known

    def _look(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return True
        if address.is_unspecified or address.is_multicast:
            return True  # no router forwards what they send
        if address.version == 6 and int(address) >> 64 in self._prefixes:
            return True
        return any(
            address in network for network in LOCAL_NETWORKS if network.version == address.version
        )
