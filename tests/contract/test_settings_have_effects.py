"""No control without effect: for every setting there is a test that shows what it does."""

import ast
import dataclasses
import functools
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

import pytest

from fortress.config import Settings
from fortress.respond.guard_settings import GuardSettings
from tests.need import ROOT

TESTS = ROOT / "tests"
TABLE: dict[str, dict[str, str]] = tomllib.loads(
    (TESTS / "contract" / "effects.toml").read_text(encoding="utf-8")
)

# Of models that are being made: their tests come with them. Nothing is to be added here.
WAITING: set[str] = set()


def fortress_keys(model: Any = Settings, before: str = "") -> Iterator[str]:
    """Every key of fortress.toml; a table that may hold any name is one."""
    for name, kind in get_type_hints(model).items():
        if dataclasses.is_dataclass(kind):
            yield from fortress_keys(kind, f"{before}{name}.")
        elif get_origin(kind) is not ClassVar:
            yield f"{before}{name}"


def guard_keys(kind: Any = GuardSettings, before: str = "") -> Iterator[str]:
    """Every key of guard.toml; what is said of each list is said of all."""
    for name, hint in get_type_hints(kind).items():
        inner = get_args(hint)[1] if get_origin(hint) is dict else hint
        if dataclasses.is_dataclass(inner):
            yield from guard_keys(inner, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def test_every_key_of_fortress_toml_has_a_test_of_its_effect() -> None:
    assert set(TABLE["fortress"]) == set(fortress_keys()) - WAITING


def test_every_key_of_guard_toml_has_a_test_of_its_effect() -> None:
    assert set(TABLE["guard"]) == set(guard_keys())


def test_a_new_key_would_be_missed() -> None:
    @dataclasses.dataclass(frozen=True)
    class More(Settings):
        new: int = 1

    @dataclasses.dataclass(frozen=True)
    class MoreOfTheGuard(GuardSettings):
        new: int = 1

    assert set(fortress_keys(More)) - set(TABLE["fortress"]) >= {"new"}
    assert set(guard_keys(MoreOfTheGuard)) - set(TABLE["guard"]) == {"new"}


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    """The names of the tests in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef))


ROWS = [(key, place) for rows in TABLE.values() for key, place in rows.items()]


@pytest.mark.parametrize(("key", "place"), ROWS, ids=[key for key, _ in ROWS])
def test_the_test_of_a_key_exists_and_its_file_sets_the_key(key: str, place: str) -> None:
    file, _, name = place.partition("::")
    path = TESTS / file
    assert name in names_in(path), f"{file} has no test {name}"
    text = path.read_text(encoding="utf-8")
    leaf = key.rpartition(".")[2]
    assert leaf in text or leaf.upper() in text
