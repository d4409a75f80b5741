# SPDX-License-Identifier: Apache-2.0
"""Kernel programs of the wheel, loaded: programs and maps by name, errors that name the remedy."""

import errno
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from fortress_core import _native
from fortress_core.closing import Closing

_bpf: ModuleType | None
try:
    from fortress_core import _bpf

    _absent = ""
except ImportError as reason:
    _bpf = None
    _absent = str(reason)

_REMEDIES = {
    errno.EPERM: "needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, as `fortress guard` has them when "
    "it starts; in a container also a seccomp profile that lets bpf(2) through",
    errno.EACCES: "needs CAP_PERFMON beside CAP_BPF and CAP_NET_ADMIN: without it the kernel takes "
    "no program that compares pointers, and puts barriers against speculation into the rest",
    errno.ENOENT: "reinstall fortress-core: this build lacks it",
    errno.E2BIG: "make the map smaller",
    errno.ENOMEM: "make the map smaller, or give the process more memory",
    errno.ENOSYS: "needs a kernel with CONFIG_BPF_SYSCALL, Linux 5.19 or newer",
    errno.EINVAL: "needs Linux 5.19 or newer",
}


class BpfError(Exception):
    """A kernel program or map did not do what it should: `what` went wrong, the `remedy`."""

    def __init__(self, what: str, remedy: str, code: int = 0) -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.what = what
        self.remedy = remedy
        self.code = code  # errno, 0 where there is none


def bpf_available() -> str:
    """Why kernel programs cannot be loaded by this build, "" where they can be."""
    if _bpf is not None:
        return ""
    if "libbpf" in _absent or "libelf" in _absent:
        return f"{_absent} (apt-get install libbpf1 libelf1)"
    told = Path(str(_native.__file__)).parent / "bpf_off.txt"
    built_without = told.read_text(encoding="utf-8").strip() if told.exists() else _absent
    return f"fortress-core was built without BPF: {built_without}, then build it again"


def extension() -> Any:
    """The module _bpf with its `lib` and `ffi`; BpfError says why there is none."""
    if _bpf is None:
        raise BpfError("no kernel programs here", bpf_available())
    return _bpf


def check(code: int, remedies: Mapping[int, str] = {}) -> int:
    """`code`, which is a count or a descriptor; BpfError with the library's words below 0.

    `remedies` by errno go before those that hold everywhere.
    """
    if code >= 0:
        return code
    module = extension()
    words = " ".join(module.ffi.string(module.lib.fx_last_error()).decode(errors="replace").split())
    raise BpfError(words, remedies.get(-code) or _REMEDIES.get(-code, ""), -code)


class BpfObject(Closing):
    """A loaded object file: its programs and maps live until it is closed."""

    def __init__(self, pointer: Any, name: str) -> None:
        self._pointer = pointer
        self.name = name

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        entries: Mapping[str, int] = {},
        constants: Mapping[str, int] = {},
    ) -> Self:
        """An object (NAME is bpf/NAME.bpf.o) with maps of these sizes, `const volatile` so set."""
        module = extension()
        path = Path(str(module.__file__)).parent / "bpf" / f"{name}.bpf.o"
        if isinstance(name, Path):
            path = name
        slot = module.ffi.new("fx_bpf **")
        check(module.lib.fx_bpf_open(str(path).encode(), slot))
        opened = cls(slot[0], str(name))
        try:
            for map_name, count in entries.items():
                check(module.lib.fx_bpf_set_entries(opened._pointer, map_name.encode(), count))
            for constant, value in constants.items():
                check(module.lib.fx_bpf_set_constant(opened._pointer, constant.encode(), value))
            check(module.lib.fx_bpf_load(opened._pointer))
        except BaseException:
            opened.close()
            raise
        return opened

    @property
    def pointer(self) -> Any:
        """The library's fx_bpf, for verbs of one program."""
        return self._open()

    def program_fd(self, name: str) -> int:
        """The descriptor of a program; it ends with the object."""
        return check(extension().lib.fx_bpf_program_fd(self._open(), name.encode()))

    def map_fd(self, name: str) -> int:
        """The descriptor of a map; it ends with the object."""
        return check(extension().lib.fx_bpf_map_fd(self._open(), name.encode()))

    def close(self) -> None:
        """Give programs and maps back; what is attached or duplicated lives on in the kernel."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            extension().lib.fx_bpf_close(pointer)

    def _open(self) -> Any:
        if self._pointer is None:
            raise ValueError(f"the kernel program {self.name} is closed")
        return self._pointer
