# SPDX-License-Identifier: Apache-2.0
"""Looks, by a stat between two batches, whether another version of a model is in use now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fortress.inference.entry import ModelEntry
from fortress.inference.rejection import ModelRejected
from fortress.inference.state import stamp


class Watch:
    """A model's look-out; what it handed out last is what its owner uses."""

    def __init__(
        self,
        load: Callable[[str], ModelEntry],
        state: Path | None,
        name: str,
        using: ModelEntry | None = None,
    ) -> None:
        self._load, self._state, self._name = load, state, name
        self._using = _mark(using)
        self._stamp = stamp(state, name)
        self._is_new = True  # the first look reads what is named, whenever it was named

    def poll(self) -> ModelEntry | ModelRejected | None:
        """The model now in use when it is another one than before, checked; why it is refused, once
        a change; None when nothing has changed.
        """
        now = stamp(self._state, self._name)
        if now == self._stamp and not self._is_new:
            return None
        self._stamp, self._is_new = now, False
        try:
            entry = self._load(self._name)
        except ModelRejected as rejected:
            return rejected
        if _mark(entry) == self._using:
            return None
        self._using = _mark(entry)
        return entry

    def keep(self, using: ModelEntry | None) -> None:
        """Say what is in use after all: what was opened at the start, or what was there before when
        a version that was handed out could not be opened.
        """
        self._using, self._is_new = _mark(using), False


def _mark(entry: ModelEntry | None) -> tuple[str, str, str]:
    if entry is None:
        return "", "", ""
    return entry.recipe.version, entry.publisher, entry.recipe.sha256
