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
    "flow-classifier": "c8b8ce10781a0889360fbf4c8da4c5708514b9dff0ec9a47e382dc0bfd15a492",
    "host-anomaly": "bf37433bc2e486cb60ebac8a1801db52ada5ea4b656ae18c8b1b1be9cc5a19c8",
    "threat-lstm": "a7607fbd9b79c87a75510eb79c4f5cc716d81894f0cc1baa420723295840f5f3",
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
