# SPDX-License-Identifier: Apache-2.0
"""Which code a model came of: a hash over the sources of its training and features, no more."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

_OURS = ("fortress.training.", "fortress.features.")


def code_digest(module: str) -> str:
    """The sha256 over the source of a module and of all of training and features that it imports,
    directly or not.
    """
    seen: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and (source := _source(name)) is not None:
            seen[name] = source
            waiting += _imports(source)
    mixed = hashlib.sha256()
    for name, source in sorted(seen.items()):
        mixed.update(f"{name} {len(source)}\n".encode() + source)
    return mixed.hexdigest()


def _source(name: str) -> bytes | None:
    """The source of a module; None for what is none (`from a.b import c` may name a function)."""
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin).read_bytes() if spec and spec.origin else None


def _imports(source: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (node.module, *(f"{node.module}.{one.name}" for one in node.names))
            yield from (name for name in names if name.startswith(_OURS))
