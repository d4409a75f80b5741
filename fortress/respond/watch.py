# SPDX-License-Identifier: Apache-2.0
"""What the kernel tells of the guard's world: its nftables tables, links, addresses, routes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from fortress.kernel.netlink import NETFILTER, ROUTE, Netlink, attributes
from fortress.respond import device_rules
from fortress.respond.backend import Place
from fortress.respond.block import parse_target
from fortress.respond.conntrack import is_bypassed
from fortress.respond.device_desk import Surroundings
from fortress.respond.device_rules import Lan
from fortress.respond.guard_settings import GuardSettings
from fortress.respond.host_facts import LINK_GROUPS, Facts, look_around
from fortress.respond.lans import lan_networks
from fortress.respond.never_block import Spared
from fortress.respond.nft_rules import TABLE
from fortress.respond.spared import Places, Sessions, from_facts, from_files, from_session

_NFT_GROUP = 1 << 6  # NFNLGRP_NFTABLES
_NFT_SUBSYSTEM = 10
_FLOWTABLE_CHANGES = (_NFT_SUBSYSTEM << 8 | 22, _NFT_SUBSYSTEM << 8 | 24)  # new, deleted
SESSIONS_EVERY_S, FILES_EVERY_S = 10.0, 60.0
SETTLE_S = 0.1  # netlink tells of one change in many messages


class TableWatch:
    """Hears when somebody else touches a table of ours, or a flowtable.

    What our own sockets cause is dropped by the kernel: a hundred thousand elements are as many
    messages.
    """

    def __init__(self) -> None:
        self._netlink = Netlink(NETFILTER, _NFT_GROUP, 1 << 22)
        self.missed = 0
        self._own: frozenset[int] = frozenset()
        self._is_bypassed: bool | None = None  # not known: to be asked

    def fileno(self) -> int:
        """The descriptor, to be waited for."""
        return self._netlink.fileno()

    def touched(self, own_ports: Callable[[], frozenset[int]]) -> tuple[bool, bool]:
        """Whether others touched our tables since, and whether messages were lost."""
        messages, lost = self._netlink.news()
        self.missed += lost
        names = {one.encode() + b"\0" for one in (TABLE, device_rules.TABLE)}
        causes = {
            message.port
            for message in messages
            if message.kind >> 8 == _NFT_SUBSYSTEM
            and bytes(attributes(message.payload[4:]).get(1, b"")) in names
        }
        if causes - self._own:  # libnftables may have opened another socket
            self._own = own_ports()
            self._netlink.ignore(self._own)
        if lost or any(message.kind in _FLOWTABLE_CHANGES for message in messages):
            self._is_bypassed = None
        return bool(causes - self._own), lost

    def is_bypassed(self) -> bool:
        """Whether a flowtable forwards connections past prerouting, as far as has been heard."""
        if self._is_bypassed is None:
            self._is_bypassed = is_bypassed()
        return self._is_bypassed

    def close(self) -> None:
        """Stop listening."""
        self._netlink.close()


class WorldWatch:
    """Keeps what the guard must know of its surroundings, and asks anew when netlink tells."""

    def __init__(self, settings: GuardSettings, places: Places | None = None) -> None:
        self._news = Netlink(ROUTE, LINK_GROUPS)
        self._ask = Netlink(ROUTE)
        self._settings, self._places = settings, places or Places()
        protect = settings.protect
        logins = self._places.logins
        self._sessions = Sessions(protect.ssh_ports, protect.ssh_login_grace_s, logins)
        self._starter = from_session(os.environ)
        self._facts: Facts | None = None
        self._lans: tuple[str, ...] = ()
        self.surroundings = Surroundings()
        self._files: tuple[Spared, ...] = ()
        self._due_s = 0.0
        self._files_due_s = 0.0
        self.port_numbers: tuple[tuple[str, int], ...] = ()

    def fileno(self) -> int:
        """The descriptor, to be waited for."""
        return self._news.fileno()

    def hear(self) -> None:
        """Takes in that something has changed: the world is looked at when it has settled."""
        messages, lost = self._news.news()
        if messages or lost:
            self._facts = None
            self._due_s = min(self._due_s, time.monotonic() + SETTLE_S)

    def due_s(self) -> float:
        """Seconds until the world should be looked at again."""
        return max(0.0, self._due_s - time.monotonic())

    def look(self) -> tuple[tuple[Spared, ...], Place]:
        """Whom to spare, and where blocks hold; OSError when the kernel cannot be asked."""
        now_s = time.monotonic()
        if self._facts is None:
            self._facts = facts = look_around(self._ask)
            self._lans = lan_networks(self._ask, facts.links, self._settings.wan_ports)
            self._files_due_s = 0.0  # an address or route of ours came with a lease and resolvers
        if now_s >= self._files_due_s:
            self._files = from_files(self._places)
            self._files_due_s = now_s + FILES_EVERY_S
        self._due_s = now_s + SESSIONS_EVERY_S
        facts = self._facts
        numbers = {link.name: link.index for link in facts.links}
        wanted = self._settings.lan_ports
        self.port_numbers = tuple((port, numbers[port]) for port in wanted if port in numbers)
        ports = tuple(port for port, _ in self.port_numbers)
        self.surroundings = Surroundings(Lan(ports, facts.addresses, self._lans), facts.neighbours)
        spared = (*from_facts(facts), *self._files, *self._starter, *self._sessions.look())
        return spared, Place(
            ports,
            tuple(parse_target(one) for one in facts.addresses),
            tuple(parse_target(one) for one in facts.networks),
        )

    def close(self) -> None:
        """Stop listening."""
        self._news.close()
        self._ask.close()
