# SPDX-License-Identifier: Apache-2.0
"""What is blocked: targets as text in one form, and what is to be done to them."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Literal

from fortress.verdict import Action

Kind = Literal["addr", "prefix", "mac"]
Origin = Literal["automatic", "operator", "feed"]

SITE_BITS = 64  # who has one IPv6 address of a /64 has them all
MOST_SECONDS = 365 * 86_400.0
MOST_WHY = 512

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_LONGEST = 64  # characters of any target
_MAPPED = ipaddress.ip_network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class Target:
    """A target in its one form: `version` is 4 or 6, 0 for a MAC; `first` ≤ `last` are numbers."""

    text: str
    kind: Kind
    version: int
    first: int
    last: int

    @property
    def bits(self) -> int:
        """Length of the prefix, all bits of an address or MAC."""
        width = {0: 48, 4: 32, 6: 128}[self.version]
        return width - (self.last - self.first).bit_length()


@dataclass(frozen=True, slots=True)
class Block:
    """What is to be done to a target, for how long (None: until it is undone), why, by whom."""

    target: str
    kind: Kind
    action: Action
    seconds: float | None
    why: str
    origin: Origin
    signatures: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a target is now as it was asked to be, and why it is not."""

    target: str
    done: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A block that stands: `left_s` seconds remain (None: no end), `since_s` is seconds of 1970."""

    target: str
    kind: Kind
    action: Action
    left_s: float | None
    since_s: float
    why: str
    origin: Origin
    signatures: tuple[int, ...] = ()
    hits: int | None = None


def parse_target(text: str) -> Target:
    """The target that text names: an address, a prefix or a MAC; ValueError says what is wrong.

    Host bits of a prefix must be zero; a prefix of all bits is the address; an IPv4 address mapped
    into IPv6 is the IPv4 address.
    """
    fast = _plain_address(text)
    if fast is not None:
        return fast
    word = text.strip().lower().replace("-", ":") if text.count("-") == 5 else text.strip().lower()
    if _MAC.fullmatch(word):
        number = int(word.replace(":", ""), 16)
        return Target(word, "mac", 0, number, number)
    try:
        if len(word) > _LONGEST or "%" in word:
            raise ValueError("an address is short and has no zone")
        network = ipaddress.ip_network(word)
    except ValueError as error:
        raise ValueError(f"{_shown(text)} is no address, prefix or MAC ({error})") from None
    if isinstance(network, ipaddress.IPv6Network):
        network = _unmapped(network)
    first, last = int(network.network_address), int(network.broadcast_address)
    if first == last:
        return Target(str(network.network_address), "addr", network.version, first, last)
    return Target(str(network), "prefix", network.version, first, last)


def target_between(version: int, first: int, last: int) -> Target:
    """The target from `first` to `last`, which are numbers of an address or (version 0) a MAC."""
    if not version:
        text = ":".join(f"{byte:02x}" for byte in first.to_bytes(6))
        return Target(text, "mac", 0, first, last)
    address = ipaddress.IPv4Address(first) if version == 4 else ipaddress.IPv6Address(first)
    if first == last:
        return Target(str(address), "addr", version, first, last)
    bits = address.max_prefixlen - (last - first).bit_length()
    return Target(f"{address}/{bits}", "prefix", version, first, last)


def make_block(
    text: str,
    action: Action,
    seconds: float | None,
    *,
    why: str,
    origin: Origin,
    signatures: tuple[int, ...] = (),
) -> Block:
    """A block of the target that text names; ValueError says what is wrong."""
    target = parse_target(text)
    return Block(target.text, target.kind, action, seconds, why, origin, signatures)


def site_of(target: Target) -> str:
    """The /64 of an IPv6 address as text."""
    return str(ipaddress.ip_network((target.first, SITE_BITS), strict=False))


def _plain_address(text: str) -> Target | None:
    """The target when text is a bare address in its usual form: ten times as fast as the rest."""
    try:
        if ":" in text:
            packed = socket.inet_pton(socket.AF_INET6, text)
            if packed[:10] == bytes(10):  # mapped IPv4, and forms that have more than one text
                return None
            number = int.from_bytes(packed)
            name = socket.inet_ntop(socket.AF_INET6, packed)
            return Target(name, "addr", 6, number, number)
        packed = socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):  # no address; or characters that no address has
        return None
    number = int.from_bytes(packed)
    return Target(text, "addr", 4, number, number)  # inet_pton takes no other form of it


def _unmapped(network: ipaddress.IPv6Network) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if not network.subnet_of(_MAPPED):  # type: ignore[arg-type]
        return network
    return ipaddress.IPv4Network(
        (int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96)
    )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 64 else text[:61] + "…")
