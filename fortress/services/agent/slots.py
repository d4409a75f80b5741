# SPDX-License-Identifier: Apache-2.0
"""Places for models: what the pipeline holds on to while one version takes another's place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any, Protocol

from fortress.features.host import Windows
from fortress.features.inside import Inside
from fortress.features.keys import KeyTable
from fortress.features.windows import REPLAY_SECRET
from fortress.inference import FlowClassifier, ModelEntry
from fortress.inference.drift import DriftMonitor
from fortress.inference.entry import SHIPPED
from fortress.inference.flow_classifier import Classification
from fortress.inference.host_anomaly import Anomalies, HostAnomaly
from fortress.inference.host_baseline import BaselineRefused, Kept
from fortress.inference.threat_sequence import Stages, ThreatSequence


class Slot(Protocol):
    """A place for the versions of one model."""

    entry: ModelEntry
    monitor: DriftMonitor

    def replace(self, entry: ModelEntry) -> None:
        """Go on with another version, once it is open and warm. Raises ModelRejected; nothing has
        changed then.
        """


class FlowSlot:
    """The flow classifier in use."""

    def __init__(self, entry: ModelEntry) -> None:
        """Open it. Raises ModelRejected."""
        self.replace(entry)

    def replace(self, entry: ModelEntry) -> None:
        """Go on with another version."""
        monitor = DriftMonitor(entry.recipe)
        self._model = FlowClassifier(entry, monitor.observe)
        self.entry, self.monitor = entry, monitor

    @property
    def columns(self) -> tuple[str, ...]:
        """The flow columns it reads: the same for every version that fits this program."""
        return self._model.columns

    def classify(self, flows: Mapping[str, Any]) -> Classification:
        """The opinion of the version in use."""
        return self._model.classify(flows)


class StageSlot:
    """The sequence model in use; another version begins without a memory of originators, for the
    state of one network means nothing to another one.
    """

    def __init__(self, entry: ModelEntry) -> None:
        """Open it. Raises ModelRejected."""
        self._secret, self._inside = REPLAY_SECRET, None
        self.replace(entry)

    _inside: Inside | None

    def replace(self, entry: ModelEntry) -> None:
        """Go on with another version."""
        monitor = DriftMonitor(entry.recipe)
        model = ThreatSequence(entry, monitor.observe)
        model.begin(self._secret)
        model.take_side(self._inside)
        self._model, self.entry, self.monitor = model, entry, monitor

    @property
    def columns(self) -> tuple[str, ...]:
        """The flow columns it reads."""
        return self._model.columns

    @property
    def table(self) -> KeyTable:
        """Who is remembered."""
        return self._model.table

    def observe(self, tick_ns: int, flows: Mapping[str, Any]) -> Stages:
        """What the flows that ended say of their originators."""
        return self._model.observe(tick_ns, flows)

    def begin(self, secret: int) -> None:
        """Forgets every originator; keys are made with this secret from now on."""
        self._secret = secret
        self._model.begin(secret)

    def take_side(self, inside: Inside | None) -> None:
        """Says which addresses are on our side."""
        self._inside = inside
        self._model.take_side(inside)

    def clear(self) -> None:
        """Forgets every originator."""
        self._model.clear()


class DeviceSlot:
    """The model of devices in use; another version learns the network anew, for what is rare is
    measured by the version that learnt it.

    What was learnt is kept in the file at `path` (None: nowhere); `complaint` says why it could not
    be read or written last, "" else. Where nothing was learnt before, a model that ships waits to
    be opened until a device is known: its bytes are pinned, and nothing stands behind it.
    """

    def __init__(self, entry: ModelEntry, path: Path | None = None) -> None:
        """Open it, with what it learnt before. Raises ModelRejected."""
        self._path, self.complaint = path, ""
        self._keeper: Thread | None = None
        self.replace(entry)

    def replace(self, entry: ModelEntry) -> None:
        """Go on with another version."""
        model = HostAnomaly(entry, late=self._path is None and entry.publisher == SHIPPED)
        if self._path is not None and self._path.exists():
            try:
                model.baseline.load(self._path, model.identity)
            except BaselineRefused as refused:
                self.complaint = f"{refused}; devices are learnt anew"
        self._model, self.entry, self.monitor = model, entry, DriftMonitor(entry.recipe)
        self.threshold = model.threshold

    def save(self) -> None:
        """Keep what was learnt, by a thread: packing it takes longer than a tick has."""
        if self._path is None or (self._keeper and self._keeper.is_alive()):
            return
        kept = self._model.baseline.copy(self._model.identity)
        self._keeper = Thread(target=self._write, args=(kept, self._path), name="learnt")
        self._keeper.start()

    def close(self) -> None:
        """Keep what was learnt, and wait until it is."""
        if self._keeper:
            self._keeper.join()
        self.save()
        if self._keeper:
            self._keeper.join()

    def _write(self, kept: Kept, path: Path) -> None:
        try:
            kept.write(path)
        except OSError as error:
            self.complaint = f"{path}: what was learnt is not kept: {error.strerror}"

    def observe(self, windows: Windows) -> Anomalies:
        """What it says of a minute of devices, which it then learns."""
        said = self._model.observe(windows)
        self.monitor.observe(windows.matrix[said.ready], said.risk[said.ready])
        return said
