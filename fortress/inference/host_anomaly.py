# SPDX-License-Identifier: Apache-2.0
"""How unusual a minute of a device is, by what that device did in its last days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fortress.features import host
from fortress.inference.entry import ModelEntry
from fortress.inference.host_baseline import DAY_NS, Baseline, Typical
from fortress.inference.rejection import ModelRejected
from fortress.inference.session import Session

NEAREST = 3


@dataclass(frozen=True, slots=True)
class Anomalies:
    """The opinion on each of n minutes.

    `surprise`: root mean square of the whitened distances from the device's centre, float32 (n,);
    `risk`: calibrated probability of attack, float32 (n,); `ready`: whether the device has a
    baseline, bool (n,): without one, surprise and risk are 0; `nearest`: the features that speak
    loudest first, str (n, NEAREST); `moved`: whether it is not the minute but the whole last day
    that is far above the device's first days, bool (n,): then the risk is the threshold at least.
    """

    surprise: npt.NDArray[np.float32]
    risk: npt.NDArray[np.float32]
    ready: npt.NDArray[np.bool_]
    nearest: npt.NDArray[np.str_]
    moved: npt.NDArray[np.bool_]


class HostAnomaly:
    """The model `host-anomaly` at work on the windows of `features.host`, with the baseline of the
    network that it watches.
    """

    def __init__(
        self, entry: ModelEntry, baseline: Baseline | None = None, late: bool = False
    ) -> None:
        """Open the model; `late`: its session when the first device is known, in a week or never.

        Raises ModelRejected when its recipe lacks what this class reads.
        """
        self.name = entry.recipe.name
        self.version = entry.recipe.version
        self.columns = host.INTERVAL_COLUMNS
        self.threshold = entry.threshold()
        self.most_shift = entry.threshold("shift")
        self.identity = {
            "model": entry.recipe.name,
            "sha256": entry.recipe.sha256,
            "fingerprint": entry.recipe.fingerprint,
        }
        self.baseline = baseline or new_baseline(entry)
        self._calibration = entry.calibration()
        self._names = np.array(entry.recipe.features)
        self._entry = entry
        self._session: Session | None = None if late else self._opened()

    @classmethod
    def from_entry(cls, entry: ModelEntry, baseline: Baseline | None = None) -> HostAnomaly:
        """The same as the constructor."""
        return cls(entry, baseline)

    def score(self, windows: host.Windows) -> Anomalies:
        """The opinion on each window; nothing is learnt."""
        rows, ready = self.baseline.standardised(windows.keys, windows.matrix)
        told = np.zeros((len(rows), 1 + len(self._names)), np.float32)
        if ready.any():  # a week goes by before the first is
            told[ready] = self._run(rows[ready])
        surprise = told[:, 0]
        risk = np.zeros(len(surprise), np.float32)
        share = self.baseline.rarity(windows.keys[ready], surprise[ready])
        risk[ready] = self._calibration.apply(-np.log10(share).astype(np.float32))
        shift = self.baseline.shifts(windows.keys) * np.array(host.VOLUMES)
        moved = (shift.max(axis=1, initial=0) >= self.most_shift) & (risk < self.threshold)
        speaking = np.where(moved[:, None], shift, told[:, 1:])
        loudest = np.argsort(-speaking, axis=1, kind="stable")[:, :NEAREST]
        risk[moved] = self.threshold
        return Anomalies(surprise, risk, ready, self._names[loudest], moved)

    def observe(self, windows: host.Windows) -> Anomalies:
        """The opinion on each window, which is then learnt unless it was judged an attack."""
        said = self.score(windows)
        self.baseline.learn(
            windows.start_ns,
            windows.keys,
            _finite(windows.matrix),
            said.surprise,
            (said.risk < self.threshold) | said.moved,
            self.measure,
        )
        return said

    def measure(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The surprise of standardised rows."""
        return self._run(rows.astype(np.float32))[:, 0]

    def _run(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self._session = self._session or self._opened()
        return self._session.run(_finite(rows))

    def _opened(self) -> Session:
        """The session, warm."""
        session = Session(self._entry)
        session.run(np.zeros((1, len(self._names)), np.float32))
        return session


def new_baseline(entry: ModelEntry, day_ns: int = DAY_NS) -> Baseline:
    """An empty baseline as the recipe's table `own` wants it. Raises ModelRejected ("recipe")."""
    own, width = entry.recipe.own, len(entry.recipe.features)
    return Baseline(width, typical_device(own, width, entry), day_ns)


def typical_device(own: Mapping[str, object], width: int, entry: ModelEntry) -> Typical:
    """The typical device of a recipe's table `own`. Raises ModelRejected ("recipe")."""
    parts = []
    for name in ("spread", "surprise", "log10_share"):
        try:
            part = np.asarray(own[name], np.float64)
        except (KeyError, TypeError, ValueError):
            part = np.empty(0)
        if part.ndim != 1 or len(part) < 2 or not np.isfinite(part).all():
            raise ModelRejected("recipe", entry.folder / "model.toml", f"own.{name} is no numbers")
        parts.append(part)
    spread, surprise, share = parts
    rises = (np.diff(surprise) > 0).all() and (np.diff(share) < 0).all() and share.max() <= 0
    if len(spread) != width or spread.min() <= 0 or len(share) != len(surprise) or not rises:
        raise ModelRejected("recipe", entry.folder / "model.toml", "own is no typical device")
    return Typical(spread.astype(np.float32), surprise, share)


def _finite(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.nan_to_num(rows, nan=0.0, posinf=1e4, neginf=-1e4).clip(-1e4, 1e4)
