# SPDX-License-Identifier: Apache-2.0
"""What the kernel tells of the networks around the watched interfaces, and that it has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address

from fortress.kernel.netlink import ROUTE, Netlink
from fortress.kernel.routes import Route, interface_names, networks_inside, outward, routes
from fortress.qsecbit.places import OurSide
from fortress.respond.host_facts import Facts, look_around

LOOK_AGAIN_S = 60.0  # neighbours' MACs become known without any news of routes
MOST_NETWORKS = 256  # the core compares with no more; the machine's own addresses come last
_GROUPS = 1 | 0x10 | 0x40 | 0x100 | 0x400  # links, v4 and v6 addresses and routes
_NOTHING = Facts((), (), (), (), {})


class Surroundings:
    """Links, addresses and routes of this network namespace, as last looked at."""

    def __init__(
        self, interfaces: Sequence[str], clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._interfaces = tuple(interfaces)
        self._clock_s = clock_s
        self._facts, self._routes = _NOTHING, tuple[Route, ...]()
        self._news: Netlink | None = None
        self._looked_s = 0.0
        with suppress(OSError):  # a kernel without rtnetlink: it is looked at again by the clock
            self._news = Netlink(ROUTE, _GROUPS)
        self._look()

    def have_changed(self) -> bool:
        """Whether something has changed since, or may have; then it has been looked at."""
        is_due = self._clock_s() - self._looked_s >= LOOK_AGAIN_S
        if self._news is not None:
            messages, lost = self._news.news()
            is_due |= bool(messages) or lost
        if is_due:
            self._look()
        return is_due

    def leading_out(self) -> tuple[str, ...]:
        """The interfaces with a default route, the preferred one first."""
        return interface_names(outward(self._routes))

    def networks(self, facing: Sequence[str]) -> tuple[str, ...]:
        """The networks inside and this machine's own addresses, where `facing` lead outside."""
        known = (*networks_inside(self._routes, self._numbers(facing)), *self._own())
        return known[:MOST_NETWORKS]

    def inside(self, facing: Sequence[str], ports: Sequence[int]) -> OurSide:
        """What is known of our side; of its networks nothing where no watched interface has one."""
        outside = {*self._numbers(facing), *outward(self._routes)}
        watched = {link.index for link in self._facts.links if link.name in self._interfaces}
        ours = [route for route in self._routes if not route.is_default]
        within = {hop.interface for route in ours for hop in route.hops} - outside
        routers = {hop.gateway for route in ours for hop in route.hops} | {*self._facts.gateways}
        known = self._facts.neighbours
        return OurSide(
            self.networks(facing) if within & watched else None,
            frozenset(self._own()),
            frozenset(_number(link.mac) for link in self._facts.links if link.mac),
            frozenset(_number(known[one]) for one in routers if one in known),
            frozenset(ports if within else ()),
        )

    def close(self) -> None:
        """Leave the kernel's news."""
        if self._news is not None:
            self._news.close()

    def _look(self) -> None:
        self._looked_s = self._clock_s()
        try:
            with Netlink(ROUTE) as ask:
                self._facts, self._routes = look_around(ask), routes(ask)
        except OSError:  # as it was: it is looked at again
            return

    def _numbers(self, names: Sequence[str]) -> list[int]:
        return [link.index for link in self._facts.links if link.name in names or link.loopback]

    def _own(self) -> list[str]:
        return [f"{one}/{ip_address(one).max_prefixlen}" for one in self._facts.addresses]


def _number(mac: str) -> int:
    return int(mac.replace(":", ""), 16)
