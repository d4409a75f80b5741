# SPDX-License-Identifier: Apache-2.0
"""The card of `threat-lstm`: what it is worth, on what it was judged, what it cannot do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from fortress.features.sequence import FEATURES, FIRST_IN_SPAN, SPAN_S
from fortress.training import threat_lstm_judge as judge
from fortress.training.evaluate import Rate
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
    benign_steps: int


def write_card(found: Findings) -> str:
    """The card as Markdown."""
    return "\n".join(part(found) for part in (_head, _worth, _context, _limits, _data, _graphs))


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
captures): {_shown(found)}

{units}
"""


def _context(found: Findings) -> str:
    rows = [("all before it (carried)", *_line(found.held_out))]
    rows += [(f"{size} steps", *_line(worth)) for size, worth in found.windowed.items()]
    return f"""## What context is worth

The same networks, judged with less of the past; each with thresholds of its own.

{_table(("steps of context", *_LINE_HEAD), rows)}
"""


def _limits(found: Findings) -> str:
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
