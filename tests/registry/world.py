"""Keys, drafts and registries in the state that a test wants."""

import re
import shutil
from pathlib import Path

from fortress.features import flow
from fortress.inference import Registry
from fortress.inference.signing import PrivateKey
from fortress.inference.statement import (
    SIGNATURE,
    STATEMENT,
    Digest,
    Statement,
    read_files,
    write_signature,
)
from fortress.training.export import to_toml
from tests.need import ROOT
from tests.registry.graphs import network

NAME = "flow-classifier"
KEY, OTHER_KEY = PrivateKey(b"k" * 32), PrivateKey(b"o" * 32)
WIDTH = len(flow.FEATURES)


def draft(folder: Path, version: str, seed: int = 1, **more: object) -> Path:
    """A small flow classifier with random weights, nothing signed; another one for each seed."""
    onnx, kinds = network(WIDTH, 2, hidden=4, seed=seed), network(WIDTH, 2, hidden=4)
    names = tuple(feature.name for feature in flow.FEATURES)
    table = {
        "format": 2,
        "name": NAME,
        "version": version,
        "kind": "flow",
        "file": f"{NAME}.onnx",
        "sha256": Digest.of(onnx).sha256,
        "bytes": len(onnx),
        "opset": 17,
        "input": {
            "features": list(names),
            "fingerprint": flow.fingerprint(names),
            "columns": list(flow.COLUMNS),
            "steps": 0,
        },
        "output": {"classes": ["benign", "attack"]},
        "threshold": {"risk": 0.5},
        "calibration": {"risk": {"score": [0.0, 1.0], "probability": [0.0, 1.0]}},
        "variants": {"kinds": {"file": "variants/kinds.onnx", "sha256": Digest.of(kinds).sha256}},
        "own": {"kinds": ["scan", "flood"]},
        **more,
    }
    folder.mkdir(parents=True)
    (folder / f"{NAME}.onnx").write_bytes(onnx)
    (folder / "variants").mkdir()
    (folder / "variants" / "kinds.onnx").write_bytes(kinds)
    (folder / "model.toml").write_text(to_toml(table))
    (folder / "card.md").write_text(f"# {NAME} {version}\n")
    return folder


def registry_at(folder: Path) -> Registry:
    """A registry that trusts KEY, with the models that ship behind it."""
    return Registry(folder / "registry", folder / "state", [KEY.public])


def publish(registry: Registry, folder: Path, version: str, seed: int = 1) -> str:
    """Publish a small model; `folder` is where its draft may lie."""
    made = draft(folder / f"draft-{version}" / NAME, version, seed)
    return registry.add(made, KEY)


def sign_anyway(registry: Registry, folder: Path, version: str, key: PrivateKey = KEY) -> Path:
    """Put whatever is in a folder on the shelf, signed without a check, as a careless or hostile
    publisher would.
    """
    place = registry.root / NAME / version
    shutil.copytree(folder, place)
    files = {path: Digest.of(content) for path, content in read_files(place).items()}
    statement = Statement(NAME, version, files, 1).encode()
    (place / STATEMENT).write_bytes(statement)
    (place / SIGNATURE).write_bytes(write_signature(key, statement))
    return place


def shipped_as(folder: Path, version: str) -> Path:
    """A draft that is the shipped flow classifier under another version."""
    shutil.copytree(ROOT / "models" / NAME, folder / NAME)
    recipe = folder / NAME / "model.toml"
    text = re.sub(r'(?m)^version = ".*"', f'version = "{version}"', recipe.read_text(), count=1)
    recipe.write_text(text)
    return folder / NAME
