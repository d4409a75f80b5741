# SPDX-License-Identifier: Apache-2.0
"""Whom the guard never blocks, whoever asks: looked up by range, with the reason."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from fortress.respond.block import Target, parse_target


@dataclass(frozen=True, slots=True)
class Spared:
    """A target that is never blocked, and why."""

    target: Target
    reason: str


def spare(text: str, reason: str) -> Spared:
    """A target, named by its text, that is never blocked; ValueError says what is wrong with it."""
    return Spared(parse_target(text), reason)


# Blocking these would cut the gateway off from itself or the network from its protocols.
ALWAYS = tuple(
    spare(text, reason)
    for text, reason in (
        ("0.0.0.0/8", "the unspecified network (DHCP begins there)"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("::", "the unspecified address"),
        ("::1", "loopback"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
        ("00:00:00:00:00:00", "no device"),
    )
)
_GROUP_BIT = 1 << 40  # of a MAC: multicast or broadcast


class NeverBlock:
    """The never-block list, with ranges made disjoint so that one bisection answers."""

    def __init__(self, spared: Iterable[Spared]) -> None:
        self.spared = (*ALWAYS, *spared)
        self._ranges = {version: self._lay_out(version) for version in (0, 4, 6)}

    def refusal(self, target: Target) -> str:
        """Why the target, or something inside it, is never blocked; nothing when it may be."""
        version = target.version
        if not version and target.first & _GROUP_BIT:
            return "multicast"
        starts, ends, reasons = self._ranges[version]
        at = bisect_right(starts, target.last) - 1
        return "" if at < 0 or ends[at] < target.first else reasons[at]

    def _lay_out(self, version: int) -> tuple[list[int], list[int], list[str]]:
        """Where ranges begin and end, and why they are spared."""
        starts: list[int] = []
        ends: list[int] = []
        reasons: list[str] = []
        mine = [one for one in self.spared if one.target.version == version]
        for one in sorted(mine, key=lambda one: (one.target.first, -one.target.last)):
            if ends and one.target.first <= ends[-1]:
                if one.target.last <= ends[-1]:
                    continue
                ends[-1] = max(ends[-1], one.target.last)
            else:
                starts.append(one.target.first)
                ends.append(one.target.last)
                reasons.append(_told(one))
        return starts, ends, reasons


def _told(one: Spared) -> str:
    return f"{one.target.text} is never blocked: {one.reason}"
