# SPDX-License-Identifier: Apache-2.0
"""Which hosts are on our side, by the text of their address, and who answers for a finding."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from fortress.verdict import Finding, Layer

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


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Holder = Callable[[str], str]  # the MAC that has claimed an address on the link, "" = nobody has


@dataclass(frozen=True, slots=True)
class OurSide:
    """What the machine that captures knows of the networks around it.

    `networks` are those inside, its own addresses included; None where it watches none of them.
    `own` are its addresses as prefixes; MACs are numbers, `routers` those of others that bring
    packets from elsewhere; `outside` has the numbers of the interfaces that face outside.
    """

    networks: tuple[str, ...] | None
    own: frozenset[str]
    macs: frozenset[int]
    routers: frozenset[int] = frozenset()
    outside: frozenset[int] = frozenset()


class Places:
    """The networks on our side: those that are known, else the private ones and the IPv6 prefixes
    of the link that are learned.
    """

    def __init__(self) -> None:
        self._side: OurSide | None = None
        self._networks: list[_Network] | None = None
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

    def know(self, side: OurSide | None) -> None:
        """Takes what is known; None = what packets show is all there is."""
        if side == self._side:
            return
        self._side, self._networks = side, None
        if side is not None and side.networks is not None:
            self._networks = [ipaddress.ip_network(text) for text in side.networks]
        self._known.clear()

    def is_gateway(self, mac: str) -> bool:
        """Whether packets from elsewhere come from this MAC: nobody may be blocked by it."""
        number = _number(mac)
        if self._side is not None and number in self._side.macs | self._side.routers:
            return True
        # what is said on a link may be made up: who knows his own networks does not believe it
        return self._networks is None and number in self._gateways

    def pinned(self, found: Finding) -> str:
        """The MAC that answers for a finding, "" where only an address is known: the one that sent
        the frame, of a host on our side.
        """
        mac, host = found.src_mac, found.host
        if not mac or host == found.target or not self.is_local(host):
            return ""
        # What is said in a gateway's name may come from anywhere, unless it is said on the link.
        return mac if found.layer is Layer.L2 or not self.is_gateway(mac) else ""

    def attributed(self, found: Finding, holder: Holder) -> Finding:
        """The finding with whoever is to blame as its host.

        Where a device's address is written into another one's frames, that is the MAC that sent
        them. Where this machine itself has brought them from elsewhere, or somebody outside tells
        of MACs, nobody can be named: then host and target are the same, as of any victim.
        """
        mac, host = found.src_mac, found.host
        if not mac or host == found.target:
            return found
        if found.layer is Layer.L2:
            return _nobody(found, "outside") if self._is_outside(found.in_iface) else found
        if not self.is_local(host) or not _is_address(host):
            return found
        if self._is_ours(mac):
            return found if self._is_own(host) else _nobody(found, "in its name, by way of us")
        has = holder(host)
        if not has or has == mac or self.is_gateway(mac):
            return found
        reason = f"{found.reason}; sent by {mac}, and {host} is {has}'s"
        return replace(found, host=mac, reason=reason)

    def _is_ours(self, mac: str) -> bool:
        return self._side is not None and _number(mac) in self._side.macs

    def _is_own(self, host: str) -> bool:
        bits = 128 if ":" in host else 32
        return self._side is not None and f"{host}/{bits}" in self._side.own

    def _is_outside(self, interface: str) -> bool:
        return (
            self._side is not None
            and interface.isdecimal()
            and int(interface) in self._side.outside
        )

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
        if self._networks is not None:
            return address.is_link_local or _is_among(address, self._networks)
        if address.version == 6 and int(address) >> 64 in self._prefixes:
            return True
        return _is_among(address, LOCAL_NETWORKS)


def _is_among(address: _Address, networks: Iterable[_Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _nobody(found: Finding, why: str) -> Finding:
    victim = found.target or found.dest_ip
    reason = f"{found.reason} ({why}: nobody is to blame)"
    return replace(found, host=victim, target=victim, reason=reason)


def _is_address(host: str) -> bool:
    return not (len(host) == 17 and host.count(":") == 5 and "::" not in host)


def _number(mac: str) -> int:
    return int(mac.replace(":", ""), 16)
