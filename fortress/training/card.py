# SPDX-License-Identifier: Apache-2.0
"""The card of the flow classifier: what it is worth, on what it was judged, what it cannot do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fortress.features import flow
from fortress.training import evaluate
from fortress.training.captures import DEMONSTRATION
from fortress.training.dataset import FlowSet
from fortress.training.evaluate import Rate, Result
from fortress.training.kinds import KINDS, WORDS
from fortress.training.provenance import Probe
from fortress.training.summary import Summary, at_a_glance
from fortress.training.truth import Fate

_SAMPLES = Path(__file__).resolve().parents[2] / "samples"


@dataclass(frozen=True, slots=True)
class Contestant:
    """How a kind of model did: on unseen tools, on unseen captures, and its cost."""

    name: str
    pr_auc_tools: float
    pr_auc_captures: float
    recall_tools: float
    recall_captures: float
    rows_per_second: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that training found out, for the recipe and the card."""

    name: str
    version: str
    chosen: str
    flows: FlowSet
    contestants: tuple[Contestant, ...]
    probes: tuple[Probe, ...]
    tools: Result
    captures: Result
    origins: Mapping[str, Result]
    content: Rate
    demonstration: Result | None
    threshold: float
    risk: float
    difference: float
    size_bytes: int
    rows_per_second: float
    latency_us: float
    pr_auc: tuple[float, float]
    pr_auc_95: tuple[float, float]
    shares: tuple[evaluate.Floats, evaluate.Floats]
    texts: Mapping[str, str]


def write_card(found: Findings) -> str:
    """The card as Markdown."""
    sections = (_worth, _kinds_told, _figures, _limits, _hindsight, _data, _leaks, _contest)
    head = (_head(found), at_a_glance(_summary(found)))
    return "\n".join((*head, *(section(found) for section in sections)))


def _summary(found: Findings) -> Summary:
    tools, (first, last) = found.tools, found.pr_auc_95
    low, high = tools.false_flows.interval
    least, most = evaluate.recall_interval(tools)
    daily = [_FLOWS_A_DAY * each for each in (tools.false_flows.value, low, high)]
    weakest = [kind for kind, recall in tools.by_kind.items() if recall < 0.1]
    return Summary(
        data="public captures (sources, commits, licences GPL, MIT, BSD, Apache: `labels.tsv` of "
        "the shared data) and our laboratory's; origins and counts below; digest "
        f"`{found.flows.digest}`",
        split=f"by tool or application, by capture, by origin; {evaluate.FOLDS} folds, nested",
        base_rate=f"{_base_rate(found)} are attacks, which says nothing of a home; a risk is "
        f"stated for {evaluate.PRIOR:.0%}",
        pr_auc=f"{found.pr_auc[0]:.3f} ({first:.3f} to {last:.3f}) tools unseen, "
        f"{found.pr_auc[1]:.3f} captures unseen (attacks half of all: 0.5 is chance)",
        recall=f"{tools.recall:.3f} ({least:.3f} to {most:.3f}) tools unseen, "
        f"{found.captures.recall:.3f} captures unseen; each tool counts once",
        false_positives=f"{_rate(tools.false_flows)} flows ({low:.1e} to {high:.1e})",
        alerts=f"{daily[0]:.1f} flows called attacks ({daily[1]:.1f} to {daily[2]:.1f}) at "
        f"{_FLOWS_A_DAY:,} flows a day; an alert needs several of one host within ten minutes",
        other_origin="; ".join(
            f"{name}: recall {one.recall:.3f}, {_rate(one.false_flows)} false"
            for name, one in found.origins.items()
        )
        + "; public flow logs by a cut-down twin: docs/models.md",
        by_class=f"recall, tools unseen: {_kinds(tools.by_kind)}",
        weak_spots=f"tools that it has not seen; least found: {', '.join(weakest) or 'none'}; "
        "single exploit requests, silent scans and floods, beacons: not judged",
        hindsight="some 40 combinations of features and models were looked at: see Hindsight",
        latency=f"{found.latency_us:.0f} µs for one flow's gate, {found.rows_per_second:,.0f} "
        "judged flows a second in batches (CPU time on the machine that trained)",
        size=f"{found.size_bytes / 1000:.0f} kB, two graphs",
    )


def _head(found: Findings) -> str:
    return f"""# {found.name} {found.version}

Judges single flows by their shape. A gate ({found.chosen}, {len(flow.FEATURES)} features) says
how likely a flow is an attack; what passes it is asked for its kind:
{", ".join(WORDS.values())}.
Together {found.size_bytes / 1000:.0f} kB of ONNX; the gate does {found.rows_per_second:,.0f} judged
flows a second on one core of the machine that trained (end to end: docs/models.md). Written by
`fortress model train {found.name}`; every number here comes from that run.

It judges a flow only if it saw its start, payload went both ways and {flow.MIN_PACKETS} packets or
more went by; every other flow has risk 0. The *risk* is a calibrated probability of attack where
{evaluate.PRIOR:.0%} of the judged flows are attacks. A flow is called an attack from risk
{found.risk:.3f} (raw score {found.threshold:.4f}). A finding of this model blocks nothing alone.
"""


def _worth(found: Findings) -> str:
    tools, captures = found.tools, found.captures
    origins = [_row(f"all of origin `{name}`", result) for name, result in found.origins.items()]
    known = _known_tools(found)
    groups = [
        (group, rate.total, rate.hits, captures.by_group[group].hits if group in known else "–")
        for group, rate in tools.by_group.items()
    ]
    rows = [_row("a tool, never seen", tools), _row("a capture", captures), *origins]
    rate, (first, last) = tools.false_flows, found.pr_auc_95
    daily = [_FLOWS_A_DAY * each for each in (rate.value, *rate.interval)]
    by_origin = "; ".join(f"{name} {_rate(r)}" for name, r in tools.false_by_origin.items())
    return f"""## What it is worth

Neither model nor threshold ever saw what they are judged on: units are held out in turn, and the
threshold is picked on the rest, nested, the way the shipped one was picked on everything. A *tool*
is a program and its maker, with all its captures; recall counts each tool once.

{_table(_WORTH_HEAD, rows)}

Area under precision and recall, tools and applications weighing as the root of their size, attacks
half of all: {found.pr_auc[0]:.3f} on unseen tools (95 %: {first:.3f} to {last:.3f}, tools and
applications drawn anew), {found.pr_auc[1]:.3f} on unseen captures (0.5 is chance). Among the flows
of the data {_base_rate(found)} are attacks, which says nothing of a home.
The threshold is picked for {evaluate.TARGET_FALSE_POSITIVES:.1%} false positives: a finding needs
many such flows of one host within ten minutes, never one. At {_FLOWS_A_DAY:,} flows a day (two
office computers of the public Zeek logs began 1,462 and 1,974) the first row's rate is
{daily[0]:.1f} flows a device and day called attacks (95 %: {daily[1]:.1f} to {daily[2]:.1f}).

Intervals by flow (Clopper–Pearson) take flows for independent, which those of one capture are
not; the bootstrap draws whole captures and is empty without a false positive. Tools held out,
{_rate(tools.false_captures)} captures had one: at most {tools.false_captures.interval[1]:.1%} of
captures (95 %). Benign flows include those too short to be judged.

False positives by origin, tools held out: {by_origin}.

Recall by kind, tools unseen: {_kinds(tools.by_kind)}.
{_demonstration(found.demonstration)}
A capture tells about a known tool only where the tool has several: {len(known)} have, and their
mean recall, captures unseen, is {_known_recall(found):.3f}.

{_table(("tool", "judged flows", "found, tool unseen", "found, capture unseen"), groups)}
"""


def _kinds_told(found: Findings) -> str:
    flows = found.flows
    attack = flows.judged & (flows.fate == Fate.ATTACK)
    rows = []
    for kind in KINDS:
        here = attack & (flows.kind == kind)
        cells = []
        for shares in found.shares:
            right = np.argmax(shares, axis=1) == KINDS.index(kind)
            groups = np.unique(flows.group[here])
            cells.append(np.mean([right[here & (flows.group == group)].mean() for group in groups]))
        rows.append((WORDS[kind], len(groups), int(here.sum()), *(f"{c:.2f}" for c in cells)))
    return f"""## Which kind

Of judged attack flows, whether found or not, how many are given their kind; each tool counts once.

{_table(("kind", "tools", "judged flows", "right, tool unseen", "right, capture unseen"), rows)}

There is no class for exfiltration and none for single exploit requests: an upload of stolen files
is, flow by flow, a backup to a stranger (`host-anomaly` sees that it is unusual for the device),
and a request that breaks in differs from one that does not in its bytes. Scans and floods are kinds
only as far as they hold conversations (versions asked for, connections kept open).
"""


def _figures(found: Findings) -> str:
    parts = "\n".join(
        f"[{name.replace('_', ' ')}](figures/{name}.png)\n\n```\n{text}```\n"
        for name, text in found.texts.items()
    )
    return f"""## Curves

Held-out scores only. Weights: in the first two, attacks and benign flows half each; in the third,
{evaluate.PRIOR:.0%} attacks, by tables that did not see the flows they are judged on. The confusion
is of unseen tools at the shipped threshold, each tool counting once.

{parts}"""


def _limits(found: Findings) -> str:
    benign = found.tools.false_flows.total
    return f"""## What it cannot do

- **Find attacks whose tool it has not seen**: see the first row above. It recognises shapes it has
  learnt; nothing here supports a claim beyond that.
- **Find attacks that lie in the bytes** (one exploit request, a malicious download, Heartbleed):
  such flows were kept out of training; {_rate(found.content)} were called attacks.
- **Judge scans and floods that never speak**: they are no conversations. Rule detectors over
  windows see those.
- **Find beacons**: one check-in is an ordinary request; only the rhythm of many tells, which the
  beaconing detector reads. The laboratory's beacons were kept out of training.
- **Tell a mistyped password from a guess**: one failed log-in has the shape of one attempt; only
  their number tells, which is for whoever gathers the findings.
- **Prove its rate of false alarms for a home**: the data holds {benign} benign flows of
  {found.tools.false_captures.total} captures, none of a real home for a whole day. Read the
  intervals, not the aim.
- **See tunnels from outside, one side of an asymmetric route, or what began before the sensor.**
"""


def _hindsight(found: Findings) -> str:
    return f"""## Hindsight

No figure here is free of hindsight. Which columns are features, what counts as a conversation
and which tools are too doubtful to learn from was settled while looking at held-out scores of these
very captures; some 40 combinations of features and models were looked at for the gate, and
{found.chosen} is the best of them at its cost. The largest of 40 noisy figures is too high by
chance alone. Nothing else was at hand to judge on; expect less elsewhere.
"""


def _data(found: Findings) -> str:
    flows = found.flows
    rows = []
    for origin in np.unique(flows.origin):
        here = flows.origin == origin
        cells = [_counts(flows, here & (flows.fate == fate)) for fate in Fate if fate >= 0]
        rows.append((origin, len(np.unique(flows.capture[here])), *cells))
    damages = "; ".join(flows.damages)
    return f"""## Data

{len(np.unique(flows.capture))} captures, {len(flows)} flows, read by Fortress's own core; digest
of all captures `{flows.digest[:16]}`. The capture `{DEMONSTRATION}` is kept for demonstration.

{_table(_DATA_HEAD, rows)}

Licences and sources of the shared captures: the column `licence` of their `labels.tsv` (GPL, MIT,
BSD, Apache; none is redistributed here). The laboratory's captures are our own: those in `samples/`
ship; {_recorded(flows)} more are recorded by `./dev lab record training` with Debian's tools into
`.cache/lab`, and where they are absent the model comes out another.

Attack captures hold other traffic too: `fortress/training/truth.py` says for each of them which
flows are the attack and which are bystanders, and drops the doubtful. Flows that a jump of the
capture's clock cut off are dropped. Of one capture at most {evaluate.MAX_TRAIN_PER_CAPTURE} flows
are learnt from; tools and applications weigh as the root of their size, attacks and benign alike.

Captures read in part or not at all: {damages or "none"}.
"""


def _leaks(found: Findings) -> str:
    rows = [
        (p.name, f"{p.origin_auc:.3f}", f"{p.alone:.3f}", f"{p.added:.3f}") for p in found.probes
    ]
    return f"""## What gives a capture away

Attack and benign captures come from different places, so a column can tell them apart and say
nothing about attacks. For each group of columns: the area under ROC for telling benign flows of the
largest origin from benign flows of the others (0.5 = not at all), and the area under precision and
recall on unseen tools, by the group alone and added to the features. The features are the first
row; none of the other groups is used. Of the responder's port the features hold only the class of
its service. Addresses, MACs, VLANs, the originator's port, times of day and end reasons were never
offered.

{_table(("columns", "tells origins apart", "unseen tools, alone", "added to the features"), rows)}

Different origins hold different applications, so the features cannot reach 0.5 either. Attack
captures are cut at 600 bytes a packet, benign ones are not: sizes come from headers, and entropy
reads the first 64 bytes of payload, which the cut leaves whole. Sizes with headers in them carry
the length of TCP options, which is the operating system's; only payload sizes are used.
"""


def _contest(found: Findings) -> str:
    rows = [
        (
            f"**{c.name}**" if c.name == found.chosen else c.name,
            f"{c.pr_auc_tools:.3f}",
            f"{c.pr_auc_captures:.3f}",
            f"{c.recall_tools:.3f}",
            f"{c.recall_captures:.3f}",
            f"{c.rows_per_second:,.0f}",
            f"{c.size_bytes / 1000:.0f}",
        )
        for c in found.contestants
    ]
    return f"""## Why this kind of model

One split each, the threshold picked on the same held-out scores: good for comparing, not for
quoting. PR-AUC weighs attacks and benign alike. Rows a second: ONNX Runtime, one thread, in chunks
as at work, CPU time on the machine that trained.

{_table(_CONTEST_HEAD, rows)}

Largest difference between scikit-learn and ONNX Runtime over all judged flows:
{found.difference:.1e}. Results are the same bit for bit whatever the batch size.
"""


_WORTH_HEAD = (
    "held out",
    "recall at the threshold",
    "false positives",
    "95 % by flow",
    "95 % by capture",
    "captures with any",
)
_DATA_HEAD = ("origin", "captures", "benign flows (judged)", "attacks (judged)", "in the content")
_CONTEST_HEAD = (
    "model",
    "PR-AUC unseen tools",
    "unseen captures",
    "recall unseen tools",
    "unseen captures",
    "rows/s",
    "kB",
)


_FLOWS_A_DAY = 2000


def _base_rate(found: Findings) -> str:
    flows = found.flows
    attacks = int((flows.judged & (flows.fate == Fate.ATTACK)).sum())
    return f"{attacks} of {int((flows.judged & (flows.fate != Fate.CONTENT)).sum())} judged flows"


def _recorded(flows: FlowSet) -> int:
    lab = np.unique(flows.capture[flows.origin == "lab"])
    return sum(not (_SAMPLES / f"{name}.pcap.zst").exists() for name in lab.tolist())


def _row(what: str, result: Result) -> tuple[str, ...]:
    low, high = result.false_flows.interval
    first, last = result.false_bootstrap
    tools = f"{result.recall:.3f} ({len(result.by_group)} tools)"
    return (
        what,
        tools if result.by_group else "no attacks",
        _rate(result.false_flows),
        f"{low:.1e} to {high:.1e}",
        f"{first:.1e} to {last:.1e}" if last else "–",
        _rate(result.false_captures),
    )


def _known_tools(found: Findings) -> set[str]:
    """Tools with judged attack flows in two captures or more."""
    flows = found.flows
    attack = flows.judged & (flows.fate == Fate.ATTACK)
    return {
        str(group)
        for group in np.unique(flows.group[attack])
        if len(np.unique(flows.capture[attack & (flows.group == group)])) > 1
    }


def _known_recall(found: Findings) -> float:
    rates = [found.captures.by_group[group].value for group in _known_tools(found)]
    return float(np.mean(rates)) if rates else 0.0


def _demonstration(result: Result | None) -> str:
    if result is None:
        return ""
    attacks = Rate(
        sum(rate.hits for rate in result.by_group.values()),
        sum(rate.total for rate in result.by_group.values()),
    )
    return f"""
`{DEMONSTRATION}` (never trained on, but of our own laboratory with tools that were, so no proof of
anything elsewhere): {_rate(attacks)} judged attack flows found, {_rate(result.false_flows)} benign
flows called attacks.
"""


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    names = tuple(head)
    lines: list[Iterable[object]] = [names, ("---",) * len(names), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _counts(flows: FlowSet, rows: evaluate.Bools) -> str:
    return f"{int(rows.sum())} ({int((rows & flows.judged).sum())})"


def _rate(rate: Rate) -> str:
    return f"{rate.hits} of {rate.total}"


def _kinds(by_kind: Mapping[str, float]) -> str:
    return ", ".join(f"{kind} {recall:.2f}" for kind, recall in by_kind.items())
