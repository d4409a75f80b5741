# SPDX-License-Identifier: Apache-2.0
"""Gathers whom to spare on this machine: ourselves, those we depend on, and who operates us."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fortress.respond.host_facts import Facts, tcp_peers
from fortress.respond.never_block import Spared, spare

_MOST_BYTES = 1 << 20  # of a file that is read
_UTMP = struct.Struct("<h2xi32s4s32s256shhiii16s20x")  # struct utmp of Linux, utmp(5): 384 bytes
_USER_PROCESS = 7


@dataclass(frozen=True, slots=True)
class Places:
    """Where this machine tells of its resolvers, DHCP servers and logins."""

    resolv: tuple[str, ...] = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
    dnsmasq: tuple[str, ...] = ("/etc/dnsmasq.conf", "/etc/dnsmasq.d")
    leases: tuple[str, ...] = (
        "/run/systemd/netif/leases",
        "/var/lib/dhcp",
        "/var/lib/NetworkManager",
    )
    logins: Path = Path("/run/utmp")


class Sessions:
    """Who operates this machine from afar: logins, and sshd's peers that have stayed.

    An attacker who guesses passwords is a peer of sshd as well, so a peer counts only when it has
    stayed longer than sshd allows for logging in (LoginGraceTime, two minutes by default).
    """

    def __init__(
        self,
        ports: Iterable[int],
        grace_s: float,
        logins: Path,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ports, self._grace_s, self._clock_s = frozenset(ports), grace_s, clock_s
        self._logins = logins
        self._since_s: dict[tuple[str, int], float] = {}

    def look(self) -> tuple[Spared, ...]:
        """Who operates this machine now; what cannot be read names nobody."""
        now_s = self._clock_s()
        peers: set[tuple[str, int]] = set()
        with suppress(OSError):
            peers = tcp_peers(self._ports) if self._ports else peers
        self._since_s = {peer: self._since_s.get(peer, now_s) for peer in peers}
        stayed = [
            host for (host, _), since_s in self._since_s.items() if now_s - since_s >= self._grace_s
        ]
        return (
            *_spared(stayed, "an operator's SSH session"),
            *_spared(_logged_in(self._logins), "an operator is logged in from there"),
        )


def from_facts(facts: Facts) -> tuple[Spared, ...]:
    """Ourselves and our gateways: addresses and MACs."""
    gateways = [facts.neighbours[one] for one in facts.gateways if one in facts.neighbours]
    return (
        *_spared(facts.addresses, "an address of this machine"),
        *_spared((link.mac for link in facts.links if link.mac), "an interface of this machine"),
        *_spared(facts.gateways, "a default gateway"),
        *_spared(gateways, "a default gateway's MAC"),
    )


def from_files(places: Places) -> tuple[Spared, ...]:
    """Upstream resolvers and DHCP servers, as far as this machine's files name them."""
    resolvers: list[str] = []
    for path in _files(places.resolv):
        resolvers += re.findall(r"^\s*nameserver\s+(\S+)", _text(path), re.MULTILINE)
    for path in _files(places.dnsmasq):
        resolvers += _dnsmasq_servers(_text(path))
    servers: list[str] = []
    for path in _files(places.leases):
        text = _text(path)
        servers += re.findall(r"^SERVER_ADDRESS=(\S+)", text, re.MULTILINE)
        servers += re.findall(r"dhcp-server-identifier\s+([0-9.]+)", text)
    return (
        *_spared(resolvers, "an upstream resolver"),
        *_spared(servers, "the DHCP server we have our address from"),
    )


def from_session(environ: Mapping[str, str]) -> tuple[Spared, ...]:
    """Where the operator who set these variables came from by SSH."""
    client = environ.get("SSH_CONNECTION", "").split()[:1]
    return _spared(client, "the operator's own SSH session")


def _dnsmasq_servers(text: str) -> Iterator[str]:
    """Addresses of `server=/domain/address#port@interface`; files it names are read as well."""
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key.strip() in ("server", "rev-server"):
            yield (
                value.strip()
                .rpartition("/")[2]
                .rpartition(",")[2]
                .partition("#")[0]
                .partition("@")[0]
            )
        elif key.strip() in ("resolv-file", "servers-file"):
            found = _text(Path(value.strip()))
            yield from re.findall(r"^\s*nameserver\s+(\S+)", found, re.MULTILINE)
            if key.strip() == "servers-file":
                rest = re.sub(r"^\s*servers-file.*$", "", found, flags=re.MULTILINE)
                yield from _dnsmasq_servers(rest)


def _logged_in(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            records = file.read(_MOST_BYTES)
    except OSError:
        return
    for at in range(0, len(records) - _UTMP.size + 1, _UTMP.size):
        kind, *_, address = _UTMP.unpack_from(records, at)
        if kind != _USER_PROCESS or not any(address):
            continue
        parts = address[:4] if not any(address[4:]) else address
        yield _named(parts)


def _named(packed: bytes) -> str:
    import ipaddress

    return str(ipaddress.ip_address(packed))


def _spared(texts: Iterable[str], reason: str) -> tuple[Spared, ...]:
    found = []
    for text in dict.fromkeys(texts):
        with suppress(ValueError):  # a host name, or an address with a zone
            found.append(spare(text.partition("%")[0], reason))
    return tuple(found)


def _files(places: Iterable[str]) -> Iterator[Path]:
    for place in map(Path, places):
        try:
            yield from sorted(place.iterdir())[:64] if place.is_dir() else [place]
        except OSError:
            continue


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return ""
