# SPDX-License-Identifier: Apache-2.0
"""Findings, verdicts, scores and notices into the store, many in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from fortress.errors import OutputError
from fortress.events import Event, FlowLines, Stats
from fortress.store import Store
from fortress.verdict import Act, Finding, Notice, Score, Verdict


class StoreSink:
    """Writes one run; the run ends with the `stats` event, or as failed when none came."""

    name = "store"

    def __init__(
        self,
        store: Store,
        sources: Sequence[str],
        version: str,
        batch_events: int,
        keep_runs: int | None = None,
    ) -> None:
        self._store = store
        self._batch_events = batch_events
        self._waiting: list[Finding | Verdict | Score | Notice] = []
        self._ended = False
        self._closed = False
        self.run = store.begin_run(sources, version, keep_runs)

    def apply(self, event: Event) -> None:
        """Take the event's value; flows are no affair of the store."""
        if self._closed:
            raise OutputError(f"store {self._store.url}: is closed")
        value = event.value
        if isinstance(value, FlowLines):
            return
        if isinstance(value, Act):
            facts = {"target": value.target, "outcome": value.outcome}
            value = Notice(value.time_ns, "block", value.sentence(), facts)
        if isinstance(value, Stats):
            self.flush()
            self._end(_status(value), value)
            return
        self._waiting.append(value)
        if len(self._waiting) >= self._batch_events:
            self.flush()

    def flush(self) -> None:
        """Write what waits in one transaction."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._store.write(self.run, waiting)

    def close(self) -> None:
        """Write what waits, end the run and close the store."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
            if not self._ended:
                self._store.end_run(self.run, "failed", 0, {})
        finally:
            self._store.close()

    def _end(self, status: str, stats: Stats) -> None:
        self._ended = True
        self._store.end_run(self.run, status, stats.time_ns, asdict(stats))


def _status(stats: Stats) -> str:
    if stats.interrupted:
        return "interrupted"
    return "partial" if stats.damages else "complete"
