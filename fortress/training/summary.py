# SPDX-License-Identifier: Apache-2.0
"""The head of every card: the same questions to every model, none of which may stay open, and how
long a row takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields

QUESTIONS = {
    "data": "data: origin, licence, digest",
    "split": "split",
    "base_rate": "base rate",
    "pr_auc": "PR-AUC",
    "recall": "recall at the shipped threshold",
    "false_positives": "false positives on benign traffic, 95 %",
    "alerts": "alerts a device and day, expected",
    "other_origin": "data of another origin",
    "by_class": "by class",
    "weak_spots": "weak spots",
    "hindsight": "hindsight",
    "latency": "latency",
    "size": "size",
}
_TIMES, _ROUNDS = 200, 7


@dataclass(frozen=True, slots=True)
class Summary:
    """A model's answers, a sentence or two each; their order is that of QUESTIONS."""

    data: str
    split: str
    base_rate: str
    pr_auc: str
    recall: str
    false_positives: str
    alerts: str
    other_origin: str
    by_class: str
    weak_spots: str
    hindsight: str
    latency: str
    size: str


def at_a_glance(summary: Summary) -> str:
    """The section of a card, as Markdown. Raises ValueError where a question is not answered."""
    rows = []
    for field in fields(summary):
        answer = " ".join(str(getattr(summary, field.name)).split())
        if not answer:
            raise ValueError(f"the card does not say: {QUESTIONS[field.name]}")
        rows.append(f"| {QUESTIONS[field.name]} | {answer} |\n")
    return "## At a glance\n\n| question | answer |\n| --- | --- |\n" + "".join(rows)


def cpu_us(run: Callable[[], object]) -> float:
    """Microseconds of CPU time that a call takes, the least of some rounds."""
    run()
    rounds = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        for _ in range(_TIMES):
            run()
        rounds.append(time.process_time() - begun)
    return min(rounds) / _TIMES * 1e6
