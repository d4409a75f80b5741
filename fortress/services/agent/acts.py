# SPDX-License-Identifier: Apache-2.0
"""From verdicts to blocks: policy decides in the loop, and a thread asks the guard.

The guard may be slow, absent or restarted: the loop never waits for it. What could not be done
waits for the guard until its time is over, and what stands already is not asked for again.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar

from fortress.config.settings import Respond
from fortress.errors import ConfigError, GuardError, OutputError
from fortress.respond.block import Standing, parse_target
from fortress.respond.client import GuardClient
from fortress.respond.never_block import NeverBlock, spare
from fortress.respond.policy import Decision, Mode, Policy, PolicySettings
from fortress.services.agent.view import BlockRow, Outcome, SensorRow
from fortress.verdict import Act, Action, Verdict

GUARD_WAIT_S = 5.0
POLL_S = 2.0  # how often it is asked what stands
AGAIN_S, LONGEST_S = 0.5, 15.0  # after a failure it is called again, later each time
MOST_WAITING = 4096  # decisions; the oldest of more are lost
T = TypeVar("T")
_OUTCOMES = {"tell": "told", "ask": "asked"}


@dataclass(frozen=True, slots=True)
class _Known:
    """What the thread last heard of the guard."""

    state: SensorRow
    blocks: tuple[Standing, ...] = ()


class Acts:
    """Decides, and has it done; everything but the thread is the loop's alone."""

    def __init__(self, settings: Respond, guard: Path | None) -> None:
        self._guard = guard
        self._never = _never(settings)
        self._policy = Policy(policy_settings(settings))
        self._settings = settings
        self._queue: queue.Queue[Decision] = queue.Queue(MOST_WAITING)
        self._told: queue.Queue[Act] = queue.Queue(2 * MOST_WAITING)
        why = "" if guard else "switched off: respond.guard is empty"
        self._known = _Known(SensorRow("guard", "guard", "missing", why))
        self._said_to_wait: set[str] = set()
        self._pardoned: queue.Queue[str] = queue.Queue()
        self._grace: dict[str, float] = {}  # until when each pardoned target is left alone
        self._stop = Event()
        self._thread = Thread(target=self._run, name="guard", daemon=True)
        if guard is not None:
            self._thread.start()

    @property
    def mode(self) -> str:
        """What becomes of decisions."""
        return self._settings.mode

    @property
    def sensor(self) -> SensorRow:
        """Whether the guard answers."""
        return self._known.state

    def decide(self, verdicts: Iterable[Verdict], ns: int) -> list[Act]:
        """What is told of the verdicts at once; what the guard says comes by `heard`."""
        self._forgive()
        acts = []
        for decision in self._policy.decide(verdicts, ns / 1e9):
            refusal = self._never.refusal(parse_target(decision.block.target))
            if refusal:
                acts.append(_act(decision, "refused", ns, refusal))
            elif decision.act == "do":
                acts += self._ask_for(decision, ns)
            else:
                acts.append(_act(decision, _OUTCOMES[decision.act], ns))
        return acts

    def heard(self) -> list[Act]:
        """What became of decisions since the last call."""
        acts = _all(self._told)
        for act in acts:
            if act.outcome == "refused":
                self._policy.refused(act.target)
        self._forgive()
        return acts

    def confirm(self, target: str, ns: int) -> tuple[Outcome, list[Act]]:
        """Have the block that waits for a person done."""
        with suppress(ValueError):
            target = parse_target(target).text
        if self._guard is None:
            raise OutputError(f"{target}: there is no guard to ask (respond.guard is empty)")
        decision = self._policy.agree(target, ns / 1e9)
        if decision is None:
            raise OutputError(f"{target}: no block is proposed for it")
        return Outcome(True, f"the guard is asked: {decision.sentence()}"), self._ask_for(
            decision, ns
        )

    def rows(self, ns: int) -> tuple[BlockRow, ...]:
        """Blocks that stand, and those that wait to be confirmed."""
        proposed = (
            BlockRow(
                target=one.block.target,
                kind=one.block.kind,
                action=one.block.action.name,
                state="proposed",
                origin=one.block.origin,
                why=one.block.why,
                until_ns=round(one.until_s * 1e9),
                signatures=one.block.signatures,
            )
            for one in self._policy.waiting(ns / 1e9)
        )
        return *(_standing(one, ns) for one in self._known.blocks), *proposed

    def retune(self, settings: Respond) -> None:
        """Go on with other settings; offences are remembered. ConfigError changes nothing."""
        self.check(settings)
        self._policy.retune(policy_settings(settings))
        self._never, self._settings = _never(settings), settings

    def check(self, settings: Respond) -> None:
        """ConfigError when `retune` would refuse these."""
        if settings.guard != self._settings.guard:
            raise ConfigError("respond.guard: the agent must be restarted to change it")
        _never(settings)

    def close(self) -> None:
        """Leave the guard; automatic blocks stay or go as `respond.on_stop` says."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * GUARD_WAIT_S)
        if self._guard is None or self._settings.on_stop == "keep":
            return
        with suppress(GuardError), self._client(self._guard) as client:
            mine = [one.target for one in client.blocks() if one.origin == "automatic"]
            client.remove(mine, "automatic", "the agent stops")

    def _forgive(self) -> None:
        for target in _all(self._pardoned):
            self._policy.forgive(target)

    def _ask_for(self, decision: Decision, ns: int) -> list[Act]:
        if self._guard is None:
            return [_act(decision, "refused", ns, "respond.guard is empty")]
        try:
            self._queue.put_nowait(decision)
        except queue.Full:
            return [_act(decision, "refused", ns, f"{MOST_WAITING} others wait for the guard")]
        return []

    # ---- the thread ----

    def _run(self) -> None:
        assert self._guard is not None
        waiting: dict[str, Decision] = {}
        wait_s = AGAIN_S
        while not self._stop.is_set():
            try:
                with self._client(self._guard) as client:
                    wait_s = AGAIN_S
                    self._serve(client, waiting)
            except GuardError as error:
                self._known = _Known(_missing(self._known.state, error))
            self._wait(waiting, wait_s)
            wait_s = min(2 * wait_s, LONGEST_S)

    def _serve(self, client: GuardClient, waiting: dict[str, Decision]) -> None:
        """Ask for what was decided, until the guard fails."""
        facts = client.hello()
        live = SensorRow("guard", "guard", "live", facts={"pid": facts.pid})
        due_s = 0.0
        while not self._stop.is_set():
            now_s = time.monotonic()
            if now_s >= due_s:
                standing, due_s = client.standing(), now_s + POLL_S
                blocks = standing.blocks
                self._known = _Known(live, blocks)
                self._hear_pardons(standing.pardoned)
                stands = {one.target: one for one in blocks}
                for target in [t for t, one in waiting.items() if _is_done(one, stands.get(t))]:
                    self._tell(_act(waiting.pop(target), "done", time.time_ns()))
            if waiting:
                self._do(client, waiting)
                due_s = 0.0
            self._take(waiting, max(due_s - time.monotonic(), 0.0))

    def _hear_pardons(self, left_s: dict[str, float]) -> None:
        """Whom an operator has unblocked since the last time: told to the policy, by the loop."""
        now_s = time.monotonic()
        before, self._grace = self._grace, {one: now_s + left_s[one] for one in left_s}
        for target, until_s in self._grace.items():
            if until_s > before.get(target, 0.0) + 1:  # a grace that was known gets no longer
                self._pardoned.put(target)

    def _do(self, client: GuardClient, waiting: dict[str, Decision]) -> None:
        self._forget_old(waiting)
        self._said_to_wait.clear()
        decisions = tuple(waiting.values())
        outcomes = client.add([one.block for one in decisions])
        for decision, outcome in zip(decisions, outcomes, strict=True):
            waiting.pop(decision.block.target, None)
            said = "done" if outcome.done else "refused"
            self._tell(_act(decision, said, time.time_ns(), outcome.reason))

    def _take(self, waiting: dict[str, Decision], wait_s: float) -> None:
        """Wait for decisions for at most so long, and take all there are."""
        with suppress(queue.Empty):
            decision = self._queue.get(timeout=wait_s) if wait_s > 0 else self._queue.get_nowait()
            while True:
                waiting[decision.block.target] = decision
                if len(waiting) > MOST_WAITING:
                    lost = waiting.pop(next(iter(waiting)))
                    self._tell(_act(lost, "over", time.time_ns(), "too many wait for the guard"))
                decision = self._queue.get_nowait()

    def _wait(self, waiting: dict[str, Decision], wait_s: float) -> None:
        """Without a guard: take what is decided meanwhile, and say that it waits."""
        end_s = time.monotonic() + wait_s
        while (left_s := end_s - time.monotonic()) > 0 and not self._stop.is_set():
            self._take(waiting, min(left_s, 0.2))
            for target in waiting.keys() - self._said_to_wait:
                why = self._known.state.reason
                self._tell(_act(waiting[target], "waiting", time.time_ns(), why))
            self._said_to_wait = set(waiting)
            self._forget_old(waiting)

    def _forget_old(self, waiting: dict[str, Decision]) -> None:
        now_s = time.time()
        for target in [t for t, one in waiting.items() if one.until_s <= now_s]:
            self._tell(_act(waiting.pop(target), "over", time.time_ns()))

    def _tell(self, act: Act) -> None:
        with suppress(queue.Full):  # the loop is gone, or far behind
            self._told.put_nowait(act)

    def _client(self, guard: Path) -> GuardClient:
        return GuardClient(guard, session="", wait_s=GUARD_WAIT_S)


def _all(told: queue.Queue[T]) -> list[T]:
    """Everything that waits in a queue."""
    found = []
    with suppress(queue.Empty):
        while True:
            found.append(told.get_nowait())
    return found


def policy_settings(settings: Respond) -> PolicySettings:
    """The policy's part of `[respond]`."""
    return PolicySettings(
        mode=Mode(settings.mode),
        steps_s=tuple(60 * minutes for minutes in settings.steps_minutes),
        least=Action[settings.least.upper()],
    )


def _never(settings: Respond) -> NeverBlock:
    spared = []
    for text in settings.never:
        try:
            spared.append(spare(text, "respond.never"))
        except ValueError as error:
            raise ConfigError(f"respond.never: {error}") from None
    return NeverBlock(spared)


def _is_done(decision: Decision, standing: Standing | None) -> bool:
    """Whether what stands is what was decided: asked for before the connection broke."""
    if standing is None or standing.action != decision.block.action:
        return False
    return standing.left_s is None or standing.left_s >= decision.until_s - time.time() - 5


def _act(decision: Decision, outcome: str, ns: int, reason: str = "") -> Act:
    block = decision.block
    return Act(
        time_ns=ns,
        outcome=outcome,
        action=block.action,
        target=block.target,
        target_kind=block.kind,
        until_ns=round(decision.until_s * 1e9),
        why=block.why,
        reason=reason,
        offence=decision.offence,
        signatures=block.signatures,
    )


def _standing(one: Standing, ns: int) -> BlockRow:
    return BlockRow(
        target=one.target,
        kind=one.kind,
        action=one.action.name,
        state="standing",
        origin=one.origin,
        why=one.why,
        until_ns=None if one.left_s is None else ns + round(one.left_s * 1e9),
        hits=one.hits,
        signatures=one.signatures,
    )


def _missing(before: SensorRow, error: GuardError) -> SensorRow:
    """It was there and is gone, or never was."""
    was_there = before.state in ("live", "stale")
    return SensorRow("guard", "guard", "stale" if was_there else "missing", str(error))
