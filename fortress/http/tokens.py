# SPDX-License-Identifier: Apache-2.0
"""The secret that lets somebody change something: made at first start, never a default."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from fortress.errors import ConfigError, OutputError

SHORTEST = 32  # characters; what we make has 43 of base64, 256 bits
FAILURES = 5  # wrong tokens that an address may send at once
REFILL_S = 12.0  # and one more after each so many seconds
_ADDRESSES = 256  # that are remembered; the oldest gives way


def token(path: Path) -> str:
    """The secret in `path`, written there with mode 0600 when there is no such file yet.

    ConfigError when others can read the file, or its content is no token.
    """
    _make(path)
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            secret = file.read(4096).strip()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if mode & 0o027:
        raise ConfigError(f"{path}: mode {mode:04o} is too open for a secret: chmod 600 {path}")
    if len(secret) < SHORTEST or not secret.isascii() or len(secret.split()) != 1:
        raise ConfigError(
            f"{path}: holds no token of at least {SHORTEST} characters: remove the file and start"
            " again, a new one is made"
        )
    return secret.decode("ascii")


def is_same(one: str, other: str) -> bool:
    """Whether two secrets are the same, in a time that does not tell how far they agree."""
    return hmac.compare_digest(one.encode(), other.encode())


class Failures:
    """Counts wrong tokens: an address that sends too many is not listened to for a while."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._monotonic_s = monotonic_s
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # failures, when

    def wait_s(self, address: str) -> float:
        """Seconds until a token of `address` is looked at again; 0 = now."""
        return max(0.0, (self._now(address) - FAILURES + 1) * REFILL_S)

    def add(self, address: str) -> None:
        """Take note of a wrong token."""
        self.count += 1
        self._spent[address] = (self._now(address) + 1, self._monotonic_s())
        self._spent.move_to_end(address)
        if len(self._spent) > _ADDRESSES:
            self._spent.popitem(last=False)

    def _now(self, address: str) -> float:
        failures, when_s = self._spent.get(address, (0.0, 0.0))
        return max(0.0, failures - (self._monotonic_s() - when_s) / REFILL_S)


def _make(path: Path) -> None:
    """Write a new secret beside and link it into place: never half a file, never over another's."""
    if path.exists():
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.unlink(missing_ok=True)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(fd)
        try:
            os.link(beside, path)
        except FileExistsError:
            pass  # somebody was faster: theirs counts
        finally:
            beside.unlink()
    except OSError as error:
        raise OutputError(f"{path}: the token cannot be written: {error.strerror}") from error
