# SPDX-License-Identifier: Apache-2.0
"""The models that ship, pinned: whoever trusts the package trusts these very files, and no others.

`python -m fortress.inference.pin` writes the table anew from the checkout's `models/`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from fortress.inference.files import MAX_FILE_BYTES, read_bounded
from fortress.inference.rejection import ModelRejected
from fortress.inference.statement import list_files

PINS = {
    "flow-classifier": "25b5744d897c77a055e4dab4a8d9f26789c7dbba45fba4d34ff91760bab187df",
    "host-anomaly": "daf6fcd99582280a3ea31712594494e2d60402c67c86b03a9f64497ec217f385",
    "threat-lstm": "2b6e21abf68bac23e0b5fdac2b59787f27c7b13e2eadca7c26c96002eb202f11",
}


def check(folder: Path, name: str) -> None:
    """Return when the model in `folder` is the one that ships. Raises ModelRejected ("pin")."""
    if name not in PINS:
        raise ModelRejected("pin", folder, "is neither signed nor a model that ships")
    found = digest(folder)
    if found != PINS[name]:
        raise ModelRejected(
            "pin",
            folder,
            f"is not the model that ships: sha256 of its files is {found}, {PINS[name]} is pinned",
        )


def digest(folder: Path) -> str:
    """The sha256 over names and contents of recipe, card and graphs; figures are not among them."""
    mixed = hashlib.sha256()
    for path in list_files(folder):
        if path.endswith((".toml", ".md", ".onnx")):
            content = read_bounded(folder / path, MAX_FILE_BYTES)
            mixed.update(f"{path} {len(content)} {sha256(content)}\n".encode())
    return mixed.hexdigest()


def sha256(content: bytes) -> str:
    """The sha256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
