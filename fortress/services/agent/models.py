# SPDX-License-Identifier: Apache-2.0
"""The models that an agent uses: opened warm, replaced between two batches, watched for drift.

A model that is refused is a notice, and the one before it stays. Nothing here has a thread: `look`
is called between two ticks and costs a stat a model when nothing has changed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fortress.config import Settings
from fortress.errors import ConfigError, ModelError
from fortress.inference import ModelEntry, ModelRejected, Registry
from fortress.inference.configured import registry_of
from fortress.inference.drift import Drift
from fortress.inference.opening import open_model
from fortress.inference.registry import SHIPPED
from fortress.inference.state import step_back, write_chosen
from fortress.inference.watch import Watch
from fortress.qsecbit import Pipeline, PipelineSettings
from fortress.services.agent.slots import DeviceSlot, FlowSlot, Slot, StageSlot
from fortress.services.agent.view import ModelRow, Outcome
from fortress.verdict import Notice

FLOW, STAGES, DEVICES = "flow-classifier", "threat-lstm", "host-anomaly"
OPENS: dict[str, Callable[[ModelEntry], Slot]] = {
    FLOW: FlowSlot,
    STAGES: StageSlot,
    DEVICES: DeviceSlot,
}
LOOK_NS = 60_000_000_000  # of capture time, between two looks at drift
POLL_S = 0.1  # of real time, between two looks at which version is in use
SAVE_NS = 3_600_000_000_000  # of capture time, after which what was learnt is kept
LEARNT = "devices-learnt.npz"  # in state_dir
_CALMER = 0.8  # of the threshold, below which drift is said to be over


@dataclass(slots=True)
class _Model:
    """One model: its place (None: it is off, or there is none), and what was said of it last."""

    name: str
    mode: str
    watch: Watch
    slot: Slot | None = None
    drift: Drift | None = None
    is_told: bool = False
    next_ns: int = 0


class Models:
    """The models of one agent, by the configuration."""

    def __init__(self, settings: Settings, learns: bool = False) -> None:
        """Open what is in use, else what was before it, else what ships; `learns`: what is learnt
        of this network is kept in a file, and known again at the next start.

        Raises ModelRejected when there is a model of which no version can be used, ConfigError
        about a key.
        """
        self._registry: Registry = registry_of(settings)
        self._threshold = settings.models.drift
        self._begun: list[Notice] = []
        self._learns = learns
        path = settings.state_dir / LEARNT if learns else None
        self._opens = OPENS | {DEVICES: partial(DeviceSlot, path=path)}
        self._save_ns = 0
        self._poll_s = 0.0
        self._models = {name: self._begin(name, settings.models.mode(name)) for name in OPENS}

    def pipeline(self, settings: PipelineSettings) -> Pipeline:
        """A pipeline that uses the models."""
        flow, stages = self._models[FLOW].slot, self._models[STAGES].slot
        assert flow is None or isinstance(flow, FlowSlot)
        assert stages is None or isinstance(stages, StageSlot)
        devices = self._models[DEVICES].slot
        assert devices is None or isinstance(devices, DeviceSlot)
        if not self._learns and self._models[DEVICES].mode == "shadow":
            devices = None  # it says nothing before a week of capture, and then without effect
        made = Pipeline(settings, flow, stages, devices)
        self.tell_modes(made)
        return made

    def tell_modes(self, pipeline: Pipeline) -> None:
        """Say which models are shadowed."""
        pipeline.shadow(self._models[FLOW].mode == "shadow")
        pipeline.shadow_stages(self._models[STAGES].mode == "shadow")
        pipeline.shadow_devices(self._models[DEVICES].mode == "shadow")

    def look(self, ns: int) -> list[Notice]:
        """What has changed since the last look, at the tick `ns`; between two ticks."""
        notices = [Notice(ns, one.kind, one.message, one.facts) for one in self._begun]
        self._begun.clear()
        now_s = time.monotonic()
        polls = now_s >= self._poll_s  # a replay has a thousand ticks a second
        if polls:
            self._poll_s = now_s + POLL_S
        for model in self._models.values():
            if model.slot is None:
                continue
            found = model.watch.poll() if polls else None
            if isinstance(found, ModelRejected):
                notices.append(_refused(ns, model.name, found))
            elif found is not None:
                notices.append(_replace(ns, model, model.slot, found))
            if ns >= model.next_ns or ns < model.next_ns - LOOK_NS:  # the clock may go back
                model.next_ns = ns + LOOK_NS
                notices += _drift(ns, model, model.slot, self._threshold)
        if ns >= self._save_ns or ns < self._save_ns - SAVE_NS:
            for slot in self._learning() if self._save_ns else ():
                slot.save()
            self._save_ns = ns + SAVE_NS
        return notices + self._complaints(ns)

    def close(self, ns: int) -> list[Notice]:
        """Keep what was learnt; why it could not be, if so."""
        for slot in self._learning():
            slot.close()
        return self._complaints(ns)

    def rows(self) -> tuple[ModelRow, ...]:
        """Each model as the surface tells it."""
        return tuple(map(_row, self._models.values()))

    def promote(self, name: str, version: str) -> Outcome:
        """Put a version in use, once it has passed every check. Raises ModelError, OutputError."""
        entry = self._registry.load(name, version)
        open_model(entry)
        assert self._registry.state is not None
        write_chosen(self._registry.state, name, version)
        return Outcome(True, f"{name} {entry.recipe.version} is in use")

    def rollback(self, name: str) -> Outcome:
        """Put the version before back in use. Raises ModelError, OutputError."""
        if name not in self._registry.names():
            raise ModelError(f"no model {name!r}; there is: {', '.join(self._registry.names())}")
        assert self._registry.state is not None
        chosen = step_back(self._registry.state, name)
        told = "the model that ships" if chosen.version == SHIPPED else chosen.version
        return Outcome(True, f"{name}: {told} is in use")

    def check(self, settings: Settings) -> None:
        """Return when these settings can be taken now. Raises ConfigError."""
        for name, model in self._models.items():
            mode = settings.models.mode(name)
            if (mode == "off") != (model.mode == "off"):
                key = f"models.{name.replace('-', '_')}.mode"
                raise ConfigError(f"{key}: {mode} takes effect at the next start only")

    def retune(self, settings: Settings, pipeline: Pipeline) -> None:
        """Go on with other modes and another threshold, after `check`."""
        for name, model in self._models.items():
            model.mode = settings.models.mode(name)
        self._threshold = settings.models.drift
        self.tell_modes(pipeline)

    def _learning(self) -> list[DeviceSlot]:
        slot = self._models[DEVICES].slot
        return [slot] if isinstance(slot, DeviceSlot) else []

    def _complaints(self, ns: int) -> list[Notice]:
        """What went wrong with what is learnt, each told once."""
        notices = []
        for slot in self._learning():
            if slot.complaint:
                message = f"{DEVICES}: {slot.complaint}"
                notices.append(Notice(ns, "model", message, {"model": DEVICES}))
                slot.complaint = ""
        return notices

    def _begin(self, name: str, mode: str) -> _Model:
        watch = self._registry.watch(name)  # first of all, so that no change is missed
        model = _Model(name, mode, watch)
        if mode == "off" or name not in self._registry.names():
            return model
        entry, model.slot, refused = self._registry.load_usable(name, self._opens[name])
        watch.keep(entry)
        self._begun += [_refused(0, name, one) for one in refused]
        return model


def _replace(ns: int, model: _Model, slot: Slot, entry: ModelEntry) -> Notice:
    from fortress import metrics

    before = slot.entry
    try:
        slot.replace(entry)
    except ModelRejected as rejected:
        model.watch.keep(before)
        return _refused(ns, model.name, rejected)
    model.drift, model.is_told, model.next_ns = None, False, ns + LOOK_NS
    version = entry.recipe.version
    metrics.MODEL_RELOADS.labels(model.name).inc()
    facts = {"model": model.name, "version": version, "before": before.recipe.version}
    message = f"{model.name} {version} is in use now, {before.recipe.version} was before"
    return Notice(ns, "model", message, facts)


def _drift(ns: int, model: _Model, slot: Slot, threshold: float) -> list[Notice]:
    drift = model.drift = slot.monitor.look()
    if drift is None:
        return []
    if "fortress.metrics" in sys.modules:  # 30 ms to import: who serves them has done so
        from fortress import metrics

        for what, value in (("inputs", drift.inputs), ("scores", drift.scores)):
            metrics.MODEL_DRIFT.labels(model.name, what).set(value)
    worst = max(drift.inputs, drift.scores)
    facts: dict[str, float | int | str] = {"model": model.name, "index": round(worst, 4)}
    if not model.is_told and worst >= threshold:
        model.is_told = True
        told = ", ".join(f"{feature} {value:.2f}" for feature, value in drift.largest)
        message = (
            f"what {model.name} sees is not what it was made for: stability index {worst:.2f} over"
            f" {drift.rows} rows (risk {drift.scores:.2f}; features: {told})"
        )
        return [Notice(ns, "drift", message, facts)]
    if model.is_told and worst < _CALMER * threshold:
        model.is_told = False
        message = f"what {model.name} sees is again what it was made for: index {worst:.2f}"
        return [Notice(ns, "drift", message, facts)]
    return []


def _row(model: _Model) -> ModelRow:
    entry, drift = model.slot and model.slot.entry, model.drift
    return ModelRow(
        name=model.name,
        mode=model.mode,
        version=entry.recipe.version if entry else "",
        publisher=entry.publisher if entry else "",
        drift_inputs=drift.inputs if drift else None,
        drift_scores=drift.scores if drift else None,
    )


def _refused(ns: int, name: str, rejected: ModelRejected) -> Notice:
    from fortress import metrics

    metrics.MODEL_REFUSALS.labels(name).inc()
    message = f"{name}: a version is refused, the one before it stays: {rejected}"
    return Notice(ns, "model", message, {"model": name, "reason": rejected.reason})
