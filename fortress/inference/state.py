# SPDX-License-Identifier: Apache-2.0
"""Which version of each model is in use: a file a model in a small folder of its own.

The first line of `<state>/<model>` is the version, the lines after it those that were in use before
it, the last one first. Without a file it is the model that ships.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fortress.disk import replace_synced
from fortress.errors import OutputError
from fortress.inference.entry import SHIPPED
from fortress.inference.files import only_writer, read_bounded
from fortress.inference.recipe import is_name, is_version
from fortress.inference.rejection import ModelRejected

MOST_BEFORE = 16
_MOST_BYTES = 4096

Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The version in use, SHIPPED for the model that ships, and those before it."""

    version: str = SHIPPED
    before: tuple[str, ...] = ()


def read_chosen(state: Path | None, name: str) -> Chosen:
    """What is in use. Raises ModelRejected ("state") when the file says something odd."""
    if state is None or stamp(state, name) is None:
        return Chosen()
    path = state / name
    lines = read_bounded(path, _MOST_BYTES).decode("utf-8", "replace").splitlines()
    if not lines or not all(is_version(line) for line in lines):
        remedy = f"fortress model promote {name} VERSION writes it anew"
        raise ModelRejected("state", path, f"names no version; {remedy}")
    return Chosen(lines[0], tuple(lines[1 : 1 + MOST_BEFORE]))


def stamp(state: Path | None, name: str) -> Stamp:
    """What changes when the file is written anew, whatever the clock says; None without a file."""
    if state is None:
        return None
    try:
        told = os.stat(state / name)  # noqa: PTH116  # ten times a second: no Path is made
    except OSError:
        return None
    return told.st_ino, told.st_mtime_ns, told.st_size


def write_chosen(state: Path, name: str, version: str) -> Chosen:
    """Put `version` in use, those before it behind it. Raises OutputError; nothing has changed."""
    with _writing(state, name):
        now = _readable(state, name)
        if now.version == version:
            return now
        before = (now.version, *(one for one in now.before if one != version))
        return _write(state, name, Chosen(version, before[:MOST_BEFORE]))


def step_back(state: Path, name: str) -> Chosen:
    """Put the version before the one in use back. Raises OutputError; nothing has changed."""
    with _writing(state, name):
        now = _readable(state, name)
        if not now.before:
            raise OutputError(f"{state / name}: no version was in use before {now.version}")
        return _write(state, name, Chosen(now.before[0], now.before[1:]))


def _readable(state: Path, name: str) -> Chosen:
    try:
        return read_chosen(state, name)
    except ModelRejected:
        return Chosen()  # what it said is of no use to anybody


def _write(state: Path, name: str, chosen: Chosen) -> Chosen:
    replace_synced(state / name, "\n".join((chosen.version, *chosen.before, "")).encode())
    return chosen


@contextlib.contextmanager
def _writing(state: Path, name: str) -> Iterator[None]:
    """The lock of the folder, with errors that name it."""
    if not is_name(name):
        raise OutputError(f"{name!r} is no name of a model")
    try:
        state.mkdir(parents=True, exist_ok=True)
        with only_writer(state):
            yield
    except OSError as error:
        why = f"cannot be written: {error.strerror}; nothing has changed"
        raise OutputError(f"{state}: {why}") from None
