# SPDX-License-Identifier: Apache-2.0
"""Keys of an installation (Ed25519) and the signatures that they make and check.

libsodium does the arithmetic, by PyNaCl (decision 0016).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fortress.disk import sync_folder, write_synced
from fortress.errors import ConfigError, OutputError
from fortress.inference.files import read_bounded
from fortress.inference.rejection import ModelRejected

if TYPE_CHECKING:
    from nacl.signing import SigningKey

_PUBLIC, _PRIVATE = "fortress-ed25519-public", "fortress-ed25519-private"
_MOST_BYTES = 1024
_OTHERS_MAY = 0o077  # the bits by which somebody else may use a private key
_SIGNED = b"fortress model statement\n"  # what is signed here can be taken for nothing else


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A publisher, known by 32 bytes; `id` is short enough to be read out."""

    raw: bytes

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the key's hash."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def has_signed(self, statement: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's, over these bytes."""
        from nacl.exceptions import BadSignatureError
        from nacl.exceptions import ValueError as NaClValueError
        from nacl.signing import VerifyKey

        try:
            VerifyKey(self.raw).verify(_SIGNED + statement, signature)
        except (BadSignatureError, NaClValueError):
            return False
        return True


class PrivateKey:
    """What an installation signs with; nothing prints it."""

    def __init__(self, seed: bytes) -> None:
        from nacl.signing import SigningKey

        self._key: SigningKey = SigningKey(seed)

    @property
    def public(self) -> PublicKey:
        """The half that is told to everybody."""
        return PublicKey(bytes(self._key.verify_key))

    def sign(self, statement: bytes) -> bytes:
        """The signature over a statement, 64 bytes."""
        return self._key.sign(_SIGNED + statement).signature


def make_keys(private: Path) -> PublicKey:
    """Make a pair of keys: the file `private` that its owner alone can read, and beside it `.pub`.

    Raises OutputError; a key that is there is never written over.
    """
    public = private.with_suffix(".pub")
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise OutputError(f"{path}: is there already; keys are never written over")
    seed = os.urandom(32)
    key = PrivateKey(seed).public
    try:
        private.parent.mkdir(parents=True, exist_ok=True)
        write_synced(private, f"{_PRIVATE} {seed.hex()}\n".encode(), 0o600)
        write_synced(public, f"{_PUBLIC} {key.raw.hex()}\n".encode())
        sync_folder(private.parent)
    except OSError as error:
        raise OutputError(f"{private}: cannot be written: {error.strerror}") from None
    return key


def read_private(path: Path) -> PrivateKey:
    """The key in a file that nobody else may read. Raises ConfigError with the remedy."""
    raw = _read(path, _PRIVATE, "make one with fortress model keygen")
    if path.stat().st_mode & _OTHERS_MAY:
        raise ConfigError(f"{path}: others may use this private key; chmod 600 {path}")
    return PrivateKey(raw)


def read_public(path: Path) -> PublicKey:
    """The key of a publisher. Raises ConfigError."""
    return PublicKey(_read(path, _PUBLIC, "models.trusted names files that keygen made (.pub)"))


def read_trusted(paths: Iterable[Path]) -> tuple[PublicKey, ...]:
    """The keys of all trusted publishers. Raises ConfigError."""
    return tuple(dict.fromkeys(read_public(path) for path in paths))


def _read(path: Path, word: str, remedy: str) -> bytes:
    try:
        text = read_bounded(path, _MOST_BYTES).decode("ascii", "replace")
    except ModelRejected as error:
        raise ConfigError(f"{error}; {remedy}") from None
    found = re.fullmatch(rf"{word} ([0-9a-f]{{64}})\s*", text)
    if found is None:
        raise ConfigError(f"{path}: is no {word} key; {remedy}")
    return bytes.fromhex(found[1])
