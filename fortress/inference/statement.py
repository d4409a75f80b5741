# SPDX-License-Identifier: Apache-2.0
"""What a publisher signs: the name, the version, and every file of a model by size and sha256."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fortress.inference.files import MAX_FILE_BYTES, read_bounded
from fortress.inference.rejection import ModelRejected
from fortress.inference.signing import PrivateKey, PublicKey

STATEMENT, SIGNATURE = "statement.json", "statement.sig"
FORMAT = 1
MAX_FILES = 64
_MAX_STATEMENT_BYTES = 1 << 16
_SUFFIXES = (".onnx", ".toml", ".md", ".png", ".svg", ".txt", ".json")
_NAME = re.compile(r"(?:(?:variants|figures)/)?[0-9A-Za-z][0-9A-Za-z._-]{0,99}")
_FOLDERS = ("variants", "figures")


@dataclass(frozen=True, slots=True)
class Digest:
    """A file's size in bytes and its sha256."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """The digest of some bytes."""
        return cls(len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said of a version; `published_s` is a Unix time, `forced` why it was published though
    it does worse, "" if it was not.
    """

    name: str
    version: str
    files: Mapping[str, Digest]
    published_s: int = 0
    forced: str = ""

    def encode(self) -> bytes:
        """The one way in which this statement is written."""
        table = {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "published_s": self.published_s,
            "forced": self.forced,
            "files": {path: [one.size_bytes, one.sha256] for path, one in self.files.items()},
        }
        return json.dumps(table, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    def check(self, path: str, content: bytes, where: Path) -> None:
        """Return when `content` is the file that was signed. Raises ModelRejected."""
        if path not in self.files:
            raise ModelRejected("signature", where / path, "is not among the signed files")
        digest = Digest.of(content)
        if digest != self.files[path]:
            raise ModelRejected(
                "sha256",
                where / path,
                f"sha256 is {digest.sha256}, the signed one is {self.files[path].sha256}",
            )


def read_files(folder: Path) -> dict[str, bytes]:
    """Every file of a model, by its path in the folder, sorted; without statement and signature.

    Raises ModelRejected for what has no place in a model's folder.
    """
    files = {}
    for path in list_files(folder):
        if path not in (STATEMENT, SIGNATURE):
            files[path] = read_bounded(folder / path, MAX_FILE_BYTES)
    return files


def list_files(folder: Path) -> tuple[str, ...]:
    """The paths of all files in a model's folder, sorted. Raises ModelRejected."""
    try:
        found = [
            one.relative_to(folder).as_posix()
            for place in (folder, *(folder / name for name in _FOLDERS))
            if place == folder or (place.is_dir() and not place.is_symlink())
            for one in place.iterdir()
            if place != folder or one.name not in _FOLDERS
        ]
    except OSError as error:
        raise ModelRejected("missing", folder, f"cannot be read: {error.strerror}") from None
    if len(found) > MAX_FILES:
        raise ModelRejected("size", folder, f"{len(found)} files, {MAX_FILES} are allowed")
    for path in found:
        if path == SIGNATURE:
            continue
        if not _NAME.fullmatch(path) or not path.endswith(_SUFFIXES):
            raise ModelRejected("unknown", folder / path, "has no place in a model's folder")
    graphs = [path for path in found if path.endswith(".onnx") and "/" not in path]
    if len(graphs) != 1:
        told = ", ".join(sorted(graphs)) or "none"
        raise ModelRejected("missing", folder, f"holds {len(graphs)} graphs ({told}), not one")
    return tuple(sorted(found))


def write_signature(key: PrivateKey, statement: bytes) -> bytes:
    """The text of a signature file."""
    return f"ed25519 {key.public.raw.hex()} {key.sign(statement).hex()}\n".encode()


def read_statement(folder: Path, trusted: tuple[PublicKey, ...]) -> tuple[Statement, PublicKey]:
    """The statement of a model's folder and the trusted publisher who signed it.

    Raises ModelRejected ("unsigned", "untrusted", "signature").
    """
    where = folder / SIGNATURE
    if not where.exists():
        raise ModelRejected("unsigned", folder, "is not signed; publish it: fortress model publish")
    signed = re.fullmatch(
        rb"ed25519 ([0-9a-f]{64}) ([0-9a-f]{128})\n", read_bounded(where, _MAX_STATEMENT_BYTES)
    )
    if signed is None:
        raise ModelRejected("signature", where, "is no signature")
    raw, signature = (bytes.fromhex(part.decode()) for part in signed.groups())
    key = next((key for key in trusted if key.raw == raw), None)
    if key is None:
        told = ", ".join(one.id for one in trusted) or "none"
        raise ModelRejected(
            "untrusted",
            where,
            f"the publisher {PublicKey(raw).id} is not trusted here (trusted: {told});"
            " models.trusted names the keys",
        )
    text = read_bounded(folder / STATEMENT, _MAX_STATEMENT_BYTES)
    if not key.has_signed(text, signature):
        raise ModelRejected("signature", where, "does not belong to this statement: it was altered")
    return _parse(text, folder / STATEMENT), key


def _parse(text: bytes, path: Path) -> Statement:
    """The statement in bytes that are signed; an odd one is a publisher's mistake."""
    try:
        table: dict[str, Any] = json.loads(text)
        if table["format"] != FORMAT:
            raise ModelRejected("signature", path, f"format {table['format']!r} is not known")
        files = {
            str(one): Digest(int(size), str(sha)) for one, (size, sha) in table["files"].items()
        }
        return Statement(
            str(table["name"]),
            str(table["version"]),
            files,
            int(table["published_s"]),
            str(table["forced"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelRejected("signature", path, f"is no statement: {error!r}") from None
