"""Archives of a small network: the flows of the sample captures, day after day, and who signs."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from fortress.archive.writer import Archive
from fortress.config import Settings
from fortress.config.settings import Archive as ArchiveSettings
from fortress.config.settings import Store as StoreSettings
from fortress.features import flow
from fortress.features.collect import collect_flows
from fortress.inference import FlowClassifier, Registry
from fortress.inference.signing import make_keys
from fortress.services.trainer.sample import DAY_NS
from tests.archive.world import COLUMNS, NOON_NS, Flows
from tests.need import ROOT

NAME = "flow-classifier"
TODAY = NOON_NS // DAY_NS


@functools.cache
def sample_flows() -> dict[str, np.ndarray[Any, Any]]:
    """Every flow of the capture that ships, all columns."""
    names = [column.name for column in COLUMNS]
    return collect_flows([ROOT / "samples" / "attack_day.pcap.zst"], names).columns


def on_day(day: int, rows: np.ndarray[Any, Any] | slice = slice(None)) -> Flows:
    """Some flows of the sample as if they had ended around noon of a day (since 1970)."""
    columns = {name: values[rows].copy() for name, values in sample_flows().items()}
    ends = columns["last_ns"]
    spread = np.linspace(0, 3_500_000_000_000, len(ends)).astype(np.int64)
    shift = day * DAY_NS + DAY_NS // 2 + spread - ends
    columns["first_ns"] += shift
    columns["last_ns"] += shift
    return Flows(columns, len(ends))


@functools.cache
def found() -> np.ndarray[Any, Any]:
    """Which flows of the sample the model that ships calls attacks: it is attacked, after all."""
    model = FlowClassifier(Registry().load(NAME))
    return model.classify(sample_flows()).risk >= model.threshold


def calm(day: int) -> Flows:
    """A day on which nothing looks like an attack to the model that ships."""
    return on_day(day, np.flatnonzero(~found()))


def loud(day: int) -> Flows:
    """A day with more conversations that look like attacks than the model promises."""
    few = np.flatnonzero(flow.judgeable(sample_flows()) & ~found())
    return on_day(day, np.concatenate([few, np.flatnonzero(found())]))


def settings_at(folder: Path) -> Settings:
    """Settings with their state in a folder that has a key."""
    make_keys(folder / "model.key")
    return dataclasses.replace(Settings(state_dir=folder), store=StoreSettings(enabled=False))


def archived(settings: Settings, *days: Flows) -> None:
    """Write flows into the archive, a file each (one an hour)."""
    how = ArchiveSettings(rows_per_file=20_000, keep_days=36_500)
    for flows in days:
        with Archive(settings.archive_path(), how) as archive:
            archive.add(flows)


def clock() -> float:
    """Noon of TODAY."""
    return TODAY * 86_400 + 43_200.0
