# SPDX-License-Identifier: Apache-2.0
"""Which networks are our LANs: routed out of interfaces that do not lead to the Internet."""

from __future__ import annotations

from collections.abc import Iterable

from fortress.kernel.netlink import Netlink
from fortress.kernel.routes import networks_inside, routes
from fortress.respond.host_facts import Link


def lan_networks(
    netlink: Netlink, links: Iterable[Link], wan_ports: Iterable[str]
) -> tuple[str, ...]:
    """Networks of our LANs as prefixes, link-local ones left out; OSError when the kernel refuses.

    An interface with a default route, or named as WAN port, leads to the Internet.
    """
    wan_ports = frozenset(wan_ports)
    outside = [link.index for link in links if link.loopback or link.name in wan_ports]
    return networks_inside(routes(netlink), outside)
