# SPDX-License-Identifier: Apache-2.0
"""`fortress model keygen|list|card|verify|publish|promote|rollback|diff`: the registry by hand."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fortress.cli.options import Commands, add_command, add_config, add_json, load_config
from fortress.errors import InputError, ModelError, UsageError

if TYPE_CHECKING:
    from fortress.config import Settings
    from fortress.inference.entry import Listing
    from fortress.inference.recipe import Recipe
    from fortress.inference.registry import Registry

PUBLISH = """\
Sign a model with the installation's key and put it into the registry, where it waits
to be promoted. MODEL is a folder with model.toml, card.md and one .onnx, or the name
of a model that ships. A model that does worse than the one in use on the same
held-out data is refused (docs/models.md has the rule) unless --force says WHY, which
is signed with it."""
IMPORT = """\
Sign the models that ship, after comparing them with the package's pins, with the
installation's key and put them into the registry. What is there stays as it is; which
version is in use does not change. `fortress trainer run` does it each time."""
PROMOTE = """\
Put a published version in use; "shipped" is the model that ships. The running agent
does it and takes the model up between two batches; --without-agent does it where
none runs."""
ROLLBACK = """\
Put the version back that was in use before. The running agent does it;
--without-agent does it where none runs."""
VERIFY = """\
Check signature, every file, features, operators, and open the model in the runtime.
Without NAME: the version in use of every model. Exit code 1: one is refused."""
_WAIT_S = 30.0


def add(verbs: Commands) -> None:
    """Add the verbs."""
    verb = add_command(verbs, "keygen", "make the installation's pair of keys, once", keygen)
    verb.add_argument(
        "--out", metavar="FILE", type=Path, help="private key; default: models.key of the settings"
    )
    _shared(verb, "print the public key as one JSON object")
    verb = add_command(verbs, "list", "list the models, and why one is refused", list_models)
    _shared(verb, "print one JSON object for each version")
    verb = add_command(verbs, "card", "print what a model is worth and what it cannot do", card)
    verb.add_argument("name", nargs="?", default="flow-classifier", help="default: flow-classifier")
    _add_version(verb)
    _shared(verb, "print the card as one JSON object")
    verb = add_command(verbs, "verify", "check a model whole", verify, VERIFY)
    verb.add_argument("name", nargs="?", help="default: every model")
    _add_version(verb)
    _shared(verb, "print one JSON object for each model")
    verb = add_command(
        verbs, "publish", "sign a model and put it into the registry", publish, PUBLISH
    )
    verb.add_argument("model", metavar="MODEL", help="folder, or the name of a model that ships")
    verb.add_argument("--force", metavar="WHY", default="", help="publish it though it does worse")
    _shared(verb, "print the version and the comparison as one JSON object")
    verb = add_command(
        verbs, "import", "sign the models that ship into the registry", import_models, IMPORT
    )
    verb.add_argument("name", nargs="?", help="default: every model that ships")
    _shared(verb, "print one JSON object for each model")
    verb = add_command(verbs, "promote", "put a version in use", promote, PROMOTE)
    verb.add_argument("name", metavar="NAME")
    verb.add_argument("version", metavar="VERSION")
    _add_direct(verb)
    verb = add_command(verbs, "rollback", "put the version before back in use", rollback, ROLLBACK)
    verb.add_argument("name", metavar="NAME")
    _add_direct(verb)
    verb = add_command(verbs, "diff", "what two versions differ in", diff)
    verb.add_argument("name", metavar="NAME")
    verb.add_argument("a", metavar="A", help='a version, or "shipped"')
    verb.add_argument("b", metavar="B", help='a version, or "shipped"')
    _shared(verb, "print the differences as one JSON object")


def keygen(arguments: argparse.Namespace) -> int:
    """Run `model keygen`."""
    from fortress.inference.signing import make_keys

    private = arguments.out or load_config(arguments).settings.model_key_path()
    key = make_keys(private)
    told = {"key": str(private), "public": str(private.with_suffix(".pub")), "id": key.id}
    _tell(arguments, told, f"key {key.id}: {private} (keep it secret) and {told['public']}")
    return 0


def list_models(arguments: argparse.Namespace) -> int:
    """Run `model list`; a refused model makes the exit code 1."""
    registry = _registry(arguments)[0]
    listings = registry.list()
    for listing in listings:
        fields = asdict(listing) | {"folder": str(listing.folder)}
        _tell(arguments, fields, _line(listing))
    if not listings:
        print(f"fortress: no models in {registry.root}", file=sys.stderr)
    return ModelError.exit_code if any(listing.problem for listing in listings) else 0


def card(arguments: argparse.Namespace) -> int:
    """Run `model card`."""
    text = _registry(arguments)[0].card(arguments.name, arguments.version)
    if not arguments.json and sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(text))
    else:
        _tell(arguments, {"name": arguments.name, "card": text}, text)
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Run `model verify`."""
    from fortress.inference import ModelRejected
    from fortress.inference.opening import open_model

    registry = _registry(arguments)[0]
    names = [arguments.name] if arguments.name else registry.names()
    code = 0
    for name in names:
        told: dict[str, Any] = {"name": name, "version": arguments.version or "", "problem": ""}
        try:
            entry = registry.load(name, arguments.version)
            told |= {"version": entry.recipe.version, "publisher": entry.publisher}
            registry.verify(name, arguments.version)
            open_model(entry)
        except ModelRejected as rejected:
            told |= {"problem": str(rejected), "reason": rejected.reason}
            code = ModelError.exit_code
        state = f"refused: {told['problem']}" if told["problem"] else "good"
        _tell(arguments, told, f"{name}  {told['version']}  {state}")
    return code


def publish(arguments: argparse.Namespace) -> int:
    """Run `model publish`."""
    from fortress.inference.registry import SHIPPED
    from fortress.inference.shelf import Publication, publish_folder
    from fortress.inference.signing import read_private

    registry, settings = _registry(arguments)
    folder, ships = Path(arguments.model), False
    if not (folder / "model.toml").is_file():
        if arguments.model not in registry.names():
            raise UsageError(f"{arguments.model}: no folder with a model.toml, no model that ships")
        entry, ships = registry.load(arguments.model, SHIPPED), True
        folder = entry.folder
    key = read_private(settings.model_key_path())
    done = publish_folder(
        registry,
        folder,
        key,
        arguments.force,
        Publication(keep=settings.models.keep, compare=not ships),
    )
    told = asdict(done) | {"key": key.public.id}
    words = [f"published although {one}" for one in done.worse]
    words.append(f"{done.name} {done.version} is published, not in use yet:")
    words.append(f"fortress model promote {done.name} {done.version}")
    _tell(arguments, told, "\n".join(words))
    return 0


def import_models(arguments: argparse.Namespace) -> int:
    """Run `model import`."""
    from fortress.inference.shelf import Publication, import_shipped
    from fortress.inference.signing import read_private

    registry, settings = _registry(arguments)
    key = read_private(settings.model_key_path())
    names = [arguments.name] if arguments.name else None
    how = Publication(keep=settings.models.keep)
    for name, version, is_new in import_shipped(registry, key, how, names):
        told = {"name": name, "version": version, "new": is_new, "key": key.public.id}
        _tell(arguments, told, f"{name} {version}: {'imported' if is_new else 'there already'}")
    return 0


def promote(arguments: argparse.Namespace) -> int:
    """Run `model promote`."""
    if not arguments.without_agent:
        body = {"name": arguments.name, "version": arguments.version}
        return _ask(arguments, "/models/promote", body)
    from fortress.inference.opening import open_model
    from fortress.inference.state import write_chosen

    registry, settings = _registry(arguments)
    entry = registry.load(arguments.name, arguments.version)
    open_model(entry)
    write_chosen(settings.model_state_path(), arguments.name, arguments.version)
    told = {"done": True, "message": f"{arguments.name} {entry.recipe.version} is in use"}
    _tell(arguments, told, str(told["message"]))
    return 0


def rollback(arguments: argparse.Namespace) -> int:
    """Run `model rollback`."""
    if not arguments.without_agent:
        return _ask(arguments, "/models/rollback", {"name": arguments.name})
    from fortress.inference.state import step_back

    chosen = step_back(_registry(arguments)[1].model_state_path(), arguments.name)
    told = {"done": True, "message": f"{arguments.name} {chosen.version} is in use"}
    _tell(arguments, told, str(told["message"]))
    return 0


def diff(arguments: argparse.Namespace) -> int:
    """Run `model diff`."""
    registry = _registry(arguments)[0]
    one, other = (registry.load(arguments.name, each) for each in (arguments.a, arguments.b))
    differences = list(_differences(_flat(one.recipe), _flat(other.recipe)))
    for key, before, after in differences:
        _tell(
            arguments,
            {"key": key, "a": before, "b": after},
            f"{key}: {_short(before)} → {_short(after)}",
        )
    if not differences and not arguments.json:
        print("no differences")
    return 0


def _differences(one: dict[str, Any], other: dict[str, Any]) -> Any:
    for key in sorted(one.keys() | other.keys()):
        if one.get(key) != other.get(key):
            yield key, one.get(key), other.get(key)


def _flat(recipe: Recipe) -> dict[str, Any]:
    """A recipe as one level of dotted keys."""
    flat: dict[str, Any] = {}

    def walk(value: Any, at: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{at}.{key}" if at else str(key))
        else:
            flat[at] = value

    walk(asdict(recipe), "")
    return flat


def _short(value: Any, most: int = 60) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else f"{text[:most]}…"


def _ask(arguments: argparse.Namespace, path: str, body: dict[str, str]) -> int:
    """Have the running agent do it. Raises InputError when none answers or it refuses."""
    from fortress.http.asking import ask

    control = load_config(arguments).settings.control_path()
    if control is None:
        raise UsageError("control.socket is empty: the agent cannot be asked; --without-agent")
    try:
        status, told = ask(control, path, body, _WAIT_S)
    except OSError as error:
        raise InputError(
            f"{control}: no agent answers ({error}); start it, or use --without-agent"
        ) from None
    if status != 200:
        raise ModelError(str(told.get("detail") or told.get("title") or status))
    _tell(arguments, told, str(told["message"]))
    return 0


def _registry(arguments: argparse.Namespace) -> tuple[Registry, Settings]:
    from fortress.inference.configured import registry_of

    settings = load_config(arguments).settings
    return registry_of(settings), settings


def _line(listing: Listing) -> str:
    state = f"refused: {listing.problem}" if listing.problem else "verified"
    who = listing.publisher or "unsigned"
    forced = f"  forced: {listing.forced}" if listing.forced else ""
    size = f"{listing.size_bytes / 1000:,.0f} kB"
    use = "  in use" if listing.current else ""
    return f"{listing.name}  {listing.version}  {size}  by {who}{use}  {state}{forced}"


def _tell(arguments: argparse.Namespace, fields: dict[str, Any], words: str) -> None:
    print(json.dumps(fields, ensure_ascii=False, default=str) if arguments.json else words)


def _shared(verb: argparse.ArgumentParser, what: str) -> None:
    add_json(verb, what)
    add_config(verb)


def _add_version(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("version", nargs="?", help='default: the one in use; "shipped" is one too')


def _add_direct(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--without-agent", action="store_true", help="where no agent runs: write it by oneself"
    )
    _shared(verb, "print the result as one JSON object")
