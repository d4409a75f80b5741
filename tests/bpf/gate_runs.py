"""XDP programs run in the kernel on frames of ours (BPF_PROG_TEST_RUN), and facts about them."""

import ctypes
import errno
import functools
import struct
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from fortress_core import BpfError, Gate

from tests.bpf import kernel
from tests.need import go_without, need

XDP_DROP, XDP_PASS = 1, 2
SMALLEST = 14  # octets: the kernel makes no packet of less than a link header
_TEST_RUN, _OBJECT_FACTS = 10, 15


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program returned, and nanoseconds for one of its runs."""

    action: int
    ns: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the kernel made of a program: instructions it has, and how many its check looked at."""

    instructions: int
    verified: int


def run(program_fd: int, frame: bytes, repeat: int = 1) -> Ran:
    """Run an XDP program on a frame; OSError if the kernel makes no packet of it."""
    octets = ctypes.create_string_buffer(frame, len(frame))
    words = (program_fd, 0, len(frame), 0, ctypes.addressof(octets), 0, repeat, 0)
    attributes = ctypes.create_string_buffer(struct.pack("<IIIIQQII40x", *words), 80)
    kernel.bpf(_TEST_RUN, attributes)
    action, ns = struct.unpack_from("<I28xI", attributes, 4)
    return Ran(action, ns)


def facts(program_fd: int) -> Facts:
    """Instructions of a program, from struct bpf_prog_info (octets 20 and 216)."""
    info = ctypes.create_string_buffer(256)
    words = (program_fd, len(info), ctypes.addressof(info))
    kernel.bpf(_OBJECT_FACTS, ctypes.create_string_buffer(struct.pack("<IIQ", *words), 16))
    octets, verified = struct.unpack_from("<I192xI", info, 20)
    return Facts(octets // 8, verified)


def need_gate() -> None:
    """Skip where no kernel program can be loaded; fail where this machine must be able to."""
    __tracebackhide__ = True
    need("bpf")
    if missing := _refused():
        go_without("bpf", missing)


@functools.cache
def _refused() -> str:
    try:
        Gate.load(entries=1, prefixes=1).close()
    except BpfError as error:
        if error.code != errno.EPERM:  # what the verifier refuses is a failure everywhere
            raise
        return str(error)
    return ""


def compiled(source: Path, folder: Path) -> Path:
    """The object file of a kernel program of the tests."""
    out = folder / f"{source.stem}.o"
    include = Path("/usr/include") / str(sysconfig.get_config_var("MULTIARCH"))
    flags = ("-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", f"-I{include}")
    subprocess.run(["clang-14", *flags, "-c", source, "-o", out], check=True)
    return out
