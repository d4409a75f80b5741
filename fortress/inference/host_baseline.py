# SPDX-License-Identifier: Apache-2.0
"""What is usual for each device, learnt on the user's own network in bounded memory.

Of each of the last seven days a device has a sample of at most SAMPLE of its minutes (reservoir
sampling: Vitter 1985), so a day counts for a seventh at most, however much happened in it. Centre
and spread are median and MAD of all samples, the spread drawn towards that of a typical device
while samples are few; once they are set, they follow the samples by no more than STEP spreads a
day. Minutes that were judged an attack teach nothing.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fortress.disk import replace_synced
from fortress.errors import ModelError
from fortress.features.keys import ABSENT, Groups, KeyTable, UInt64, mix

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Measure = Callable[[Floats], Floats]  # standardised rows → surprise

DAY_NS = 86_400_000_000_000
DAYS = 7  # that a baseline is made of
SAMPLE = 64  # minutes of a day that are kept
FEWEST = 24  # minutes that make a day count
STEP = 0.1  # spreads that the centre may move in a day
GROWTH = 1.1  # by which the spread may grow or shrink in a day
CAPACITY = 256
_DOUBT = 64.0  # samples that the spread of a typical device weighs as much as
_MAD = 1.4826  # a normal distribution's standard deviation by its MAD
_LEAST = 0.2  # spreads of a typical device that a spread never falls below
EDGES = np.concatenate(([0.0], 0.25 * 1.1 ** np.arange(63)))  # of the bins of surprise
_SLOTS = DAYS + 1  # and today
_FORMAT = 1
_MOST_BYTES = 256 << 20


class BaselineRefused(ModelError):
    """A stored baseline that cannot be used; the message says why. Learning begins anew."""


@dataclass(frozen=True, slots=True)
class Typical:
    """A typical device: spread of each feature, and how rare a surprise is (log10 of the share of
    minutes above it), at rising surprises; beyond the last it goes on as between the last two.
    """

    spread: Floats
    surprise: npt.NDArray[np.float64]
    log10_share: npt.NDArray[np.float64]

    def share_above(self, surprise: Floats) -> npt.NDArray[np.float64]:
        """The share of a typical device's minutes that surprise more."""
        told = np.interp(surprise, self.surprise, self.log10_share)
        run, fall = self.surprise[-1] - self.surprise[-2], self.log10_share[-1]
        beyond = np.maximum(surprise - self.surprise[-1], 0) / run
        told += beyond * (fall - self.log10_share[-2])
        return np.asarray(10.0**told, np.float64)


class Baseline:
    """The usual of at most `capacity` devices; those seen longest ago make room."""

    def __init__(
        self, width: int, typical: Typical, day_ns: int = DAY_NS, capacity: int = CAPACITY
    ) -> None:
        self.typical = typical
        self.day_ns = day_ns
        self.table = KeyTable(capacity)
        self._state: dict[str, npt.NDArray[Any]] = {
            "keys": np.zeros(capacity, np.uint64),
            "days": np.full((capacity, _SLOTS), -1, np.int64),
            "seen": np.zeros((capacity, _SLOTS), np.uint32),
            "sample": np.zeros((capacity, _SLOTS, SAMPLE, width), np.float16),
            "tail": np.zeros((capacity, _SLOTS, len(EDGES)), np.uint32),
            "centre": np.zeros((capacity, width), np.float32),
            "spread": np.ones((capacity, width), np.float32),
            "first": np.zeros((capacity, width), np.float32),
            "shift": np.zeros((capacity, width), np.float32),
            "ready": np.zeros(capacity, np.bool_),
        }

    @property
    def memory_bytes(self) -> int:
        """What the state holds, devices or not."""
        return sum(part.nbytes for part in self._state.values())

    def standardised(self, keys: UInt64, matrix: Floats) -> tuple[Floats, Bools]:
        """Each row as spreads from its device's centre, and whether that device is known enough."""
        slots = self.table.find(keys)
        ready = (slots != ABSENT) & self._state["ready"][slots]
        at = slots[ready]
        rows = np.zeros_like(matrix)
        rows[ready] = (matrix[ready] - self._state["centre"][at]) / self._state["spread"][at]
        return rows, ready

    def shifts(self, keys: UInt64) -> Floats:
        """How many spreads the median of each device's last day lies above where it once was, by
        feature; 0 for a device that is not known enough.
        """
        slots = self.table.find(keys)
        known = (slots != ABSENT) & self._state["ready"][slots]
        return np.where(known[:, None], self._state["shift"][slots], np.float32(0))

    def rarity(self, keys: UInt64, surprise: Floats) -> npt.NDArray[np.float64]:
        """The share of minutes that surprise at least so much: of the device's own last days, and
        of a typical device where those say nothing.
        """
        counts = self._state["tail"][self.table.find(keys)].sum(axis=1).astype(np.float64)
        at = np.searchsorted(EDGES, surprise, side="right") - 1
        total = counts.sum(axis=1)
        above = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1][np.arange(len(at)), at]
        share = self.typical.share_above(surprise)
        return np.asarray((above + _DOUBT * share) / (total + _DOUBT), np.float64)

    def learn(
        self, ns: int, keys: UInt64, matrix: Floats, surprise: Floats, good: Bools, measure: Measure
    ) -> None:
        """Remembers the minute at `ns` of devices that were not judged attackers (`good`)."""
        day = ns // self.day_ns
        order = np.argsort(keys)
        slots, fresh = self.table.admit(Groups(keys[order], order, order), day)
        placed = np.empty(len(keys), np.intp)
        placed[order] = slots
        state = self._state
        state["days"][fresh], state["ready"][fresh], state["seen"][fresh] = -1, False, 0
        rows = np.flatnonzero((placed != ABSENT) & good)
        slots, pane = placed[rows], int(day % _SLOTS)
        state["keys"][slots] = keys[rows]
        turned = slots[state["days"][slots, pane] != day]
        for slot in turned.tolist():  # a device's first minute of a day
            self._end_of_day(slot, day, measure)
        state["days"][turned, pane] = day
        state["seen"][turned, pane] = 0
        state["tail"][turned, pane] = 0
        seen = state["seen"][slots, pane]
        draw = mix(keys[rows] ^ mix(np.uint64(day) * np.uint64(1 << 32) + seen))
        place = np.where(seen < SAMPLE, seen, draw % np.maximum(seen + 1, 1).astype(np.uint64))
        kept = place < SAMPLE
        state["sample"][slots[kept], pane, place[kept].astype(np.intp)] = matrix[rows[kept]]
        state["seen"][slots, pane] += 1
        judged = state["ready"][slots]
        bins = np.searchsorted(EDGES, surprise[rows[judged]], side="right") - 1
        state["tail"][slots[judged], pane, bins] += 1

    def forget(self, keys: UInt64) -> None:
        """Has learning begin anew for these devices."""
        slots = self.table.find(keys)
        slots = slots[slots != ABSENT]
        self._state["days"][slots], self._state["ready"][slots] = -1, False

    def days_of(self, keys: UInt64) -> npt.NDArray[np.int64]:
        """Of how many days each device has enough minutes."""
        slots = self.table.find(keys)
        enough = (self._state["days"] >= 0) & (self._state["seen"] >= FEWEST)
        return np.where(slots == ABSENT, 0, enough[slots].sum(axis=1))

    def _end_of_day(self, slot: int, day: int, measure: Measure) -> None:
        """What the days before `day` teach about one device."""
        state = self._state
        days, seen = state["days"][slot], state["seen"][slot]
        counted = np.flatnonzero((days >= max(day - DAYS, 0)) & (days < day) & (seen >= FEWEST))
        if len(counted) < (1 if state["ready"][slot] else DAYS):
            return
        samples = [
            state["sample"][slot, pane, : min(int(seen[pane]), SAMPLE)].astype(np.float32)
            for pane in counted
        ]
        centre, spread = self._usual(np.concatenate(samples))
        if state["ready"][slot]:
            last = samples[int(np.argmax(days[counted]))]
            risen = np.median(last, axis=0) - state["first"][slot]
            state["shift"][slot] = np.maximum(risen, 0) / state["spread"][slot]
            was, width = state["centre"][slot], state["spread"][slot]
            state["centre"][slot] = was + np.clip(centre - was, -STEP * width, STEP * width)
            state["spread"][slot] = np.clip(spread, width / GROWTH, width * GROWTH)
            return
        state["centre"][slot], state["spread"][slot] = centre, spread
        state["first"][slot], state["shift"][slot] = centre, 0
        state["ready"][slot] = True
        for number, pane in enumerate(counted):  # its own past, each day by what the others taught
            others = np.concatenate(samples[:number] + samples[number + 1 :])
            centre, spread = self._usual(others)
            bins = np.searchsorted(EDGES, measure((samples[number] - centre) / spread), "right") - 1
            weight = seen[pane] / len(samples[number])
            counts = np.bincount(bins, minlength=len(EDGES)) * weight
            state["tail"][slot, pane] = np.ceil(counts).astype(np.uint32)

    def _usual(self, sample: Floats) -> tuple[Floats, Floats]:
        centre = np.median(sample, axis=0)
        own = _MAD * np.median(np.abs(sample - centre), axis=0)
        typical, count = self.typical.spread, len(sample)
        spread = np.sqrt((count * own**2 + _DOUBT * typical**2) / (count + _DOUBT))
        return centre.astype(np.float32), np.maximum(spread, _LEAST * typical).astype(np.float32)

    def copy(self, model: Mapping[str, str]) -> Kept:
        """All that is known now, to be written later or by another thread."""
        used = np.flatnonzero(self.table.last_tick != np.iinfo(np.int64).min)
        parts = {name: part[used] for name, part in self._state.items()}
        parts["last"] = self.table.last_tick[used]
        return Kept({"format": _FORMAT, "day_ns": self.day_ns, **model}, parts)

    def load(self, path: Path, model: Mapping[str, str]) -> None:
        """Takes over what `save` wrote, into an empty baseline.

        Raises BaselineRefused when the file is damaged, too large, or of another model, feature set
        or length of day; the baseline stays empty then.
        """
        head = {"format": _FORMAT, "day_ns": self.day_ns, **model}
        parts = _read(path, head, self._state, self.table.capacity)
        last, keys = parts.pop("last"), parts["keys"]
        order = np.argsort(keys)
        for tick in np.unique(last).tolist():
            some = order[last[order] == tick]
            slots, _ = self.table.admit(Groups(keys[some], some, some), int(tick))
            for name, part in parts.items():
                self._state[name][slots] = part[some]


@dataclass(frozen=True, slots=True)
class Kept:
    """A copy of a baseline: its head, and its used rows by name."""

    head: Mapping[str, Any]
    parts: Mapping[str, npt.NDArray[Any]]

    def write(self, path: Path) -> None:
        """Writes it to `path`: whole or not at all. Raises OSError."""
        octets = np.frombuffer(json.dumps(self.head, sort_keys=True).encode(), np.uint8)
        written = io.BytesIO()
        np.savez_compressed(written, allow_pickle=False, head=octets, **self.parts)
        replace_synced(path, written.getvalue())


def _read(
    path: Path, head: Mapping[str, Any], like: Mapping[str, npt.NDArray[Any]], capacity: int
) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > _MOST_BYTES:
                raise BaselineRefused(f"{path}: {size} bytes, more than {_MOST_BYTES}")
        with np.load(path, allow_pickle=False) as stored:
            parts = {name: stored[name] for name in ("head", "last", *like)}
        told = json.loads(parts.pop("head").tobytes())
    except BaselineRefused:
        raise
    except FileNotFoundError:
        raise BaselineRefused(f"{path}: there is none yet") from None
    except Exception as error:  # zlib, zipfile and numpy have many words for damage
        raise BaselineRefused(f"{path}: damaged: {error}") from None
    for key, value in head.items():
        if told.get(key) != value:
            raise BaselineRefused(
                f"{path}: {key} is {told.get(key)!r}, this program's is {value!r}; learning anew"
            )
    rows = len(parts["last"])
    for name, part in parts.items():
        shape = like[name].shape[1:] if name in like else ()
        kind = like[name].dtype if name in like else np.dtype(np.int64)
        if part.shape != (rows, *shape) or part.dtype != kind or rows > capacity:
            raise BaselineRefused(f"{path}: damaged: {name} is {part.dtype} {part.shape}")
    if len(np.unique(parts["keys"])) != rows or not all(
        np.isfinite(parts[name]).all() for name in ("centre", "spread", "sample", "first", "shift")
    ):
        raise BaselineRefused(f"{path}: damaged: a device twice, or a value that is no number")
    return parts
