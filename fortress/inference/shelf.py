# SPDX-License-Identifier: Apache-2.0
"""Putting a version on the shelf: written beside under another name, on the disk, then renamed.

Whatever the instant at which the writer is killed, a reader finds the version whole or not at all.
What a killed writer left is swept by the next one, who holds the lock.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fortress.disk import sync_folder, write_synced
from fortress.errors import OutputError
from fortress.inference.comparison import Comparison, compare
from fortress.inference.entry import SHIPPED, ModelEntry
from fortress.inference.files import only_writer
from fortress.inference.opening import open_model
from fortress.inference.rejection import ModelRejected
from fortress.inference.signing import PrivateKey
from fortress.inference.state import read_chosen
from fortress.inference.statement import (
    SIGNATURE,
    STATEMENT,
    Digest,
    Statement,
    read_files,
    read_statement,
    write_signature,
)

if TYPE_CHECKING:
    from fortress.inference.registry import Registry

KEEP = 5  # versions beside those in use and before it
_PART, _GONE = ".part-", ".gone-"


@dataclass(frozen=True, slots=True)
class Publication:
    """How a version is published: the name it must have ("" = its folder's), how many versions
    stay, whether it must do as well as the one in use, and what time it is (Unix time).
    """

    name: str = ""
    keep: int = KEEP
    compare: bool = True
    clock_s: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Published:
    """What was published; `figures` and `worse` as Comparison has them, beside `than`, the version
    in use.
    """

    name: str
    version: str
    than: str
    figures: tuple[tuple[str, float, float], ...]
    worse: tuple[str, ...]


def publish_folder(
    registry: Registry, folder: Path, key: PrivateKey, forced: str, how: Publication
) -> Published:
    """Publish a draft that does as well as the model in use; `forced` says why it is published
    though it does not.

    Raises ModelRejected ("worse"), and as Registry.add does.
    """
    draft = registry.draft(folder, how.name)
    open_model(draft)
    recipe, comparison, than = draft.recipe, Comparison((), ()), ""
    if how.compare and recipe.name in registry.names():
        using = registry.load_usable(recipe.name, open_model)[0].recipe
        comparison, than = compare(recipe, using), using.version
    if comparison.worse and not forced:
        why = "; ".join(comparison.worse)
        raise ModelRejected(
            "worse",
            folder,
            f"does worse than {than}, which is in use: {why}. --force WHY publishes it anyway",
        )
    forced = forced if comparison.worse else ""
    version = registry.add(folder, key, forced, how)
    return Published(recipe.name, version, than, comparison.figures, comparison.worse)


def import_shipped(
    registry: Registry, key: PrivateKey, how: Publication, names: Iterable[str] | None = None
) -> tuple[tuple[str, str, bool], ...]:
    """Sign the models that ship (default: all of them) and put them on the shelf: name, version,
    and whether it is new there; what is there stays as it is.

    Raises ModelRejected ("pin" when one is not the model that ships), and as Registry.add does.
    """
    done = []
    for name in registry.shipped() if names is None else names:
        entry = registry.load(name, SHIPPED)
        version = entry.recipe.version
        is_new = version not in registry.versions(name)
        if is_new:
            registry.add(entry.folder, key, "", replace(how, name=name, compare=False))
        done.append((name, version, is_new))
    return tuple(done)


def add_version(
    registry: Registry, draft: ModelEntry, key: PrivateKey, forced: str, how: Publication
) -> str:
    """Sign a draft and put it on the registry's shelf; its version. As Registry.add raises."""
    home = registry.root / draft.recipe.name
    try:
        home.mkdir(parents=True, exist_ok=True)
        with only_writer(home):
            _sweep(home)
            _put(registry, draft, key, forced, how)
            _prune(registry, draft.recipe.name, how.keep)
    except OSError as error:
        why = f"cannot be written: {error.strerror}; nothing was published"
        raise OutputError(f"{home}: {why}") from None
    return draft.recipe.version


def _put(
    registry: Registry, draft: ModelEntry, key: PrivateKey, forced: str, how: Publication
) -> None:
    name, version = draft.recipe.name, draft.recipe.version
    home = registry.root / name
    if (home / version).exists():
        raise ModelRejected(
            "exists", home / version, "is published already; a version never changes"
        )
    files = read_files(draft.folder)
    digests = {path: Digest.of(content) for path, content in files.items()}
    statement = Statement(name, version, digests, _now(registry, name, how), forced)
    part = home / f"{_PART}{version}-{os.getpid()}"
    try:
        part.mkdir()
        for folder in {(part / path).parent for path in files} - {part}:
            folder.mkdir()
        for path, content in files.items():
            write_synced(part / path, content)
        write_synced(part / STATEMENT, statement.encode())
        write_synced(part / SIGNATURE, write_signature(key, statement.encode()))
        for folder in {(part / path).parent for path in files} | {part}:
            sync_folder(folder)
        part.rename(home / version)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise
    sync_folder(home)


def _now(registry: Registry, name: str, how: Publication) -> int:
    """The time, not before that of any version that is there. Raises ModelRejected ("clock")."""
    now_s = int(how.clock_s())
    for version in registry.versions(name):
        folder = registry.root / name / version
        try:
            then_s = read_statement(folder, registry.trusted)[0].published_s
        except ModelRejected:
            continue  # what cannot be trusted tells no time
        if then_s > now_s:
            raise ModelRejected(
                "clock",
                folder,
                f"was published {then_s - now_s} s from now: the clock went back; set it",
            )
    return now_s


def _prune(registry: Registry, name: str, keep: int) -> None:
    """Remove the oldest versions, never one that is in use, was in use, ships, or is the newest."""
    try:
        chosen = read_chosen(registry.state, name)
    except ModelRejected:
        return  # what is in use is not known
    spared = {chosen.version, *chosen.before[:keep], registry.shipped().get(name, "")}
    others = [version for version in registry.versions(name) if version not in spared]
    home = registry.root / name
    for version in others[: max(0, len(others) - max(1, keep))]:
        gone = home / f"{_GONE}{version}-{os.getpid()}"
        (home / version).rename(gone)
        shutil.rmtree(gone)


def _sweep(home: Path) -> None:
    for left in home.iterdir():
        if left.name.startswith((_PART, _GONE)):
            shutil.rmtree(left)
