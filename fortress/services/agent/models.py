# SPDX-License-Identifier: Apache-2.0
"""The models that an agent uses: opened warm, replaced between two batches, watched for drift.

A model that is refused is a notice, and the one before it stays. Nothing here has a thread: `look`
is called between two ticks and costs a stat a model when nothing has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fortress import metrics
from fortress.config import Settings
from fortress.errors import ConfigError, ModelError
from fortress.inference import FlowClassifier, ModelEntry, ModelRejected, Registry
from fortress.inference.configured import registry_of
from fortress.inference.drift import Drift, DriftMonitor
from fortress.inference.flow_classifier import Classification
from fortress.inference.opening import open_model
from fortress.inference.registry import SHIPPED
from fortress.inference.state import step_back, write_chosen
from fortress.services.agent.view import ModelRow, Outcome
from fortress.verdict import Notice

FLOW = "flow-classifier"
LOOK_NS = 60_000_000_000  # of capture time, between two looks at drift
_CALMER = 0.8  # of the threshold, below which drift is said to be over


class FlowModel:
    """The flow classifier in use; another one may take its place between two batches."""

    def __init__(self, entry: ModelEntry) -> None:
        """Open it. Raises ModelRejected."""
        self.entry = entry
        self.monitor = DriftMonitor(entry.recipe)
        self._model = self._opened(entry)

    @property
    def columns(self) -> tuple[str, ...]:
        """The flow columns it reads: the same for every version that fits this program."""
        return self._model.columns

    def classify(self, flows: Mapping[str, Any]) -> Classification:
        """The opinion of the model in use."""
        return self._model.classify(flows)

    def replace(self, entry: ModelEntry) -> None:
        """Go on with another version, once it is open and warm. Raises ModelRejected; nothing has
        changed then.
        """
        before, self.monitor = self.monitor, DriftMonitor(entry.recipe)
        try:
            self._model = self._opened(entry)
        except ModelRejected:
            self.monitor = before
            raise
        self.entry = entry

    def _opened(self, entry: ModelEntry) -> FlowClassifier:
        return FlowClassifier(entry, observer=self.monitor.observe)


@dataclass(slots=True)
class _Seen:
    """What was said of a model's drift last."""

    drift: Drift | None = None
    is_told: bool = False
    next_ns: int = 0


class Models:
    """The models of one agent, by the configuration."""

    def __init__(self, settings: Settings) -> None:
        """Open what is in use, else what was before it, else what ships.

        Raises ModelRejected when none of them can be used, ConfigError about a key.
        """
        self._registry: Registry = registry_of(settings)
        self._threshold = settings.models.drift
        self._modes = {FLOW: settings.models.mode(FLOW)}
        self._begun: list[ModelRejected] = []
        self._watch = self._registry.watch(FLOW)  # first of all, so that no change is missed
        self.flow = self._open(FLOW)
        self._watch.keep(self.flow.entry if self.flow else None)
        self._seen = _Seen()

    @property
    def is_shadowed(self) -> bool:
        """Whether what the flow classifier finds is recorded only."""
        return self._modes[FLOW] == "shadow"

    def retune(self, settings: Settings) -> None:
        """Go on with other modes; a model that was off at the start stays off until the next one.

        Raises ConfigError about a key; nothing has changed then.
        """
        mode = settings.models.mode(FLOW)
        if (mode == "off") != (self.flow is None):
            raise ConfigError(f"models.flow_classifier.mode: {mode} takes effect at the next start")
        self._modes[FLOW] = mode
        self._threshold = settings.models.drift

    def look(self, ns: int) -> list[Notice]:
        """What has changed since the last look, at the tick `ns`; between two ticks."""
        notices = [_refused(ns, FLOW, one) for one in self._begun]
        self._begun.clear()
        if self.flow is None:
            return notices
        found = self._watch.poll()
        if isinstance(found, ModelRejected):
            notices.append(_refused(ns, FLOW, found))
        elif found is not None:
            notices.append(self._replace(ns, self.flow, found))
        if ns >= self._seen.next_ns or ns < self._seen.next_ns - LOOK_NS:
            notices += self._look_at_drift(ns, self.flow)
        return notices

    def rows(self) -> tuple[ModelRow, ...]:
        """Each model as the surface tells it."""
        rows = []
        for name, mode in self._modes.items():
            flow, drift = self.flow, self._seen.drift
            rows.append(
                ModelRow(
                    name=name,
                    mode=mode,
                    version=flow.entry.recipe.version if flow else "",
                    publisher=flow.entry.publisher if flow else "",
                    drift_inputs=drift.inputs if drift else None,
                    drift_scores=drift.scores if drift else None,
                )
            )
        return tuple(rows)

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

    def _open(self, name: str) -> FlowModel | None:
        if self._modes[name] == "off":
            return None
        _, model, refused = self._registry.load_usable(name, FlowModel)
        self._begun += refused
        return model

    def _replace(self, ns: int, model: FlowModel, entry: ModelEntry) -> Notice:
        before = model.entry
        try:
            model.replace(entry)
        except ModelRejected as rejected:
            self._watch.keep(before)
            return _refused(ns, entry.recipe.name, rejected)
        self._seen = _Seen(next_ns=ns + LOOK_NS)
        name, version = entry.recipe.name, entry.recipe.version
        metrics.MODEL_RELOADS.labels(name).inc()
        facts = {"model": name, "version": version, "before": before.recipe.version}
        message = f"{name} {version} is in use now, {before.recipe.version} was before"
        return Notice(ns, "model", message, facts)

    def _look_at_drift(self, ns: int, model: FlowModel) -> list[Notice]:
        seen, name = self._seen, model.entry.recipe.name
        seen.next_ns = ns + LOOK_NS
        drift = seen.drift = model.monitor.look()
        if drift is None:
            return []
        for what, value in (("inputs", drift.inputs), ("scores", drift.scores)):
            metrics.MODEL_DRIFT.labels(name, what).set(value)
        worst = max(drift.inputs, drift.scores)
        if not seen.is_told and worst >= self._threshold:
            seen.is_told = True
            told = ", ".join(f"{feature} {value:.2f}" for feature, value in drift.largest)
            message = (
                f"what {name} sees is not what it was made for: stability index {worst:.2f} over"
                f" {drift.rows} rows (scores {drift.scores:.2f}, inputs: {told})"
            )
            return [Notice(ns, "drift", message, {"model": name, "index": round(worst, 4)})]
        if seen.is_told and worst < _CALMER * self._threshold:
            seen.is_told = False
            message = f"what {name} sees is again what it was made for: index {worst:.2f}"
            return [Notice(ns, "drift", message, {"model": name, "index": round(worst, 4)})]
        return []


def _refused(ns: int, name: str, rejected: ModelRejected) -> Notice:
    metrics.MODEL_REFUSALS.labels(name).inc()
    message = f"{name}: a model is refused, the one before it stays: {rejected}"
    return Notice(ns, "model", message, {"model": name, "reason": rejected.reason})
