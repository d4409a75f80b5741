# SPDX-License-Identifier: Apache-2.0
"""Device policies as nftables tables of their own, written as text; pure.

`table inet fortress_devices` sees what the gateway routes or takes itself, after any translation
of addresses; `table netdev fortress_devices` what enters and leaves LAN ports, station to station
too. Neither exists while nothing is forbidden to any device.

What one device may do is left to the other end's policy (`return`), what all may is not (`accept`).
A device is known by its MAC where it sends and where a LAN port sends to it. The inet hooks know no
MAC of a receiver: there its addresses stand for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fortress.devices.policy import Policy

TABLE = "fortress_devices"
MARKER = "owned by fortress guard"
FAMILIES = ("inet", "netdev")

# What is no Internet for a device that may reach only that: beside our LANs private networks
# (RFC 1918, RFC 4193), link-local, multicast and broadcast.
_NEVER_INTERNET = {
    4: (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "255.255.255.255",
    ),
    6: ("fc00::/7", "fe80::/10", "ff00::/8"),
}
_ALWAYS_LAN = {
    4: ("169.254.0.0/16", "224.0.0.0/4", "255.255.255.255"),
    6: ("fe80::/10", "ff00::/8"),
}
_EAPOL = "0x888e"  # Wi-Fi's own keys


@dataclass(frozen=True, slots=True)
class Restricted:
    """A device to which a policy other than full applies now."""

    mac: str
    policy: Policy
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lan:
    """Where policies hold: ports that exist, the gateway's own addresses, networks of our LANs."""

    ports: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


def rebuilt(devices: Sequence[Restricted], lan: Lan, *, egress: bool = True) -> str:
    """One transaction after which the tables enforce exactly this."""
    parts = [removed()]
    if devices:
        parts.append(_inet(lan))
        if lan.ports:
            parts.append(_netdev(lan, egress=egress))
        parts.append(changed(devices, lan))
    return "".join(parts)


def removed() -> str:
    """One transaction after which neither table exists."""
    return "".join(f"add table {f} {TABLE}\ndelete table {f} {TABLE}\n" for f in FAMILIES)


def changed(devices: Sequence[Restricted], lan: Lan) -> str:
    """One transaction after which tables that exist enforce policies for exactly these."""
    lines = []
    for family in FAMILIES if lan.ports else FAMILIES[:1]:
        for name in _maps(family):
            lines.append(f"flush map {family} {TABLE} {name}\n")
            elements = ", ".join(_elements(name, devices))
            if elements:
                lines.append(f"add element {family} {TABLE} {name} {{ {elements} }}\n")
    return "".join(lines)


def _maps(family: str) -> tuple[str, ...]:
    return ("sends", "gets4", "gets6", "sends_in") if family == "inet" else ("sends", "gets")


def _elements(name: str, devices: Iterable[Restricted]) -> Iterable[str]:
    seen: set[str] = set()
    for one in devices:
        keys: tuple[str, ...]
        if name == "sends_in":
            keys = (one.mac,) if one.policy == "paused" else ()
        elif name in ("sends", "gets"):
            keys = (one.mac,)
        else:
            version6 = name == "gets6"
            keys = tuple(text for text in one.addresses if (":" in text) == version6)
        side = "to" if name.startswith("gets") else "from"
        chain = "nothing_in" if name == "sends_in" else f"{side}_{one.policy}"
        for key in keys:
            if key not in seen:  # two devices may both have claimed an address
                seen.add(key)
                yield f"{key} : jump {chain}"


def _inet(lan: Lan) -> str:
    """What is routed meets its chain in forward; what is for the gateway passes but for paused."""
    hook = "type filter hook"
    return f"""table inet {TABLE} {{
  comment "{MARKER}"
{_networks(lan)}  map sends {{ type ether_addr : verdict; }}
  map sends_in {{ type ether_addr : verdict; }}
  map gets4 {{ type ipv4_addr : verdict; }}
  map gets6 {{ type ipv6_addr : verdict; }}
{_between("from", "daddr")}{_between("to", "saddr")}  chain nothing_in {{
    udp dport {{ 67, 547 }} accept
    icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }} accept
    drop
  }}
  chain forward {{
    {hook} forward priority -290; policy accept;
    ether saddr vmap @sends
    ip daddr vmap @gets4
    ip6 daddr vmap @gets6
  }}
  chain input {{
    {hook} input priority -290; policy accept;
    ether saddr vmap @sends_in
  }}
}}
"""


def _between(side: str, far: str) -> str:
    """A chain for each policy on routed packets, whose other end is `far`."""
    return f"""  chain {side}_internet_only {{
    ip {far} @near4 drop
    ip6 {far} @near6 drop
  }}
  chain {side}_lan_only {{
    ip {far} @lan4 return
    ip6 {far} @lan6 return
    drop
  }}
  chain {side}_quarantined {{
    drop
  }}
  chain {side}_paused {{
    drop
  }}
"""


def _netdev(lan: Lan, *, egress: bool) -> str:
    chains = []
    for number, port in enumerate(lan.ports):
        chains.append(f"""  chain in_{number} {{
    type filter hook ingress device "{port}" priority -490; policy accept;
    ether saddr vmap @sends
    ether daddr vmap @gets
  }}
""")
        if egress:
            chains.append(f"""  chain out_{number} {{
    type filter hook egress device "{port}" priority -490; policy accept;
    ether daddr vmap @gets
  }}
""")
    own = "".join(_set(f"own{v}", v, (one for one in lan.own if _is(one, v))) for v in (4, 6))
    return f"""table netdev {TABLE} {{
  comment "{MARKER}"
{_networks(lan)}{own}  map sends {{ type ether_addr : verdict; }}
  map gets {{ type ether_addr : verdict; }}
{_needed()}{_on_ports("from", "daddr")}{_on_ports("to", "saddr")}{"".join(chains)}}}
"""


def _needed() -> str:
    """What every device may do, so that it keeps its place on the network."""
    return f"""  chain needed {{
    meta protocol {{ arp, {_EAPOL} }} accept
    udp dport {{ 67, 68, 546, 547 }} accept
    icmpv6 type {{ nd-router-solicit, nd-router-advert }} accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    icmpv6 type {{ mld-listener-query, mld-listener-report, mld2-listener-report }} accept
  }}
"""


def _on_ports(side: str, far: str) -> str:
    """A chain for each policy on frames, whose other end is `far`; the gateway is always near."""
    gateway = f"""    ip {far} @own4 accept
    ip6 {far} @own6 accept
"""
    return f"""  chain {side}_internet_only {{
    jump needed
{gateway}    ip {far} @near4 drop
    ip6 {far} @near6 drop
    meta protocol {{ ip, ip6 }} return
    drop
  }}
  chain {side}_lan_only {{
    jump needed
{gateway}    ip {far} @lan4 return
    ip6 {far} @lan6 return
    meta protocol {{ ip, ip6 }} drop
  }}
  chain {side}_quarantined {{
    jump needed
{gateway}    drop
  }}
  chain {side}_paused {{
    jump needed
    drop
  }}
"""


def _networks(lan: Lan) -> str:
    text = ""
    for version in (4, 6):
        mine = [one for one in lan.networks if _is(one, version)]
        text += _set(f"lan{version}", version, (*mine, *_ALWAYS_LAN[version]))
        text += _set(f"near{version}", version, (*mine, *_NEVER_INTERNET[version]))
    return text


def _set(name: str, version: int, elements: Iterable[str]) -> str:
    listed = ", ".join(dict.fromkeys(elements))
    with_elements = f" elements = {{ {listed} }};" if listed else ""
    kind = f"type ipv{version}_addr; flags interval; auto-merge;"
    return f"  set {name} {{ {kind}{with_elements} }}\n"


def _is(text: str, version: int) -> bool:
    return (":" in text) == (version == 6)
