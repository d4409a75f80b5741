# SPDX-License-Identifier: Apache-2.0
"""Every error that Fortress raises on purpose.

    FortressError            something a person can put right; the command ends with exit code 1
    ├── UsageError           the command was asked for something that makes no sense: exit code 2
    ├── ConfigError          a configuration file, key or value is wrong: exit code 2
    ├── InputError           a capture, list or file cannot be read
    ├── OutputError          a file or socket cannot be written
    │   ├── BusyError        somebody else is at it already: exit code 75
    │   └── StoreError       the database cannot be opened, read or written
    ├── ModelError           a model is missing, altered or does not fit this program
    └── GuardError           the guard cannot be reached, or it refuses; says what and the remedy

A message names the file, line, key or address at fault and what to do about it.
"""

from __future__ import annotations


class FortressError(Exception):
    """Something a person can put right; the message says what and where."""

    exit_code = 1


class UsageError(FortressError):
    """The command was asked for something that makes no sense."""

    exit_code = 2


class ConfigError(FortressError):
    """A configuration file, key or value is wrong."""

    exit_code = 2


class InputError(FortressError):
    """A capture, list or file cannot be read."""


class OutputError(FortressError):
    """A file or socket cannot be written."""


class BusyError(OutputError):
    """Somebody else is at it already; trying again later may do."""

    exit_code = 75  # sysexits.h: EX_TEMPFAIL


class StoreError(OutputError):
    """The database cannot be opened, read or written."""


class ModelError(FortressError):
    """A model is missing, altered or does not fit this program."""


class GuardError(FortressError):
    """The guard cannot be reached, or it refuses what it was asked for."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}: {remedy}" if remedy else what)
        self.what = what
        self.remedy = remedy
