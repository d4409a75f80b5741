# SPDX-License-Identifier: Apache-2.0
"""The guard's nftables tables and transactions as text; pure.

`table inet fortress` holds what every packet meets (prerouting −300, then forward and input);
`table netdev fortress` what crosses a LAN port between stations, before bridge, Open vSwitch and
flowtables. Sets belong to a table, so entries of local hosts are in both.

Single addresses, MACs and IPv6 /64 are elements of hash maps and sets, where one more costs
microseconds; other prefixes are in interval sets, which are written anew when one changes, as
libnftables would read them whole for one more anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from fortress.respond.backend import Change, Desired, Entry, Feed, Place
from fortress.respond.block import SITE_BITS, Target
from fortress.verdict import Action

TABLE = "fortress"
MARKER = "owned by fortress guard"
FAMILIES = ("inet", "netdev")
FEED_SIZE = 1 << 20
METER_SIZE = 65_535
METER_TIMEOUT_S = 60
_SITE_MASK = "ffff:ffff:ffff:ffff::"

# What becomes of a block's packets; a LIMIT is looked up in sets of its own, by source only.
_VERDICTS = {Action.BLOCK: "drop", Action.QUARANTINE: "jump quarantined"}
_TYPES = {
    "mac": "ether_addr",
    "addr4": "ipv4_addr",
    "addr6": "ipv6_addr",
    "site6": "ipv6_addr",
    "net4": "ipv4_addr",
    "net6": "ipv6_addr",
}
_FEED_SETS = (
    ("addr4", "timeout"),
    ("addr6", "timeout"),
    ("net4", "interval, timeout"),
    ("net6", "interval, timeout"),
)
_HASHES = ("mac", "addr4", "addr6", "site6")
NETS = ("net4", "net6")
# Maps and sets of entries, each with one more for limits: the IP version of what is in them.
CONTAINERS = {"mac": 0, "addr4": 4, "addr6": 6, "site6": 6, "net4": 4, "net6": 6}


@dataclass(frozen=True, slots=True)
class LimitRates:
    """What a limited source may send, packets a second, and how many at once."""

    syn_per_s: int = 20
    udp_per_s: int = 200
    icmp_per_s: int = 10
    burst_s: int = 2


@dataclass(frozen=True, slots=True)
class Layout:
    """What the tables are made for."""

    rates: LimitRates
    most_blocks: int
    egress: bool = True


def rebuilt(desired: Desired, layout: Layout) -> str:
    """One transaction after which both tables hold exactly what is desired."""
    place = desired.place
    parts = [f"add table inet {TABLE}\ndelete table inet {TABLE}\n", _inet(layout)]
    parts.append(f"add table netdev {TABLE}\ndelete table netdev {TABLE}\n")
    if place.ports:
        parts.append(_netdev(place.ports, layout))
    for family in _families(place):
        local = family == "netdev"
        entries = [one for one in desired.entries if not local or place.is_local(one.target)]
        parts += _own_elements(family, place.own)
        parts += _all_elements(family, entries)
    parts.append(feeds_loaded(desired.feeds))
    return "".join(parts)


def removed() -> str:
    """One transaction after which neither table exists."""
    return "".join(f"add table {f} {TABLE}\ndelete table {f} {TABLE}\n" for f in FAMILIES)


def changed(
    changes: Sequence[Change], prefixes: Callable[[], Iterable[Entry]], place: Place
) -> str:
    """One transaction that applies changes.

    An element that was there is added, deleted and added with its time, because kernels before 6.12
    ignore a new time for an element that is there, and because it may have expired a moment ago.
    """
    lines: list[str] = []
    nets = sorted({container(one.target) for one in changes} & set(NETS))
    entries = [one for one in prefixes() if container(one.target) in nets] if nets else []
    for family in _families(place):
        local = family == "netdev"
        mine = [one for one in changes if not local or place.is_local(one.target)]
        lines += _hash_changes(family, [one for one in mine if container(one.target) in _HASHES])
        for name in nets:
            for prefix in ("", "limit_"):
                lines.append(f"flush set {family} {TABLE} {prefix}{name}\n")
        kept = [one for one in entries if not local or place.is_local(one.target)]
        lines += _all_elements(family, kept)
    return "".join(lines)


def feeds_loaded(feeds: Sequence[Feed]) -> str:
    """One transaction after which the sets of block lists hold exactly these."""
    left_ms: dict[str, dict[Target, int]] = {name: {} for name in ("addr4", "addr6", *NETS)}
    for feed in feeds:
        for target in feed.targets:
            name = f"{'addr' if target.kind == 'addr' else 'net'}{target.version}"
            known = left_ms[name].get(target, 0)
            left_ms[name][target] = max(known, milliseconds(feed.left_s))
    lines = []
    for name, elements in left_ms.items():
        lines.append(f"flush set inet {TABLE} feed_{name}\n")
        kept = cover((t, float(ms)) for t, ms in elements.items()) if name in NETS else elements
        lines.append(_add("inet", f"feed_{name}", (_timed(t.text, elements[t]) for t in kept)))
    for version in (4, 6):
        lines.append(f"flush chain inet {TABLE} feeds{version}\n")
        for name in (f"addr{version}", f"net{version}"):
            if left_ms[name]:
                ip = "ip" if version == 4 else "ip6"
                for side in ("saddr", "daddr"):
                    rule = f"{ip} {side} @feed_{name} counter drop"
                    lines.append(f"add rule inet {TABLE} feeds{version} {rule}\n")
    return "".join(lines)


def cover(prefixes: Iterable[tuple[Target, float | None]]) -> list[Target]:
    """The prefixes that no other contains, in order: intervals of a set may not overlap."""
    kept: list[Target] = []
    for target, _ in sorted(prefixes, key=lambda one: (one[0].first, -one[0].last)):
        if not kept or target.first > kept[-1].last:
            kept.append(target)
    return kept


def _inet(layout: Layout) -> str:
    sets = "".join(
        f"  set feed_{name} {{ type {_TYPES[name]}; flags {flags}; size {FEED_SIZE}; }}\n"
        for name, flags in _FEED_SETS
    )
    hook = "type filter hook"
    return f"""table inet {TABLE} {{
  comment "{MARKER}"
{_containers(layout)}{sets}  chain feeds4 {{
  }}
  chain feeds6 {{
  }}
{_quarantined()}{_metered(layout.rates)}{_screens(feeds=True)}  chain prerouting {{
    {hook} prerouting priority -300; policy accept;
    ether saddr vmap @mac
    jump screen
    jump limits
  }}
  chain forward {{
    {hook} forward priority -300; policy accept;
    jump screen
  }}
  chain input {{
    {hook} input priority -300; policy accept;
    jump screen
  }}
}}
"""


def _netdev(ports: Sequence[str], layout: Layout) -> str:
    chains = []
    for number, port in enumerate(ports):
        chains.append(f"""  chain in_{number} {{
    type filter hook ingress device "{port}" priority -500; policy accept;
    ether saddr vmap @mac
    ether daddr vmap @mac
    jump screen
    jump limits
  }}
""")
        if layout.egress:
            chains.append(f"""  chain out_{number} {{
    type filter hook egress device "{port}" priority -500; policy accept;
    ether daddr vmap @mac
  }}
""")
    return f"""table netdev {TABLE} {{
  comment "{MARKER}"
{_containers(layout)}{_quarantined()}{_metered(layout.rates)}{_screens()}{"".join(chains)}}}
"""


def _containers(layout: Layout) -> str:
    lines = ["  set own4 { type ipv4_addr; }\n", "  set own6 { type ipv6_addr; }\n"]
    for name in _HASHES:
        rest = f"flags timeout; size {layout.most_blocks}; counter; }}\n"
        lines.append(f"  map {name} {{ type {_TYPES[name]} : verdict; {rest}")
        lines.append(f"  set limit_{name} {{ type {_TYPES[name]}; {rest}")
    for name in NETS:
        rest = f"{_TYPES[name]}; flags interval, timeout; counter; }}\n"
        lines.append(f"  set {name} {{ type {rest}")
        lines.append(f"  set limit_{name} {{ type {rest}")
    for version in (4, 6):
        lines.append(
            f"  set meter{version} {{ type ipv{version}_addr . inet_proto; size {METER_SIZE};"
            f" flags dynamic, timeout; timeout {METER_TIMEOUT_S}s; }}\n"
        )
    return "".join(lines)


def _quarantined() -> str:
    """Only ARP, neighbour discovery, DHCP and talk with the gateway itself."""
    return """  chain quarantined {
    meta protocol arp return
    icmpv6 type { nd-router-solicit, nd-router-advert } return
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } return
    udp dport { 67, 68, 547 } return
    ip daddr @own4 return
    ip saddr @own4 return
    ip6 daddr @own6 return
    ip6 saddr @own6 return
    drop
  }
"""


def _metered(rates: LimitRates) -> str:
    lines = []
    kinds = (("tcp", rates.syn_per_s), ("udp", rates.udp_per_s), ("icmp", rates.icmp_per_s))
    for version, source in ((4, "ip saddr"), (6, f"ip6 saddr & {_SITE_MASK}")):
        for proto, per_s in kinds:
            name = "ipv6-icmp" if (proto, version) == ("icmp", 6) else proto
            over = f"limit rate over {per_s}/second burst {per_s * rates.burst_s} packets"
            key = f"{source} . meta l4proto"
            lines.append(
                f"    meta l4proto {name} update @meter{version} {{ {key} {over} }} drop\n"
            )
    lookups = [
        "ether saddr @limit_mac",
        *(f"ip saddr @limit_{name}" for name in ("addr4", "net4")),
        *(f"ip6 saddr @limit_{name}" for name in ("addr6", "net6")),
        f"ip6 saddr & {_SITE_MASK} @limit_site6",
    ]
    jumps = "".join(f"    {lookup} jump metered\n" for lookup in lookups)
    return f"""  chain metered {{
{"".join(lines)}  }}
  chain limits {{
    tcp flags & (fin | syn | rst | ack) != syn return
{jumps}  }}
"""


def _screens(*, feeds: bool = False) -> str:
    feeds4, feeds6 = ("jump feeds4", "jump feeds6") if feeds else ("", "")
    return f"""  chain screen4 {{
    ip saddr vmap @addr4
    ip daddr vmap @addr4
    ip saddr @net4 drop
    ip daddr @net4 drop
    {feeds4}
  }}
  chain screen6 {{
    ip6 saddr vmap @addr6
    ip6 daddr vmap @addr6
    ip6 saddr & {_SITE_MASK} vmap @site6
    ip6 daddr & {_SITE_MASK} vmap @site6
    ip6 saddr @net6 drop
    ip6 daddr @net6 drop
    {feeds6}
  }}
  chain screen {{
    meta protocol vmap {{ ip : jump screen4, ip6 : jump screen6 }}
  }}
"""


def _hash_changes(family: str, changes: Sequence[Change]) -> Iterator[str]:
    """Elements leave where they were (added first, lest they be gone already), and come anew."""
    leaving: dict[str, list[tuple[str, str]]] = {}
    coming: dict[str, list[str]] = {}
    for change in changes:
        key = _key(change.target)
        if change.before is not None:
            name, value = _slot(change.target, change.before)
            leaving.setdefault(name, []).append((key, value))
        if change.after is not None:
            name, value = _slot(change.target, change.after)
            timed = _timed(key, milliseconds(change.left_s))
            coming.setdefault(name, []).append(timed + value)
    for name, gone in leaving.items():
        yield _add(family, name, (key + value for key, value in gone))
        yield f"delete element {family} {TABLE} {name} {{ {', '.join(k for k, _ in gone)} }}\n"
    for name, come in coming.items():
        yield _add(family, name, come)


def _all_elements(family: str, entries: Iterable[Entry]) -> Iterator[str]:
    slots: dict[str, list[str]] = {}
    nets: dict[str, list[tuple[Target, float | None]]] = {}
    for entry in entries:
        name, value = _slot(entry.target, entry.action)
        if name.removeprefix("limit_") in NETS:
            nets.setdefault(name, []).append((entry.target, entry.left_s))
        else:
            key = _timed(_key(entry.target), milliseconds(entry.left_s))
            slots.setdefault(name, []).append(key + value)
    for name, prefixes in nets.items():
        left = dict(prefixes)
        slots[name] = [_timed(t.text, milliseconds(left[t])) for t in cover(prefixes)]
    for name, elements in slots.items():
        yield _add(family, name, elements)


def _own_elements(family: str, own: Sequence[Target]) -> Iterator[str]:
    for version in (4, 6):
        yield _add(family, f"own{version}", (one.text for one in own if one.version == version))


def _families(place: Place) -> tuple[str, ...]:
    return FAMILIES if place.ports else FAMILIES[:1]


def container(target: Target) -> str:
    """The map or set, of those in CONTAINERS, that holds a target."""
    if target.kind == "mac":
        return "mac"
    if target.kind == "addr":
        return f"addr{target.version}"
    if target.version == 6 and target.bits == SITE_BITS:
        return "site6"
    return f"net{target.version}"


def _slot(target: Target, action: Action) -> tuple[str, str]:
    """The set or map that holds a target for an action, and what follows its key there."""
    name = container(target)
    if action is Action.LIMIT:
        return f"limit_{name}", ""
    return name, "" if name in NETS else f" : {_VERDICTS[action]}"


def _key(target: Target) -> str:
    bits = target.text.partition("/")
    return bits[0] if container(target) == "site6" else target.text


def _timed(key: str, left_ms: int) -> str:
    """A key with its time, in days and less: libnftables takes no number of more than 8 digits."""
    if not left_ms:
        return key
    seconds, ms = divmod(left_ms, 1000)
    days, seconds = divmod(seconds, 86_400)
    return f"{key} timeout {days}d{seconds}s{ms}ms"


def milliseconds(left_s: float | None) -> int:
    """Whole milliseconds, at least one; 0 stands for no end."""
    return 0 if left_s is None else max(1, round(left_s * 1000))


def _add(family: str, name: str, elements: Iterable[str]) -> str:
    text = ", ".join(elements)
    return f"add element {family} {TABLE} {name} {{ {text} }}\n" if text else ""
