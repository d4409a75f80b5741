"""What a test needs from the machine: a missing thing is a skip that says how to get it.

`FORTRESS_REQUIRE=netns,postgres` names what this machine must have: there it is a failure.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
RIVALS_PYTHON = ROOT / ".cache" / "rivals" / "bin" / "python"
SHARED = Path(os.environ.get("FORTRESS_SHARED", ROOT.parent / "shared"))


def need(*names: str) -> None:
    """Return when the machine has all of `names`; else skip the test, or fail it where required."""
    __tracebackhide__ = True
    for name in names:
        missing = lack(name)
        if missing is not None:
            go_without(name, missing)


def go_without(name: str, missing: str) -> NoReturn:
    """Skip the test for want of `name`, or fail it where that is required."""
    __tracebackhide__ = True
    message = f"needs {name}: {missing}"
    if name in os.environ.get("FORTRESS_REQUIRE", "").split(","):
        pytest.fail(f"{message} (FORTRESS_REQUIRE says this machine has it)", pytrace=False)
    pytest.skip(message, allow_module_level=True)


@functools.cache
def lack(name: str) -> str | None:
    """Return what is missing for `name` and how to get it, None when all is there."""
    return NEEDS[name]()


def programs(*names: str, package: str) -> Callable[[], str | None]:
    """Return a look for programs on the path; `package` is the Debian package that brings them."""

    def look() -> str | None:
        absent = [name for name in names if shutil.which(name) is None]
        return f"no {', '.join(absent)} (apt-get install {package})" if absent else None

    return look


def bpf() -> str | None:
    """Look for the compiler of kernel programs, and for a core that was built with them."""
    from fortress_core import bpf_available  # not every run of the tests wants the core

    look = programs("clang-14", "llvm-objdump-14", package="clang-14 llvm-14 libbpf-dev")
    return look() or bpf_available() or None


def shared() -> str | None:
    """Look for the shared captures and flows beside the checkout."""
    if (SHARED / "data" / "MANIFEST.md").is_file():
        return None
    return f"no {SHARED}/data (put the shared data beside the checkout or set FORTRESS_SHARED)"


def netns() -> str | None:
    """Look whether this user may make a network namespace with a veth pair in it."""
    if (absent := programs("ip", package="iproute2")()) is not None:
        return absent
    name = f"fortress-need-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"cannot make network namespaces: {made.stderr.strip()} (run as root)"
    try:
        veth = ["ip", "-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1"]
        pair = subprocess.run(veth, capture_output=True, text=True, check=False)
        return f"cannot make veth: {pair.stderr.strip()}" if pair.returncode else None
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def postgres() -> str | None:
    """Look for PostgreSQL's server programs in Debian's place."""
    return None if postgres_programs() else "no PostgreSQL server (apt-get install postgresql-15)"


def postgres_programs() -> Path | None:
    """Return the folder of the newest PostgreSQL server's programs, None without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def podman() -> str | None:
    """Look for podman and what makes a base image without a container registry; needs root."""
    if os.geteuid():
        return "rootful podman (run as root)"
    return programs("podman", "mmdebstrap", package="podman runc netavark mmdebstrap")()


def aarch64() -> str | None:
    """Look for a cross compiler and a user-mode emulator for aarch64."""
    look = programs(
        "aarch64-linux-gnu-gcc",
        "qemu-aarch64",
        package="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user",
    )
    return look()


def torch() -> str | None:
    """Look for PyTorch, with which sequence models are made."""
    return None if find_spec("torch") else "no PyTorch (FORTRESS_TORCH_INDEX=… ./dev test)"


def rivals() -> str | None:
    """Look for the environment of the rivals' own Python packages, NFStream among them."""
    return None if RIVALS_PYTHON.exists() else f"no {RIVALS_PYTHON} (./dev test makes it)"


def fuzzer() -> str | None:
    """Look for clang with libFuzzer's and the sanitizers' run-time."""
    if (absent := programs("clang-14", package="clang-14 libclang-rt-14-dev")()) is not None:
        return absent
    runtimes = Path("/usr/lib/llvm-14/lib/clang").glob("*/lib/linux/libclang_rt.fuzzer-*.a")
    return None if any(runtimes) else "no libFuzzer (apt-get install libclang-rt-14-dev)"


NEEDS: dict[str, Callable[[], str | None]] = {
    "aarch64": aarch64,
    "bpf": bpf,
    "ethtool": programs("ethtool", package="ethtool"),
    "fuzzer": fuzzer,
    "home": programs(
        *("ping", "curl", "dig", "dnsmasq"), package="iputils-ping curl bind9-dnsutils dnsmasq-base"
    ),
    "lab": programs(
        *("nmap", "hping3", "arpspoof", "hydra", "curl", "nginx", "sshd", "vsftpd", "dnsmasq"),
        *("dig", "arping", "iperf3", "tcpdump", "Xvfb", "freerdp-shadow-cli", "winpr-hash"),
        package="the list `lab` in ./dev; ./dev lab list installs it",
    ),
    "netns": netns,
    "nft": programs("nft", package="nftables"),
    "podman": podman,
    "postgres": postgres,
    "rivals": rivals,
    "root": lambda: "run as root" if os.geteuid() else None,
    "shared": shared,
    "systemd": programs("systemd-analyze", package="systemd"),
    "torch": torch,
    "tshark": programs("tshark", package="tshark"),
    "valgrind": programs("valgrind", package="valgrind"),
    "vm": programs(
        *("qemu-system-x86_64", "busybox", "cpio", "depmod"),
        package="qemu-system-x86 busybox-static cpio kmod",
    ),
    "zstd": programs("zstd", package="zstd"),
}
