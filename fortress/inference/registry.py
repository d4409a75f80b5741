# SPDX-License-Identifier: Apache-2.0
"""The registry: finds models in folders, verifies them, and hands out those that may be used.

    <root>/<model>/<version>/   model.toml, card.md, one .onnx, variants/, figures/, statement.json
                                and statement.sig: who vouches for all of it
    <state>/<model>             names the version in use (state.py)
    <shipped>/<model>/          the models that ship, pinned by sha256 in the package (shipped.py)

A model is refused (ModelRejected) unless its files are those that a trusted publisher signed or
the package pins, the features it wants are exactly the ones this program computes, and its graph is
made of known operators, whole in one file. The bytes that were checked are the bytes that are used.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from fortress.inference import shipped as pins
from fortress.inference.checks import check_content, check_model
from fortress.inference.entry import SHIPPED, Listing, ModelEntry
from fortress.inference.files import MAX_FILE_BYTES, read_bounded
from fortress.inference.recipe import MAX_RECIPE_BYTES, is_name, is_version, parse_recipe
from fortress.inference.rejection import ModelRejected
from fortress.inference.shelf import Publication, add_version
from fortress.inference.signing import PrivateKey, PublicKey
from fortress.inference.state import read_chosen
from fortress.inference.statement import Statement, list_files, read_statement
from fortress.inference.watch import Watch

__all__ = [
    "SHIPPED", "Listing", "ModelEntry", "Registry", "check_content", "check_model", "read_draft",
    "shipped_models",
]  # fmt: skip

_T = TypeVar("_T")


def shipped_models() -> Path:
    """The folder of the models that ship with Fortress: the installed package, else the checkout's
    `models/`.
    """
    spec = find_spec("fortress_models")
    if spec is not None and spec.submodule_search_locations:
        for place in spec.submodule_search_locations:
            if Path(place).is_dir():
                return Path(place)
    return Path(__file__).resolve().parents[2] / "models"


def read_draft(folder: Path, name: str = "") -> ModelEntry:
    """The model in a folder that nobody has signed yet, checked in all else; it may be published,
    never used.

    `name` is what it must be called (default: the folder's name). Raises ModelRejected.
    """
    list_files(folder)
    return _read(folder, name or folder.resolve().name, None, "")


class Registry:
    """The models in one folder, with those that ship behind them."""

    def __init__(
        self,
        root: Path | None = None,
        state: Path | None = None,
        trusted: Iterable[PublicKey] = (),
        shipped: Path | None = None,
        variants: Mapping[str, str] | None = None,
    ) -> None:
        """Without `root` there are the models that ship, without `state` no version is in use but
        those. `variants` names the variant that is run of a model, where it is not the model
        itself; a version without it is refused.
        """
        self.root = shipped_models() if root is None else root
        self.state = state
        self.trusted = tuple(trusted)
        self._shipped = shipped_models() if shipped is None else shipped
        self._variants = variants or {}

    def names(self) -> tuple[str, ...]:
        """The names of all models, sorted."""
        found = {path.parent.name for path in self._shipped.glob("*/model.toml")}
        found |= {path.parent.name for path in self.root.glob("*/model.toml")}
        found |= {path.parent.parent.name for path in self.root.glob("*/*/model.toml")}
        return tuple(sorted(name for name in found if is_name(name)))

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions of a model that were published, the oldest first."""
        found = (path.parent.name for path in (self.root / name).glob("*/model.toml"))
        return tuple(sorted(filter(is_version, found), key=version_order))

    def shipped(self) -> dict[str, str]:
        """The version that each model ships in, by name, as its recipe says; unchecked."""
        told = {}
        for name in self.names():
            folder = self._ships(name)
            if folder is not None:
                with contextlib.suppress(ModelRejected):
                    told[name] = parse_recipe(_recipe_bytes(folder), folder / "model.toml").version
        return told

    def current(self, name: str) -> str:
        """The version in use, SHIPPED for the model that ships. Raises ModelRejected ("state")."""
        return read_chosen(self.state, name).version

    def list(self) -> tuple[Listing, ...]:
        """Every version of every model, and why it is refused if it is."""
        return tuple(
            self._listing(name, version)
            for name in self.names()
            for version in (*([SHIPPED] if self._ships(name) else []), *self.versions(name))
        )

    def load(self, name: str, version: str | None = None) -> ModelEntry:
        """The verified model `name`, of the version in use or another one.

        Raises ModelRejected with the reason.
        """
        if not is_name(name):
            raise ModelRejected("missing", self.root / name, "is no name of a model")
        if version is None:
            version = self.current(name)
        if version == SHIPPED:
            folder = self._ships(name)
            if folder is None:
                raise self._missing(name)
            pins.check(folder, name)
            return _read(folder, name, None, SHIPPED).as_variant(self._variants.get(name, ""))
        folder = self._folder(name, version)
        statement, key = self._statement(name, version)
        for path in list_files(folder):
            if path.endswith((".onnx", ".toml", ".md")) and path not in statement.files:
                raise ModelRejected("signature", folder / path, "is not among the signed files")
        entry = _read(folder, name, statement, key.id)
        return entry.as_variant(self._variants.get(name, ""))

    def load_usable(
        self, name: str, opens: Callable[[ModelEntry], _T]
    ) -> tuple[ModelEntry, _T, tuple[ModelRejected, ...]]:
        """The model in use, else the last one before it that is not refused, else the one that
        ships; what `opens` makes of it, who may refuse it too; and why others were refused.

        Raises ModelRejected when every one of them is refused.
        """
        refused: list[ModelRejected] = []
        try:
            chosen = read_chosen(self.state, name)
            versions = (chosen.version, *chosen.before)
        except ModelRejected as rejected:
            refused, versions = [rejected], ()
        for version in dict.fromkeys((*versions, SHIPPED)):
            try:
                entry = self.load(name, version)
                return entry, opens(entry), tuple(refused)
            except ModelRejected as rejected:
                refused.append(rejected)
        raise refused[0]

    def verify(self, name: str, version: str | None = None) -> Statement | None:
        """Return when every file of a version is what was signed; None for a model that ships.

        Raises ModelRejected.
        """
        entry = self.load(name, version)
        for variant in entry.recipe.variants:
            entry.graph(variant)
        if entry.publisher == SHIPPED:
            return None
        statement, _ = self._statement(name, entry.recipe.version)
        for path in statement.files:
            statement.check(path, read_bounded(entry.folder / path, MAX_FILE_BYTES), entry.folder)
        return statement

    def watch(self, name: str, using: ModelEntry | None = None) -> Watch:
        """A look-out for another version in use than `using`."""
        return Watch(self.load, self.state, name, using)

    def add(
        self, folder: Path, key: PrivateKey, forced: str = "", how: Publication | None = None
    ) -> str:
        """Publish the draft in `folder`: signed, written beside and renamed; its version.

        Readers see all of it or nothing, whenever this process is killed. Raises ModelRejected,
        and OutputError when the disk does not take it; nothing has changed then.
        """
        if key.public not in self.trusted:
            raise ModelRejected(
                "untrusted", folder, f"the key {key.public.id} is not among models.trusted"
            )
        how = how or Publication()
        return add_version(self, read_draft(folder, how.name), key, forced, how)

    def draft(self, folder: Path, name: str = "") -> ModelEntry:
        """The model in a folder, as `read_draft` reads it. Raises ModelRejected."""
        return read_draft(folder, name)

    def card(self, name: str, version: str | None = None) -> str:
        """What the model is worth and what it cannot do, as Markdown. Raises ModelRejected."""
        folder = self._place(name, version)
        path = folder / "card.md"
        return read_bounded(path, MAX_RECIPE_BYTES).decode("utf-8", "replace")

    def _place(self, name: str, version: str | None) -> Path:
        version = self.current(name) if version is None else version
        if version == SHIPPED:
            folder = self._ships(name) if is_name(name) else None
            if folder is None:
                raise self._missing(name)
            return folder
        return self._folder(name, version)

    def _ships(self, name: str) -> Path | None:
        """The folder of a model that ships; a folder without versions is one."""
        for place in (self.root, self._shipped):
            if (place / name / "model.toml").is_file():
                return place / name
        return None

    def _folder(self, name: str, version: str) -> Path:
        if not is_name(name) or name not in self.names():
            raise self._missing(name)
        if not is_version(version) or not (self.root / name / version).is_dir():
            known = ", ".join(self.versions(name)) or "none"
            raise ModelRejected(
                "missing", self.root / name / version, f"no such version (there: {known})"
            )
        return self.root / name / version

    def _statement(self, name: str, version: str) -> tuple[Statement, PublicKey]:
        folder = self._folder(name, version)
        statement, key = read_statement(folder, self.trusted)
        if (statement.name, statement.version) != (name, version):
            raise ModelRejected(
                "signature", folder, f"was signed as {statement.name} {statement.version}"
            )
        return statement, key

    def _missing(self, name: str) -> ModelRejected:
        known = ", ".join(self.names()) or "none"
        return ModelRejected("missing", self.root / name, f"no such model (there: {known})")

    def _listing(self, name: str, version: str) -> Listing:
        folder = self._place(name, version)
        told, publisher, forced, size, published_s, problem = version, "", "", 0, 0, ""
        try:
            if version != SHIPPED:
                statement, key = self._statement(name, version)
                publisher, forced = key.id, statement.forced
                published_s = statement.published_s
            told = parse_recipe(_recipe_bytes(folder), folder / "model.toml").version
            entry = self.load(name, version)
            publisher, size = entry.publisher, len(entry.onnx)
        except ModelRejected as rejected:
            problem = str(rejected)
        try:
            current = self.current(name) == version
        except ModelRejected:
            current = False
        return Listing(name, told, folder, size, problem, publisher, current, published_s, forced)


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts versions as people do: 1.9.0 before 1.10.0."""
    parts = re.findall(r"\d+|[^\d.+_-]+", version)
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts)


def _recipe_bytes(folder: Path) -> bytes:
    return read_bounded(folder / "model.toml", MAX_RECIPE_BYTES)


def _read(folder: Path, name: str, statement: Statement | None, publisher: str) -> ModelEntry:
    """The model in a folder, checked by itself and against what was signed."""
    where, text = folder / "model.toml", _recipe_bytes(folder)
    if statement is not None:
        statement.check("model.toml", text, folder)
    recipe = parse_recipe(text, where)
    if recipe.name != name:
        raise ModelRejected("recipe", where, f"name is {recipe.name!r}, not {name}")
    if statement is not None and recipe.version != statement.version:
        raise ModelRejected(
            "recipe", where, f"version is {recipe.version!r}, not {statement.version}"
        )
    path = folder / recipe.file
    onnx = read_bounded(path, MAX_FILE_BYTES)
    if statement is not None:
        statement.check(recipe.file, onnx, folder)
    if pins.sha256(onnx) != recipe.sha256:
        told = f"sha256 is {pins.sha256(onnx)}, the recipe says {recipe.sha256}"
        raise ModelRejected("sha256", path, told)
    check_model(onnx, recipe, folder)
    return ModelEntry(recipe, folder, onnx, publisher)
