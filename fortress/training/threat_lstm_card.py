# SPDX-License-Identifier: Apache-2.0
"""The card of `threat-lstm`: what it is worth, on what it was judged, what it cannot do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from fortress.features.sequence import FEATURES, FIRST_IN_SPAN, SPAN_S
from fortress.training import threat_lstm_judge as judge
from fortress.training.evaluate import Rate, poisson
from fortress.training.summary import Summary, at_a_glance
from fortress.training.threat_lstm_data import STAGES, UNKNOWN, Corpus
from fortress.training.threat_lstm_export import Graphs
from fortress.training.threat_lstm_judge import Worth
from fortress.training.threat_lstm_net import HIDDEN


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that training found out, for the recipe and the card."""

    name: str
    version: str
    corpus: Corpus
    held_out: Worth
    windowed: Mapping[int, Worth]
    origins: Mapping[str, Worth]
    shown: Mapping[str, Worth]
    threshold: float
    risk: float
    graphs: Graphs
    int8_agreement: float
    pr_auc: float
    calm_days: float
    latency_us: tuple[float, float]


def write_card(found: Findings, texts: Mapping[str, str]) -> str:
    """The card as Markdown; `texts` are its pictures as text, by name."""
    parts = (_head(found), at_a_glance(_summary(found)), _worth(found), _context(found))
    later = (_limits(), _hindsight(), _data(found), _graphs(found))
    return "\n".join((*parts, _curves(texts), *later))


def _summary(found: Findings) -> Summary:
    worth, graphs = found.held_out, found.graphs
    attacks = sum(rate.total for rate in worth.by_unit.values())
    low, high = worth.false_steps.interval
    logs = [worth.false_by_origin.get(name, Rate(0, 0)) for name in ("iot23", "stratosphere")]
    flagged = sum(rate.hits for rate in logs)
    most = poisson(flagged)[1] / max(found.calm_days, 1e-9)
    recall, least, best = judge.mean_recall(worth)
    other = "; ".join(f"without {name} {_line(one)[0]}" for name, one in found.origins.items())
    false = "; ".join(f"{n} {_rate(one.false_steps)}" for n, one in found.origins.items())
    weak = [name for name, value in worth.recall.items() if value < 0.2] or ["none"]
    doubtful = [name for name, value in worth.precision.items() if value < 0.5]
    worst = max(one.false_steps.value for one in found.origins.values())
    return Summary(
        data="public captures and Zeek logs, our laboratory: origins and their counts in the last "
        "table; licences: GPL-2.0 (stratosphere, slips), CC BY 4.0 (IoT-23), those of `labels.tsv` "
        f"(GPL, MIT, BSD, Apache) for captures, ours for the lab; digest `{found.corpus.digest}`",
        split=f"by unit (tool, scenario, application, log), {judge.FOLDS} folds; then by origin",
        base_rate=f"{attacks:,} of {attacks + worth.false_steps.total:,} judged steps are attacks, "
        f"which says nothing of a home; a risk is stated for {judge.PRIOR:.0%}",
        pr_auc=f"{found.pr_auc:.3f} (attacks half of all, stages alike, units alike; 0.5 is "
        "chance), units unseen",
        recall=f"{recall:.3f} ({least:.3f} to {best:.3f}): mean over stages, of units, unseen",
        false_positives=f"{_rate(worth.false_steps)} steps ({low:.1e} to {high:.1e}), "
        f"{_rate(worth.false_originators)} originators",
        alerts=f"{flagged} flagged steps in {found.calm_days:.1f} days of three devices in public "
        f"logs, held out: with {judge.ENOUGH} steps an alert at most {most / judge.ENOUGH:.1f} a "
        "device and day (95 %, Poisson)",
        other_origin=f"recall {other}; false alarms {false} steps",
        by_class="; ".join(f"{name} {value:.2f}" for name, value in worth.recall.items()),
        weak_spots=f"on unseen units hardly or never found: {', '.join(weak)}; rightly named in "
        f"less than half of the cases: {', '.join(doubtful) or 'none'}; a network unlike all that "
        f"it learnt from: false alarms on up to {worst:.1%} of its benign steps",
        hindsight="features, thinning of steps and sizes of the network were settled while looking "
        "at held-out scores: see Hindsight",
        latency=f"{found.latency_us[0]:.0f} µs a window of 64 steps, {found.latency_us[1]:.0f} µs "
        "a step with the state carried (one row, CPU time, ONNX Runtime on the machine that "
        "trained)",
        size=f"{(len(graphs.window) + sum(map(len, graphs.variants().values()))) / 1000:.0f} kB, "
        "three graphs of the same weights",
    )


def _head(found: Findings) -> str:
    return f"""# {found.name} {found.version}

Follows each originator's flows in order of time and says after each at which stage of an attack it
is ({", ".join(STAGES[1:])}), and how
much the flow surprises. One LSTM of {HIDDEN} units over {len(FEATURES)} features, its state carried
from flow to flow. Written by `fortress model train {found.name}`; every number here comes from that
run.

A step is a flow that ended; of an originator's flows of {SPAN_S} s the first {FIRST_IN_SPAN} and
those whose number is a power of two. The *risk* is a calibrated probability where
{judge.PRIOR:.0%} of the steps are attacks; a step is flagged from risk {found.risk:.3f} (score
{found.threshold:.4f}), an originator is suspicious from {judge.ENOUGH} flagged steps. It ships in
`shadow`: it scores and records, and touches neither findings nor score, until an operator says so.
"""


def _worth(found: Findings) -> str:
    worth = found.held_out
    names = {"lab": "the laboratory", "logs": "public flow logs", "captures": "public captures"}
    others = [
        (f"learnt without {names[name]}, judged on them", *_line(one))
        for name, one in found.origins.items()
    ]
    stages = _table(_STAGE_HEAD, _stages(worth))
    lines = _table(("held out", *_LINE_HEAD), [("a unit, never seen", *_line(worth)), *others])
    origins = "; ".join(f"{name} {_rate(rate)}" for name, rate in worth.false_by_origin.items())
    units = _table(("stage and unit", "steps", "flagged, unit unseen"), _units(worth))
    return f"""## What it is worth

Units are held out in turn: a *unit* is a tool and its maker, a scenario of the laboratory, an
application or a log. The threshold is picked on the other folds, so that at most
{judge.TARGET:.1%} of benign originators are suspicious. Recall is the mean over units, each
counting once.

{stages}

{lines}

Intervals by step (Clopper–Pearson) take steps for independent, which those of a capture are not;
those by capture draw captures anew. Captures with a flagged benign step:
{_rate(worth.false_captures)}. By origin: {origins}.

Surprise alone tells attacks from benign steps with an area under ROC of {worth.surprise_auc:.3f}
(0.5 = not at all).

Captures that it never learnt from (our own laboratory, with tools that it has seen in other
captures; `slips-vertical` is a public log): {_shown(found)}

{units}
"""


def _context(found: Findings) -> str:
    rows = [("all before it (carried)", *_line(found.held_out))]
    rows += [(f"{size} steps", *_line(worth)) for size, worth in found.windowed.items()]
    return f"""## What context is worth

The same networks, judged with less of the past; each with thresholds of its own.

{_table(("steps of context", *_LINE_HEAD), rows)}
"""


def _curves(texts: Mapping[str, str]) -> str:
    parts = "\n".join(
        f"[{name.replace('_', ' ')}](figures/{name}.png)\n\n```\n{text}```\n"
        for name, text in texts.items()
    )
    return f"""## Curves

Held-out steps only. Weights: stages alike, units alike within a stage; in the first two attacks and
benign steps half each, in the third {judge.PRIOR:.0%} attacks, by tables that did not see the fold.
The confusion is of unseen units at the thresholds of their folds; a row adds up to 1.

{parts}"""


def _hindsight() -> str:
    return """## Hindsight

The way in which a flow becomes a step, the twenty features, the size of the network, the weight of
benign steps and the composed sequences were chosen while looking at held-out scores of these very
captures; the hold-outs did not decide the weights or thresholds that they are judged by, but they
did decide what was tried. Expect less elsewhere. `slips-vertical` (a scan of one host, Zeek log of
another project) was looked at once, when all was finished.

**Findings of the rules are no input**, though they could be: on these captures the rules find most
of what the laboratory did, so a model that is told of them is judged on repeating them, and its
held-out recall would say nothing about attacks that the rules miss. What both say meets in the
score. This was decided, not measured.
"""


def _limits() -> str:
    return """## What it cannot do

- **Stand alone**: most of what it flags the rules see too, and sooner: a flow is judged when it has
  ended, up to two minutes after its last packet where nobody closed it.
- **Name stages that it hardly knows**: lateral movement and exfiltration come almost wholly from
  our own laboratory, with few tools. An upload to a rented server and a theft look alike.
- **See what others do to a host**: it follows who opens connections.
- **Be judged on a real home**: benign traffic is that of public captures of single applications, of
  two days of one Windows machine, and of our laboratory.
- **Tell an infected device's keep-alive from an unanswered clock**: its false alarms are mostly
  devices whose servers are gone.
- Findings of the rules are no input: it would learn to repeat them, and add nothing to them.
"""


def _data(found: Findings) -> str:
    corpus = found.corpus
    rows = []
    for origin in sorted({one.origin for one in corpus.episodes}):
        here = [one for one in corpus.episodes if one.origin == origin]
        stage = np.concatenate([one.stage for one in here])
        counts = np.bincount(stage[stage != UNKNOWN], minlength=len(STAGES))
        rows.append((origin, len(here), *counts, int((stage == UNKNOWN).sum())))
    head = ("origin", "captures", *STAGES, "not counted")
    return f"""## Data

Flows by origin and stage; digest `{corpus.digest[:16]}`. Stages of shared captures come from
`fortress/training/truth.py`, of the laboratory from the techniques of its labels, of logs from
their publishers. Learning also uses {judge.COMPOSED} sequences composed of these; nothing is judged
on those. Licences: see the shared data's manifest; nothing of it is part of this model's folder.

{_table(head, rows)}
"""


def _graphs(found: Findings) -> str:
    graphs = found.graphs
    return f"""## Graphs

Whole windows {len(graphs.window) / 1000:.0f} kB, carried state {len(graphs.carried) / 1000:.0f} kB,
8-bit integers {len(graphs.int8) / 1000:.0f} kB. Largest difference between torch and ONNX Runtime
over batches of 1, 7, 1024 and 1 to 256 steps: {graphs.difference:.1e}; of the integers
{graphs.int8_difference:.1e}, and they decide alike on {found.int8_agreement:.2%} of 2,000 windows.
"""


_STAGE_HEAD = ("stage", "units", "flagged", "and named rightly", "of those named so, right")
_LINE_HEAD = (
    "recall, mean of stages",
    "benign steps flagged",
    "95 % by step",
    "95 % by capture",
    "benign originators suspicious",
    "95 %",
)


def _line(worth: Worth) -> tuple[str, ...]:
    low, high = worth.false_steps.interval
    first, last = worth.false_steps_bootstrap
    least, most = worth.false_originators.interval
    recall = float(np.mean(list(worth.recall.values()))) if worth.recall else 0.0
    return (
        f"{recall:.3f}",
        _rate(worth.false_steps),
        f"{low:.1e} to {high:.1e}",
        f"{first:.1e} to {last:.1e}",
        _rate(worth.false_originators),
        f"{least:.1e} to {most:.1e}",
    )


def _stages(worth: Worth) -> list[tuple[object, ...]]:
    return [
        (name, worth.units[name], f"{recall:.3f}", f"{worth.right[name]:.3f}",
         f"{worth.precision[name]:.3f}")
        for name, recall in worth.recall.items()
    ]  # fmt: skip


def _units(worth: Worth) -> list[tuple[object, ...]]:
    return [(name, rate.total, rate.hits) for name, rate in worth.by_unit.items()]


def _shown(found: Findings) -> str:
    parts = []
    for name, worth in found.shown.items():
        stages = ", ".join(f"{stage} {recall:.2f}" for stage, recall in worth.recall.items())
        parts.append(f"`{name}`: {stages or 'no attack'}; benign {_rate(worth.false_steps)}")
    return ". ".join(parts) + "."


def _rate(rate: Rate) -> str:
    return f"{rate.hits} of {rate.total}"


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    names = tuple(head)
    lines: list[Iterable[object]] = [names, ("---",) * len(names), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
