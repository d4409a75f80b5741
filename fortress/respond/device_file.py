# SPDX-License-Identifier: Apache-2.0
"""The file of device rules: whole, written beside and renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fortress.devices.policy import DeviceRule
from fortress.errors import GuardError
from fortress.respond.plain import Misread, plain, read

_MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class _Kept:
    fortress_devices: int
    rules: tuple[DeviceRule, ...]


class DeviceFile:
    """Rules by MAC, kept between runs of the guard."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.troubles: list[str] = []

    def load(self) -> dict[str, DeviceRule]:
        """The rules that were kept; a damaged file is set aside and told."""
        try:
            with self._file.open("rb") as opened:
                data = opened.read(_MOST_BYTES)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise GuardError(f"{self._file}: {error.strerror}", "the guard must own it") from error
        try:
            kept = read(_Kept, json.loads(data))
            if kept.fortress_devices != 1:
                raise Misread(f"fortress_devices: version {kept.fortress_devices}")
        except (ValueError, RecursionError) as error:
            aside = self._file.with_suffix(".damaged")
            with suppress(OSError):
                self._file.rename(aside)
            self.troubles.append(
                f"{self._file} was damaged ({str(error)[:200]}): set aside as {aside.name}, no"
                " device has a policy"
            )
            return {}
        return {rule.mac: rule for rule in kept.rules}

    def save(self, rules: Mapping[str, DeviceRule]) -> None:
        """Keeps these and no others; GuardError when they cannot be written."""
        beside = self._file.with_suffix(".new")
        text = json.dumps(plain(_Kept(1, tuple(rules.values()))), ensure_ascii=False)
        try:
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(opened.fileno())
            beside.rename(self._file)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            raise GuardError(
                f"{self._file}: {error.strerror}", "make room, or let the guard own its folder"
            ) from error
