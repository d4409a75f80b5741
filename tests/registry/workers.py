"""Processes that write a registry, and that read it meanwhile."""

import itertools
import os
import shutil
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from fortress.inference import ModelRejected
from fortress.inference.shelf import Publication
from fortress.inference.state import write_chosen
from tests.registry.world import KEY, NAME, registry_at

KEEP = 2
LONGEST_S = 300.0  # after which a reader ends by itself


def fork(work: Callable[[], None]) -> int:
    """Start a process that does `work` and ends with 0, or with 1 when it raised; its pid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of a runtime are not touched
        pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def write_on(folder: Path, start: int) -> None:
    """Publish and promote version after version, until killed."""
    registry = registry_at(folder)
    drafts = [folder / "drafts" / f"{number}" / NAME for number in range(2)]
    for number in itertools.count(start):
        made = folder / "drafts" / f"{os.getpid()}-{number}" / NAME
        shutil.copytree(drafts[number % 2], made)
        recipe = made / "model.toml"
        recipe.write_text(recipe.read_text().replace('"1.0.0"', f'"1.0.{number}"'))
        registry.add(made, KEY, how=Publication(keep=KEEP))
        write_chosen(folder / "state", NAME, f"1.0.{number}")
        shutil.rmtree(made.parent)


def read_on(folder: Path, said: Path) -> None:
    """Load what is in use and all else that is there until the file `stop` is there; `said` is then
    written: how often, and what was refused that should not have been.
    """
    registry, loaded, problem = registry_at(folder), 0, ""
    watch, until_s = registry.watch(NAME), time.monotonic() + LONGEST_S
    while not (folder / "stop").exists() and not problem and time.monotonic() < until_s:
        try:
            registry.load(NAME)
            found = watch.poll()
            if isinstance(found, ModelRejected):
                raise found
            loaded += 1
        except ModelRejected as rejected:
            problem = f"in use: {rejected.reason} {rejected}"
        for version in registry.versions(NAME):
            try:
                registry.load(NAME, version)
                loaded += 1
            except ModelRejected as rejected:
                if (registry.root / NAME / version).exists():
                    problem = f"{rejected.reason} {rejected}"
    said.write_text(f"{loaded} {problem}")
