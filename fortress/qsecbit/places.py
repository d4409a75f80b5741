# SPDX-License-Identifier: Apache-2.0
"""Which hosts are on our side, by the text of their address."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

# The same as fortress.features.keys.is_private, which tests hold to it: RFC 1918, 3927, 6598, 4193,
# loopback and link-local. Python's own is_private counts documentation networks as well.
LOCAL_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10",
        "127.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128",
    )
)  # fmt: skip


@lru_cache(maxsize=4096)
def is_local(host: str) -> bool:
    """Whether a host is on our side: a site's own address, or a device known by its MAC alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True
    return any(
        address in network for network in LOCAL_NETWORKS if network.version == address.version
    )
