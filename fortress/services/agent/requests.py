# SPDX-License-Identifier: Apache-2.0
"""Requests for a change, carried from the surface's threads to the loop's and answered there.

The loop alone changes things; it calls `answer` once a tick and never waits.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

from fortress.errors import OutputError
from fortress.services.agent.view import AgentControl, Outcome

WAITING = 16  # requests that may wait; more are refused
PATIENCE_S = 5.0  # the loop answers once a tick

_Verb = Literal["confirm", "reload", "promote", "rollback"]


@dataclass(frozen=True, slots=True)
class _Request:
    verb: _Verb
    arguments: tuple[str, ...]
    answer: Future[Outcome]


class Requests:
    """The AgentControl that the surface is given; `answer` is the loop's end of it."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._waiting: queue.Queue[_Request] = queue.Queue(WAITING)
        self._patience_s = patience_s

    def confirm(self, target: str) -> Outcome:
        """Ask the loop to carry out the block that is proposed for `target`."""
        return self._ask("confirm", target)

    def reload(self) -> Outcome:
        """Ask the loop to read the configuration again."""
        return self._ask("reload")

    def promote(self, name: str, version: str) -> Outcome:
        """Ask the loop to put a version of a model in use."""
        return self._ask("promote", name, version)

    def rollback(self, name: str) -> Outcome:
        """Ask the loop to put the version of a model before back in use."""
        return self._ask("rollback", name)

    def answer(self, control: AgentControl) -> int:
        """Let `control` do what was asked since the last call; how many requests there were.

        What it raises is raised where the request came from.
        """
        answered = 0
        while True:
            try:
                request = self._waiting.get_nowait()
            except queue.Empty:
                return answered
            if not request.answer.set_running_or_notify_cancel():
                continue  # who asked has given up
            answered += 1
            try:
                does: Callable[..., Outcome] = getattr(control, request.verb)
                request.answer.set_result(does(*request.arguments))
            except Exception as error:  # theirs to know, whatever it is
                request.answer.set_exception(error)

    def _ask(self, verb: _Verb, *arguments: str) -> Outcome:
        request = _Request(verb, arguments, Future())
        try:
            self._waiting.put_nowait(request)
        except queue.Full:
            raise OutputError(f"{verb}: {WAITING} requests wait already; try again") from None
        try:
            return request.answer.result(self._patience_s)
        except TimeoutError:
            if request.answer.cancel():
                why = f"the loop did not take the request within {self._patience_s:g} s"
                raise OutputError(f"{verb}: {why}; nothing was changed") from None
            raise OutputError(f"{verb}: is not done yet; /status will show it") from None
