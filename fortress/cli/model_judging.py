# SPDX-License-Identifier: Apache-2.0
"""`fortress model evaluate|export`: what a model adds to the rules; a training as ONNX again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fortress.cli.options import Commands, add_command, add_config, add_json, load_config
from fortress.errors import UsageError

if TYPE_CHECKING:
    from fortress.config import Settings
    from fortress.services.agent.report import Report

EVALUATE = """\
Replay captures twice, with the model off and with the model on, all else as
configured, and tell what differs: findings, alerts, and the highest score. What the
model is worth on captures that it has not seen is in its card."""
EXPORT = """\
Write a model that was trained before as ONNX once more, compare it with what was
trained, and check it as the registry does. CHECKPOINT is the file that `model train`
leaves below .cache, of plain numbers and text; nothing in it is run."""
EXPORTABLE = ("threat-lstm",)


@dataclass(frozen=True, slots=True)
class Added:
    """What a capture gives without the model and with it; `found` are the model's own findings."""

    capture: str
    alerts: int
    alerts_with: int
    notices: int
    notices_with: int
    peak: float
    peak_with: float
    found: tuple[str, ...]


def add(verbs: Commands) -> None:
    """Add the verbs."""
    verb = add_command(verbs, "evaluate", "tell what a model adds to the rules", evaluate, EVALUATE)
    verb.add_argument("name", metavar="NAME", help="the model")
    verb.add_argument("captures", nargs="+", metavar="FILE", help="captures, best with an attack")
    add_json(verb, "print one JSON object for each capture")
    add_config(verb)
    verb = add_command(verbs, "export", "write a trained model as ONNX once more", export, EXPORT)
    verb.add_argument("name", choices=EXPORTABLE, metavar="NAME", help=", ".join(EXPORTABLE))
    verb.add_argument(
        "--checkpoint", metavar="FILE", type=Path, help="default: the last training's"
    )
    verb.add_argument("--out", metavar="DIR", type=Path, help="default: the checkout's models")
    add_json(verb, "print name, version and folder as one JSON object")
    add_config(verb)


def evaluate(arguments: argparse.Namespace) -> int:
    """Run `model evaluate`."""
    settings = load_config(arguments).settings
    for capture in arguments.captures:
        one = added(arguments.name, capture, settings)
        if arguments.json:
            print(json.dumps(asdict(one), ensure_ascii=False), flush=True)
        else:
            print("\n".join(_lines(arguments.name, one)), flush=True)
    return 0


def added(name: str, capture: str, settings: Settings) -> Added:
    """What the model of that name adds to everything else on a capture. Raises UsageError for an
    unknown model, InputError for a capture that cannot be read.
    """
    before, after = (_replayed(name, mode, capture, settings) for mode in ("off", "on"))
    return Added(
        capture,
        before.alerts,
        after.alerts,
        before.notices,
        after.notices,
        _peak(before),
        _peak(after),
        tuple(sorted({*_found(after)} - {*_found(before)})),
    )


def export(arguments: argparse.Namespace) -> int:
    """Run `model export`."""
    from fortress.inference.registry import shipped_models
    from fortress.training.threat_lstm import FINISHED, export_threat_lstm

    entry = export_threat_lstm(arguments.checkpoint or FINISHED, arguments.out or shipped_models())
    told = {"name": entry.recipe.name, "version": entry.recipe.version}
    if arguments.json:
        print(json.dumps(told | {"folder": str(entry.folder)}, ensure_ascii=False))
    else:
        print(f"{told['name']} {told['version']} → {entry.folder}")
    return 0


def _replayed(name: str, mode: str, capture: str, settings: Settings) -> Report:
    from threading import Event

    from fortress.cli.running import complain
    from fortress.services import agent
    from fortress.sinks import Outputs

    key = name.replace("-", "_")
    use = getattr(settings.models, key, None)
    if use is None or not hasattr(use, "mode"):
        raise UsageError(f"no model {name!r} takes part in the score")
    models = replace(settings.models, **{key: replace(use, mode=mode)})
    outputs = Outputs([], "monitor", complain)
    try:
        changed = replace(settings, models=models)
        return agent.run(agent.Replay((capture,)), changed, outputs, Event())
    finally:
        outputs.close()


def _found(report: Report) -> Iterator[str]:
    """The findings of models, in words."""
    for seen in report.findings.values():
        if seen.finding.source == "model":
            yield f"{seen.finding.host}: {seen.finding.signature}, risk {seen.finding.risk:.2f}"


def _peak(report: Report) -> float:
    return round(report.worst.value, 4) if report.worst else 0.0


def _lines(name: str, one: Added) -> Iterator[str]:
    yield one.capture
    rows: tuple[tuple[str, Any, Any], ...] = (
        ("alerts", one.alerts, one.alerts_with),
        ("notices", one.notices, one.notices_with),
        ("highest score", f"{one.peak:.3f}", f"{one.peak_with:.3f}"),
    )
    for what, before, after in rows:
        yield f"  {what}: {before} without {name}, {after} with it"
    for found in one.found:
        yield f"  {found}"
