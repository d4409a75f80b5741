# SPDX-License-Identifier: Apache-2.0
"""How models that were built anew differ from those that ship:
`python -m fortress.training.rebuilt SHIPPED BUILT`; exit status 1 where a graph or a figure does.

Graphs are compared bit by bit, recipes number by number, cards and pictures as files. Speeds stand
in cards and are never the same twice.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_MOST_LINES = 12  # of a card that are shown


def differences(shipped: Path, built: Path) -> Iterator[tuple[bool, str]]:
    """What differs between two folders of one model: whether it counts, and in words."""
    for path in _files(shipped) | _files(built):
        ours, theirs = shipped / path, built / path
        if not ours.is_file() or not theirs.is_file():
            yield True, f"{path}: only in {shipped if ours.is_file() else built}"
        elif ours.read_bytes() == theirs.read_bytes():
            continue
        elif path == "model.toml":
            yield from _recipes(ours, theirs)
        elif path.endswith(".md"):
            yield from _lines(path, ours, theirs)
        else:
            yield True, f"{path}: other bytes"


def _files(folder: Path) -> dict[str, None]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): None for path in found}


def _recipes(ours: Path, theirs: Path) -> Iterator[tuple[bool, str]]:
    tables = [_flat(tomllib.loads(path.read_text(encoding="utf-8"))) for path in (ours, theirs)]
    for key in tables[0] | tables[1]:
        before, after = (table.get(key) for table in tables)
        if before != after:
            yield key != "training.code_sha256", f"model.toml {key}: {before} → {after}"


def _flat(table: Mapping[str, Any], begin: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            result |= _flat(value, f"{begin}{key}.")
        else:
            result[begin + key] = value
    return result


def _lines(path: str, ours: Path, theirs: Path) -> Iterator[tuple[bool, str]]:
    texts = [file.read_text(encoding="utf-8").splitlines() for file in (ours, theirs)]
    others = [line for line in texts[1] if line not in texts[0]]
    for line in others[:_MOST_LINES]:
        yield False, f"{path}: {line}"
    if len(others) > _MOST_LINES:
        yield False, f"{path}: {len(others) - _MOST_LINES} more lines"


def main(shipped: Path, built: Path) -> int:
    """Print what differs of every model in `built`; 1 where it is more than a speed or a text."""
    counts = False
    for folder in sorted(path.parent for path in built.glob("*/model.toml")):
        print(folder.name)
        found = list(differences(shipped / folder.name, folder))
        for matters, words in found:
            print(f"  {'differs' if matters else 'note'}: {words}")
            counts = counts or matters
        if not any(matters for matters, _ in found):
            print("  graphs, figures and recipe are the same")
    return int(counts)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
