# SPDX-License-Identifier: Apache-2.0
"""Gives up what the guard does not need: capabilities, new privileges, writing to files elsewhere.

System calls are the unit's and container's to filter (seccomp): a filter in here would bind this
library's and the interpreter's versions, not the guard.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from fortress.errors import GuardError
from fortress.kernel.capabilities import CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON, held

KEPT = (CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF)

_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 23, 24, 38, 47
_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x2008_0522
_MOST_CAPABILITIES = 64

# linux/landlock.h; the numbers of the system calls are the same on every architecture we run on.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK = 1 << 5, 1 << 7, 1 << 8, 1 << 9
_ALL_OF_ABI_1, _REFER, _TRUNCATE = (1 << 13) - 1, 1 << 13, 1 << 14
_TCP = 3  # bind and connect, from ABI 4

_libc = ctypes.CDLL(None, use_errno=True)


def confine(writable: Iterable[Path]) -> tuple[str, ...]:
    """Gives up what is not needed for good; returns what holds from now on, in words.

    CAP_PERFMON stays, where it was, until `settle`: without it the kernel takes no program that
    compares pointers, and with CAP_BPF it may read all of the kernel's memory.

    GuardError when a capability that the guard needs is not there to be kept.
    """
    permitted = held("Prm")
    missing = [name for name, bit in _NAMES.items() if bit in KEPT and bit not in permitted]
    if missing:
        raise GuardError(
            f"the guard needs {', '.join(missing)}",
            "run it as root, or name them in its unit's AmbientCapabilities=",
        )
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    told = ["no_new_privs"]
    version = _landlock(writable)
    told.append(f"landlock {version}" if version else "no landlock in this kernel")
    for bit in range(_MOST_CAPABILITIES):
        if bit not in KEPT and _prctl(_PR_CAPBSET_READ, bit, missing_is=0) == 1:
            with suppress(PermissionError):  # without CAP_SETPCAP; no_new_privs makes it idle
                _prctl(_PR_CAPBSET_DROP, bit)
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    _set_capabilities(sum(1 << bit for bit in (*KEPT, CAP_PERFMON) if bit in permitted))
    return (*told, *(name for name, bit in _NAMES.items() if bit in KEPT))


def allow_locked_memory(bytes_: int) -> None:
    """Raises the limit of locked memory, in which frames of mirror ports lie, to so much; to what
    the unit allows (LimitMEMLOCK=) where this process may not raise that.
    """
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (bytes_, bytes_))
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))


def settle() -> None:
    """Gives up what only loading of programs needed."""
    _set_capabilities(sum(1 << bit for bit in KEPT))


_NAMES = {"CAP_NET_ADMIN": CAP_NET_ADMIN, "CAP_NET_RAW": CAP_NET_RAW, "CAP_BPF": CAP_BPF}


def _set_capabilities(mask: int) -> None:
    """Effective and permitted become the mask, inheritable nothing."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    low, high = mask & 0xFFFF_FFFF, mask >> 32
    data = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0))
    if _libc.capset(header, data):
        number = ctypes.get_errno()
        raise GuardError(f"capset: {os.strerror(number)}", "see the unit's CapabilityBoundingSet=")


def _prctl(option: int, value: int, missing_is: int | None = None) -> int:
    result: int = _libc.prctl(option, value, 0, 0, 0)
    if result >= 0:
        return result
    number = ctypes.get_errno()
    if missing_is is not None and number == errno.EINVAL:
        return missing_is
    raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def _landlock(writable: Iterable[Path]) -> int:
    """Everything may be read, nothing executed, and files made only in these folders; returns the
    version of Landlock's interface, 0 where the kernel has none.
    """
    version: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    if version < 1:
        return 0
    handled = _ALL_OF_ABI_1
    handled |= _REFER if version >= 2 else 0
    handled |= _TRUNCATE if version >= 3 else 0
    attributes = struct.pack("=QQ", handled, _TCP) if version >= 4 else struct.pack("=Q", handled)
    ruleset = _landlock_call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    try:
        _allow(ruleset, Path("/"), _READ_FILE | _READ_DIR)
        made = _WRITE_FILE | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _READ_FILE
        for folder in writable:
            _allow(ruleset, folder, (made | _READ_DIR | _TRUNCATE) & handled)
        _landlock_call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, folder: Path, access: int) -> None:
    parent = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", access, parent)
        _landlock_call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(parent)


def _landlock_call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise GuardError(f"landlock: {os.strerror(error)}", "report this kernel's version")
    return result
