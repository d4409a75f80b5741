# SPDX-License-Identifier: Apache-2.0
"""What is wrong with captures, in words: those that cannot be opened, and those that break off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fortress_core import CaptureError, Damage, StreamOptions, open_capture

from fortress.errors import InputError

STANDARD_INPUT = "-"
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # gzip (RFC 1952), zstd (RFC 8878)
_ONLY_OPEN = StreamOptions(flow_budget_bytes=1 << 20, keep_intervals=False)


def openable(paths: Sequence[str]) -> tuple[list[str], tuple[Damage, ...]]:
    """Which of the captures can be opened, and what is wrong with the others.

    A single one is not looked at, nor are pipes: what is read of them is gone. InputError when
    there is nothing left.
    """
    if len(paths) == 1:
        return list(paths), ()
    found, missed = [], []
    for path in paths:
        fault = _fault(path)
        if fault is None:
            found.append(path)
        else:
            missed.append(Damage(path, 0, fault.message))
    if not found:
        raise InputError("\n".join(map(told, missed)))
    return found, tuple(missed)


def told(damage: Damage) -> str:
    """Which file is damaged, where and how; a file that could not be opened has no where."""
    name, message = name_of(damage.path), damage.message.removeprefix(f"{damage.path}: ")
    if not damage.offset:
        return f"{name}: {message}"
    return f"{name}: damaged at byte {damage.offset}{_counted(damage.path)}: {message}"


def refused(error: CaptureError) -> InputError:
    """The error of a command whose capture cannot be read at all."""
    return InputError(told(Damage(error.path, error.offset, error.message)))


def name_of(path: str) -> str:
    """The capture as people call it."""
    return "standard input" if path == STANDARD_INPUT else path


def _fault(path: str) -> CaptureError | None:
    if path == STANDARD_INPUT or (Path(path).exists() and not _is_plain(path)):
        return None
    try:
        open_capture(
            [path], options=_ONLY_OPEN, batch_packets=1, flow_columns=(), packet_columns=()
        ).close()
    except CaptureError as error:
        return error
    return None


def _is_plain(path: str) -> bool:
    return Path(path).is_file() or Path(path).is_dir()


def _counted(path: str) -> str:
    """What the offset counts: the reader sees what a packed file unpacks to."""
    if not _is_plain(path):
        return " (unpacked, if it came packed)"
    with Path(path).open("rb") as file:
        return " of what it unpacks to" if file.read(4).startswith(_PACKED) else ""
