# SPDX-License-Identifier: Apache-2.0
"""One run of the trainer: import what ships, read the archive, make a model, judge it, publish it.

It publishes and never promotes: which version is in use is the agent's to write, on request.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fortress
from fortress.archive.reader import Scanned, scan
from fortress.config import Settings
from fortress.errors import InputError, OutputError
from fortress.inference.entry import SHIPPED, ModelEntry
from fortress.inference.files import only_writer
from fortress.inference.flow_classifier import FlowClassifier
from fortress.inference.registry import Registry
from fortress.inference.rejection import ModelRejected
from fortress.inference.shelf import Publication, import_shipped, publish_folder
from fortress.inference.signing import PrivateKey, read_private, read_trusted
from fortress.services.trainer import house as made
from fortress.services.trainer.card import write_card
from fortress.services.trainer.house import NAME, Gate, Judged
from fortress.services.trainer.labels import Labeller
from fortress.services.trainer.sample import COLUMNS, DAY_NS, MOST_DAYS, House, sample
from fortress.store.opinions import read_findings
from fortress.training.dataset import FlowSet, load_flows

Progress = Callable[[str, float], None]
LOCK = ".trainer.lock"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did. `outcome` is a word: "published", "unchanged" (the version in use would be
    made again), "worse" (it was made and is not published), "few_days" or "empty"; `told` the
    sentence. `days` counts those with flows to judge.
    """

    outcome: str
    told: str
    version: str = ""
    days: int = 0
    files: int = 0
    flows: int = 0
    sampled: int = 0
    left_out: int = 0
    confirmed: int = 0
    public: str = ""
    threshold: float = 0.0
    threshold_in_use: float = 0.0
    imported: tuple[str, ...] = ()
    damages: tuple[str, ...] = ()


def run(
    settings: Settings,
    progress: Progress = lambda _step, _share: None,
    clock_s: Callable[[], float] = time.time,
) -> Summary:
    """One run with these settings.

    Raises BusyError while another run has the registry, ConfigError without a key, OutputError when
    the registry or the folder for drafts cannot be written; nothing was published then.
    """
    key = read_private(settings.model_key_path())
    trusted = (*read_trusted(settings.trusted_paths()), key.public)
    registry = Registry(settings.registry_path(), settings.model_state_path(), trusted)
    try:
        registry.root.mkdir(parents=True, exist_ok=True)
        with (
            only_writer(registry.root, 0.0, LOCK, "trainer"),
            tempfile.TemporaryDirectory(prefix="fortress-trainer.") as room,
        ):
            return _run(settings, registry, key, Path(room), progress, clock_s)
    except OSError as error:
        where = error.filename or registry.root
        why = f"cannot be written: {error.strerror}; nothing was published"
        raise OutputError(f"{where}: {why}") from None


def _run(
    settings: Settings,
    registry: Registry,
    key: PrivateKey,
    room: Path,
    progress: Progress,
    clock_s: Callable[[], float],
) -> Summary:
    how = Publication(keep=settings.models.keep, clock_s=clock_s)
    progress("import the models that ship", 0.0)
    new = import_shipped(registry, key, how)
    imported = tuple(f"{name} {version}" for name, version, is_new in new if is_new)
    progress("read the archive", 0.02)
    house, scanned = read_house(settings, clock_s)
    base, public = _public(settings, progress)
    shared: dict[str, Any] = {
        "days": len(house.days),
        "files": scanned.files,
        "flows": scanned.rows,
        "sampled": len(house.day),
        "left_out": house.left_out,
        "confirmed": house.confirmed,
        "public": public,
        "imported": imported,
        "damages": tuple(scanned.damages),
    }
    if not scanned.rows:
        told = f"{settings.archive_path()}: no flows in the archive yet; nothing to learn from"
        return Summary("empty", told, **shared)
    if not made.learn_days(house):
        wanted = made.LEARN_DAYS + made.HELD_OUT_DAYS
        told = f"{len(house.days)} days with conversations in the archive, {wanted} are needed"
        return Summary("few_days", told, **shared)
    shipped = registry.load(NAME, SHIPPED)
    using = registry.load_usable(NAME, FlowClassifier)[0]
    progress("train" if base else "fit the threshold", 0.3)
    gate = made.train(shipped, house, base) if base else made.refit(shipped, house)
    shared |= {"threshold": gate.threshold, "threshold_in_use": using.threshold()}
    if gate.onnx == using.onnx and gate.threshold == using.threshold():
        told = f"{using.recipe.version}, which is in use, fits this network: nothing to publish"
        return Summary("unchanged", told, **shared)
    progress("judge and publish", 0.9)
    moment = datetime.fromtimestamp(clock_s(), UTC)
    version = f"{shipped.recipe.version}+own.{moment:%Y%m%dT%H%M%S}"
    entry = made.as_entry(shipped, gate)
    ours, theirs = made.judge(entry, house), made.judge(using, house)
    table = {
        "version": version,
        "training": _training(house, scanned, base, shipped),
        "metrics": _metrics(house, base, gate, (ours, theirs), using),
        "reference": made.reference(entry, house),
    }
    card = write_card(version, shipped, using, gate, (ours, theirs), shared | {"house": house})
    made.draft(room, shipped, gate, table, card)
    try:
        publish_folder(registry, room / NAME, key, "", how)
    except ModelRejected as rejected:
        if rejected.reason != "worse":
            raise
        told = str(rejected).partition(": ")[2].partition(". --force")[0]
        return Summary("worse", f"not published: {told}", version, **shared)
    told = f"{NAME} {version} is published, not in use yet: fortress model promote {NAME} {version}"
    return Summary("published", told, version, **shared)


def read_house(
    settings: Settings, clock_s: Callable[[], float] = time.time
) -> tuple[House, Scanned]:
    """The sample of the configured archive, labelled by the configured store, and what was read."""
    since_ns = round(clock_s() * 1e9) - MOST_DAYS * DAY_NS
    findings = (
        read_findings(settings.store_url(), since_ns, 1 << 62) if settings.store.enabled else []
    )
    scanned = Scanned()
    batches = scan(settings.archive_path(), COLUMNS, scanned, since_ns)
    return sample(batches, Labeller(findings)), scanned


def _public(settings: Settings, progress: Progress) -> tuple[FlowSet | None, str]:
    """The flows of the public captures, and a sentence; None where there are none."""
    folder = settings.trainer.captures
    if folder is None:
        return None, "trainer.captures names no public captures: only the threshold is fitted"
    samples = Path(fortress.__file__).resolve().parents[1] / "samples"
    try:
        flows = load_flows(
            folder,
            samples if samples.is_dir() else None,
            lambda step, share: progress(step, 0.1 + 0.2 * share),
        )
    except InputError as error:
        return None, f"no public captures, only the threshold is fitted: {error}"
    return flows, f"{len(flows)} flows of public captures in {folder}"


def _training(
    house: House, scanned: Scanned, base: FlowSet | None, shipped: ModelEntry
) -> dict[str, Any]:
    return {
        "model": "gate trained on public captures and this network" if base else "threshold fitted",
        "shipped": shipped.recipe.version,
        "shipped_sha256": shipped.recipe.sha256,
        "house_sha256": house.digest,
        "public_sha256": base.digest if base else "",
        "days_learnt": list(made.learn_days(house)),
        "days_held_out": list(house.days[-made.HELD_OUT_DAYS :]),
        "archived_flows": scanned.rows,
        "confirmed_flows": house.confirmed,
        "left_out_flows": house.left_out,
        "damages": list(scanned.damages),
    }


def _metrics(
    house: House,
    base: FlowSet | None,
    gate: Gate,
    judged: tuple[Judged, Judged],
    using: ModelEntry,
) -> dict[str, Any]:
    """The figures of both models; the rule of publication reads them."""
    digest = house.digest + (base.digest if base else "")
    tables = []
    for one, attacks in zip(judged, (gate.attacks, gate.attacks_without), strict=True):
        higher: dict[str, list[float]] = {
            name: [round(value, 6) for value in three] for name, three in (attacks or {}).items()
        }
        if one.found.total:
            higher["recall_confirmed"] = [one.found.value, *one.found.interval]
        tables.append(
            {
                "data_sha256": digest,
                "main": "false_positive_rate",
                "higher": higher,
                "lower": {"false_positive_rate": [one.false.value, *one.false.interval]},
            }
        )
    held_out, in_use = tables
    told: Mapping[str, Any] = in_use | {"sha256": using.recipe.sha256}
    return {
        "held_out": held_out,
        "in_use": dict(told),
        "parity_max_difference": gate.difference,
    }
