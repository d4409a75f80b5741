# SPDX-License-Identifier: Apache-2.0
"""What a section of settings is made of: dataclasses that say of each key what pydantic checks.

Defaults need no check, so pydantic is imported when a file, the environment or the command line has
something to say, and for the JSON Schema.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar


class Section:
    """A table of fortress.toml, a frozen dataclass; other keys are refused."""

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


def setting(*, default: Any = MISSING, default_factory: Any = MISSING, **meaning: Any) -> Any:
    """A setting: `meaning` is what pydantic's Field would be told of it, bounds and description."""
    if isinstance(default, dict):
        meaning["json_schema_extra"] = {"default": default}
        default, default_factory = MISSING, default.copy
    return dataclasses.field(default=default, default_factory=default_factory, metadata=meaning)


@dataclass(frozen=True, slots=True)
class Later:
    """An annotation that is made of the module pydantic when that is wanted."""

    make: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, kind: Any, schemas: Any) -> Any:
        """What pydantic asks of annotations."""
        made = self.make(importlib.import_module("pydantic"))
        return schemas.generate_schema(Annotated[kind, made])


def plain(value: Any) -> Any:
    """Settings, or the value of one, as JSON has it."""
    if dataclasses.is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def leaves(tree: dict[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """Key path and value of everything in a tree; an empty table is a value."""
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{at}{name}.")
        else:
            yield f"{at}{name}", value


def changed(settings: Any, path: str, value: Any) -> Any:
    """The settings with another value at a key path."""
    name, _, rest = path.partition(".")
    inner = changed(getattr(settings, name), rest, value) if rest else value
    return dataclasses.replace(settings, **{name: inner})
