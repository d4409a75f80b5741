# SPDX-License-Identifier: Apache-2.0
"""What a model in shadow mode would have said: recorded, without any effect."""

from __future__ import annotations

from collections.abc import Iterable

from fortress.verdict import Finding, Notice

REPEAT_NS = 600_000_000_000  # of capture time, until a host is told of again
MOST_HOSTS = 1024


class Shadows:
    """Gathers findings into notices, one a host and ten minutes."""

    def __init__(self) -> None:
        self._told_ns: dict[tuple[str, str], int] = {}
        self._waiting: list[Notice] = []

    def add(self, findings: Iterable[Finding]) -> None:
        """Take note of what was found."""
        for one in findings:
            key = (one.detector, one.host)
            last_ns = self._told_ns.get(key)
            if last_ns is not None and 0 <= one.time_ns - last_ns < REPEAT_NS:
                continue
            if len(self._told_ns) >= MOST_HOSTS:
                del self._told_ns[next(iter(self._told_ns))]
            self._told_ns.pop(key, None)
            self._told_ns[key] = one.time_ns
            facts: dict[str, float | int | str] = {
                "detector": one.detector,
                "host": one.host,
                "risk": round(one.risk, 4),
                "signature_id": one.signature_id,
            }
            message = f"in shadow mode, without effect: {one.reason}"
            self._waiting.append(Notice(one.time_ns, "shadow", message, facts))

    def take(self) -> tuple[Notice, ...]:
        """What has not been told yet."""
        waiting, self._waiting = tuple(self._waiting), []
        return waiting
