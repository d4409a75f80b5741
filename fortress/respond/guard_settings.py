# SPDX-License-Identifier: Apache-2.0
"""The guard's own small configuration, `guard.toml`; the standard library reads it."""

from __future__ import annotations

import grp
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fortress.errors import ConfigError
from fortress.respond.block import parse_target
from fortress.respond.nft_rules import LimitRates
from fortress.respond.plain import Misread, read

SYSTEM_FILE = Path("/etc/fortress/guard.toml")
SOCKET = Path("/run/fortress/guard.sock")


@dataclass(frozen=True, slots=True)
class Access:
    """Groups that may ask: `agent` for automatic blocks, lists and ports, `operators` for all."""

    agent: str = ""
    operators: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be asked for; `unconfirmed` is what an operator may block in a minute at once
    without confirming the number.
    """

    automatic_per_minute: int = 30
    automatic_most_seconds: float = 86_400.0
    unconfirmed: int = 100
    most_blocks: int = 131_072
    message_mib: int = 64


@dataclass(frozen=True, slots=True)
class Protect:
    """Who is never blocked beyond what the guard finds out itself."""

    never: tuple[str, ...] = ()
    ssh_ports: tuple[int, ...] = (22,)
    ssh_login_grace_s: float = 150.0


@dataclass(frozen=True, slots=True)
class FeedRule:
    """A block list that may be loaded, with at most so many entries."""

    most: int = 200_000


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Everything that guard.toml may say."""

    socket: Path = SOCKET
    state: Path = Path("/var/lib/fortress/guard")
    audit: Path = Path("/var/log/fortress/guard.jsonl")
    lan_ports: tuple[str, ...] = ()
    wan_ports: tuple[str, ...] = ()
    capture: tuple[str, ...] = ()  # interfaces whose packets the agent may have; none: any
    backends: tuple[Literal["nftables", "xdp"], ...] = ("nftables",)
    on_stop: Literal["keep", "remove"] = "keep"
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)
    protect: Protect = field(default_factory=Protect)
    rates: LimitRates = field(default_factory=LimitRates)
    feeds: dict[str, FeedRule] = field(default_factory=dict)


def load_settings(file: Path | None = None) -> GuardSettings:
    """The settings of a file, or of SYSTEM_FILE where there is one; ConfigError names what is
    wrong and where.
    """
    path = file or SYSTEM_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        if file is None:
            return GuardSettings()
        raise ConfigError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    try:
        settings = read(GuardSettings, tomllib.loads(text.decode()))
        _check(settings)
    except (Misread, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return settings


def _interfaces(settings: GuardSettings) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (
        ("lan_ports", settings.lan_ports),
        ("wan_ports", settings.wan_ports),
        ("capture", settings.capture),
    )


def _check(settings: GuardSettings) -> None:
    limits, rates = settings.limits, settings.rates
    bounds: tuple[tuple[str, float, float, float], ...] = (
        ("limits.automatic_per_minute", limits.automatic_per_minute, 0, 10_000),
        ("limits.automatic_most_seconds", limits.automatic_most_seconds, 1, 30 * 86_400),
        ("limits.unconfirmed", limits.unconfirmed, 1, 100_000),
        ("limits.most_blocks", limits.most_blocks, 1, 1 << 20),
        ("limits.message_mib", limits.message_mib, 1, 256),
        ("protect.ssh_login_grace_s", settings.protect.ssh_login_grace_s, 0, 86_400),
        ("rates.syn_per_s", rates.syn_per_s, 1, 1_000_000),
        ("rates.udp_per_s", rates.udp_per_s, 1, 1_000_000),
        ("rates.icmp_per_s", rates.icmp_per_s, 1, 1_000_000),
        ("rates.burst_s", rates.burst_s, 1, 60),
        *((f"feeds.{name}.most", rule.most, 1, 1 << 20) for name, rule in settings.feeds.items()),
    )
    for key, value, least, most in bounds:
        if not least <= value <= most:
            raise Misread(f"{key}: {value:g} is not between {least:g} and {most:g}")
    for key, names in _interfaces(settings):
        for name in names:
            if not 0 < len(name.encode()) <= 15 or any(c in ' /"\\' for c in name):
                raise Misread(f"{key}: {name!r} is no name of an interface")
    for name in settings.feeds:
        if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 64:
            raise Misread(f"feeds.{name}: a name has letters, digits, - and _ only")
    if not settings.backends:
        raise Misread("backends: name at least one of nftables, xdp")
    for text in settings.protect.never:
        try:
            parse_target(text)
        except ValueError as error:
            raise Misread(f"protect.never: {error}") from None
    for key, group in (("agent", settings.access.agent), ("operators", settings.access.operators)):
        try:
            grp.getgrnam(group or "root")
        except KeyError:
            raise Misread(f"access.{key}: there is no group {group!r}") from None
