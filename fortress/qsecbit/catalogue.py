# SPDX-License-Identifier: Apache-2.0
"""Which detectors there are: the files of `detectors/`, then entry points `fortress.detectors`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fortress.errors import ConfigError
from fortress.qsecbit import detectors
from fortress.qsecbit.contract import Detector, Plain, Setting, configured, declared

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

ENTRY_POINTS = "fortress.detectors"


@cache
def catalogue() -> Mapping[str, Detector]:
    """Every detector by name, ours in the order of their files first.

    Raises ConfigError when two have the same name or an entry point is no detector.
    """
    found: dict[str, Detector] = {}
    for module in sorted(pkgutil.iter_modules(detectors.__path__), key=lambda module: module.name):
        loaded = importlib.import_module(f"{detectors.__name__}.{module.name}")
        _add(found, filter(None, map(declared, vars(loaded).values())))
    for entry in _entry_points():
        detector = declared(entry.load())
        if detector is None:
            raise ConfigError(f"entry point {entry.value}: that is no detector")
        _add(found, (detector,))
    return found


def chosen(sections: Mapping[str, Mapping[str, Plain]]) -> tuple[Setting, ...]:
    """The detectors that are switched on, with the settings of their config sections.

    Raises ConfigError with the path of a section or key that does not exist or has a wrong value.
    """
    known = catalogue()
    if unknown := sorted(set(sections) - set(known)):
        raise ConfigError(
            f"detectors.{unknown[0]}: no such detector; there are: {', '.join(known)}"
        )
    switched_on = []
    for name, detector in known.items():
        section = dict(sections.get(name, {}))
        enabled = section.pop("enabled", True)
        if not isinstance(enabled, bool):
            raise ConfigError(f"detectors.{name}.enabled: {enabled!r} is not true or false")
        setting = configured(detector, section)
        if enabled:
            switched_on.append(setting)
    return tuple(switched_on)


def _entry_points() -> EntryPoints | tuple[()]:
    """Those of installed packages; where none has any, they are not looked through one by one."""
    if not any(map(_may_have_entry_points, map(Path, sys.path))):
        return ()
    from importlib import metadata  # takes 30 ms

    return metadata.entry_points(group=ENTRY_POINTS)


def _may_have_entry_points(place: Path) -> bool:
    if place.is_file():  # a zip file with packages
        return True
    told = place.glob("*.*-info/entry_points.txt")
    return any(ENTRY_POINTS.encode() in path.read_bytes() for path in told)


def _add(found: dict[str, Detector], more: Iterable[Detector]) -> None:
    for detector in more:
        if detector.name in found:
            raise ConfigError(f"detectors.{detector.name}: two detectors have this name")
        found[detector.name] = detector
