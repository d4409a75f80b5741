# SPDX-License-Identifier: Apache-2.0
"""The card of a model that was made for this network: what changed, on what it was judged, and what
nobody knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fortress.inference.entry import ModelEntry
from fortress.services.trainer.house import HELD_OUT_DAYS, NAME, OWN_SHARE, Gate, Judged, learn_days
from fortress.services.trainer.sample import House
from fortress.training.evaluate import TARGET_FALSE_POSITIVES, Rate


def write_card(
    version: str,
    shipped: ModelEntry,
    using: ModelEntry,
    gate: Gate,
    judged: tuple[Judged, Judged],
    facts: Mapping[str, Any],
) -> str:
    """The card as Markdown."""
    house: House = facts["house"]
    ours, theirs = judged
    days = house.days[-HELD_OUT_DAYS:]
    benign = sum(house.flows[day] for day in days)
    share = sum(house.judged[day] for day in days) / max(benign, 1)
    alarms = ours.false.value * share * benign / len(days)
    how = (
        f"Its gate was trained anew on public captures and this network (at most {OWN_SHARE:.0%} of"
        " the weight of a side)."
        if gate.attacks
        else "Its graph is the one that ships; its threshold was fitted to this network."
    )
    return f"""# {NAME} {version}

Made by `fortress trainer run` from {NAME} {shipped.recipe.version}, which ships. {how}
Threshold: risk {gate.threshold:.4f}, raised by {gate.raised:.4f}; the version in use
({using.recipe.version}) has {using.threshold():.4f}.

## On what it was judged

{facts["flows"]} archived flows of {len(house.days)} days, {facts["sampled"]} sampled for judging
(by day and label). Learnt from {_dates(learn_days(house))}; judged on {_dates(days)}, which neither
training nor threshold has seen. {facts["left_out"]} flows near findings were left out,
{facts["confirmed"]} belong to findings that an operator confirmed. {facts["public"]}.
Flows are taken for benign when nobody said otherwise and no finding is near: an attack that nothing
noticed is among them.

| on the days held out | this version | in use ({using.recipe.version}) |
| --- | --- | --- |
| benign flows called attacks | {_rate(ours.false)} | {_rate(theirs.false)} |
| flows of confirmed findings found | {_rate(ours.found)} | {_rate(theirs.found)} |
{_attacks(gate)}
That is about {alarms:.1f} flows a day called attacks on this network (of {benign} in {len(days)}
days, {share:.0%} of them judged), at an aim of {TARGET_FALSE_POSITIVES:.1%}. Intervals are Clopper
and Pearson's and take flows for independent, which flows of one day are not.

## What it cannot do

What the model that ships cannot do, it cannot either: its card is that of {shipped.recipe.version}.
Raising a threshold loses attacks; how many on this network nobody knows unless findings are
confirmed. On data of another origin than this network it was {_elsewhere(gate)}.
"""


def _attacks(gate: Gate) -> str:
    """The rows that public captures give; the second column is the same training without ours."""
    if gate.attacks is None or gate.attacks_without is None:
        return ""
    rows = []
    for name, (value, low, high) in gate.attacks.items():
        other = gate.attacks_without[name][0]
        words = name.replace("_", " ").replace("pr auc", "PR-AUC,")
        rows.append(
            f"| {words} (public, held out) | {value:.3f} ({low:.3f} to {high:.3f}) |"
            f" {other:.3f} (trained without this network) |\n"
        )
    return "".join(rows)


def _elsewhere(gate: Gate) -> str:
    return "judged on the public captures above" if gate.attacks else "not judged"


def _rate(rate: Rate) -> str:
    if not rate.total:
        return "none to judge"
    low, high = rate.interval
    return f"{rate.hits} of {rate.total} (95 %: {low:.2%} to {high:.2%})"


def _dates(days: tuple[int, ...]) -> str:
    texts = [f"{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}" for day in days]
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]} ({len(texts)} days)"
