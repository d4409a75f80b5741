# SPDX-License-Identifier: Apache-2.0
"""Tells what the guard did: a line of the audit for each act and refusal, and events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from fortress.respond.answers import GuardEvent, Note
from fortress.respond.audit import Audit
from fortress.respond.judge import Asker
from fortress.respond.ledger import Clocks, Held
from fortress.respond.messages import Add

_MOST_EVENTS = 20  # of the refusals of one request
_MOST_TEXT = 128


class Teller:
    """Writes the audit and tells events; counts refusals."""

    def __init__(self, audit: Audit, clocks: Clocks, tell: Callable[[GuardEvent], None]) -> None:
        self.audit, self.tell = audit, tell
        self.is_heard: Callable[[], bool] = lambda: True  # or events need not be made
        self._clocks = clocks
        self.refusals = 0

    def blocked(self, blocks: Iterable[Held], asker: Asker) -> None:
        """These stand from now on."""
        now_s = self._clocks.boot_s()
        for terms, alike in groupby(blocks, attrgetter("terms")):
            targets = [one.target.text for one in alike]
            left_s = terms.left_s(now_s)
            facts: dict[str, object] = {
                "action": terms.action.name,
                "seconds": None if left_s is None else round(left_s, 3),
                "origin": terms.origin,
                "why": terms.why,
                "signatures": list(terms.signatures),
            }
            self.audit.write_alike("block", targets, facts, asker.name)
            self._tell_each("blocked", targets, terms.why, terms.origin)

    def _tell_each(self, kind: str, targets: Iterable[str], reason: str, origin: str = "") -> None:
        if self.is_heard():
            for text in targets:
                self.tell(GuardEvent(kind, text, reason, origin))

    def unblocked(self, blocks: Mapping[str, object], why: str, asker: Asker | None) -> None:
        """These stand no more."""
        if blocks:
            name = asker.name if asker else "guard"
            self.audit.write_alike("unblock", tuple(blocks), {"why": why}, name)
        self._tell_each("unblocked", blocks, why)

    def expired(self, blocks: Sequence[Held]) -> None:
        """These have come to their end."""
        if blocks:
            self.audit.write_alike("expired", [one.target.text for one in blocks], {})
        for one in blocks:
            self._tell_each("expired", (one.target.text,), one.terms.why, one.origin)

    def not_done(self, asked: Add, notes: Sequence[Note], asker: Asker) -> None:
        """What of a request was refused."""
        refused = [one for one in notes if not one.done]
        if not refused:
            return
        named = [(group.origin, text) for group in asked.groups for text in group.targets]
        facts: list[dict[str, object]] = []
        for one in refused:
            origin, text = named[one.at]
            facts.append({"target": text[:_MOST_TEXT], "origin": origin, "reason": one.reason})
        self.refused(facts, asker)

    def refused(self, facts: list[dict[str, object]], asker: Asker) -> None:
        """These were refused, each with its reason."""
        if not facts:
            return
        self.refusals += len(facts)
        self.audit.write("refuse", facts, asker.name)
        for one in facts[:_MOST_EVENTS]:
            target = str(one.get("target", one.get("feed", "")))
            self.tell(GuardEvent("refused", target, str(one["reason"]), str(one.get("origin", ""))))
