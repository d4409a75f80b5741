# SPDX-License-Identifier: Apache-2.0
"""The secret by which this installation hashes devices and addresses: made once, known to nobody.

What was learnt of a device is found again after a restart, and nobody outside can choose addresses
that fall into one place of a table.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from fortress.errors import OutputError

FILE = "hash.key"
_BYTES = 8


def own_secret(state_dir: Path) -> int:
    """The secret in `state_dir`, 64 bits; a new one where there is none, or none of this size.

    Raises OutputError when it can neither be read nor written.
    """
    path = state_dir / FILE
    try:
        with contextlib.suppress(FileNotFoundError):
            kept = path.read_bytes()
            if len(kept) == _BYTES:
                return int.from_bytes(kept, "little")
        state_dir.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{FILE}.{os.getpid()}.part")
        part.unlink(missing_ok=True)
        made = secrets.token_bytes(_BYTES)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(made)
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from None
    return int.from_bytes(made, "little")
