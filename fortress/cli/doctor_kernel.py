# SPDX-License-Identifier: Apache-2.0
"""What `fortress doctor` tells of the kernel: version, capabilities, BPF and XDP, energy."""

from __future__ import annotations

import errno
import importlib
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fortress.cli.check import Check
from fortress.errors import InputError
from fortress.kernel.capabilities import CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON, held

if TYPE_CHECKING:
    from fortress.config import Settings

LEAST = (6, 1)  # Debian 12's, the oldest one that Fortress is tried on


def kernel(_: Settings) -> Check:
    """Its version."""
    release = platform.release()
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is None or (int(found[1]), int(found[2])) < LEAST:
        what = f"Linux {release} is older than {LEAST[0]}.{LEAST[1]}, the oldest tried"
        return Check("kernel", "note", what, "blocks by nftables and capture may work all the same")
    return Check("kernel", "ok", f"Linux {release}")


def capabilities(_: Settings) -> Check:
    """Those of what Fortress uses that this process has."""
    wanted = {
        "NET_ADMIN": CAP_NET_ADMIN,
        "NET_RAW": CAP_NET_RAW,
        "BPF": CAP_BPF,
        "PERFMON": CAP_PERFMON,
    }
    names = [name for name, bit in wanted.items() if bit in held()]
    if not names:
        return Check("capabilities", "note", "none: the guard has what the agent needs")
    return Check("capabilities", "ok", f"CAP_{', CAP_'.join(names)}")


def btf(_: Settings) -> Check:
    """Whether the kernel describes its types."""
    if Path("/sys/kernel/btf/vmlinux").exists():
        return Check("BTF", "ok", "the kernel describes its types")
    return Check("BTF", "note", "the kernel has none; Fortress's programs do without it")


def bpf(_: Settings) -> Check:
    """Whether the kernel takes the tap."""
    core = importlib.import_module("fortress_core")
    if reason := core.bpf_available():
        return Check("BPF", "note", reason, "apt-get install clang-14 libbpf-dev, then ./dev setup")
    tap = importlib.import_module("fortress_core.tap")
    try:
        tap.Tap.load(shunted=16).close()
    except core.BpfError as error:
        return _not_taken("BPF", "tap", error)
    return Check("BPF", "ok", "the kernel takes the tap: elephants are counted in the kernel")


def xdp(_: Settings) -> Check:
    """Whether the kernel takes the gate."""
    core = importlib.import_module("fortress_core")
    if core.bpf_available():
        return Check("XDP", "note", "needs BPF")
    try:
        core.Gate.load(entries=16, prefixes=16).close()
    except core.BpfError as error:
        return _not_taken("XDP", "gate", error)
    return Check("XDP", "ok", "the kernel takes the gate (guard.toml: backends)")


def energy(settings: Settings) -> Check:
    """Whether the processor tells what it draws, or the agent estimates."""
    from fortress.services.powercap import rapl

    if settings.energy.source == "off":
        return Check("energy", "note", "switched off", 'energy.source = "auto"')
    estimates = settings.energy.source != "rapl" and settings.energy.busy_watts > 0
    instead = "the agent estimates" if estimates else "nothing is told"
    try:
        domains = rapl.find()
    except InputError as error:
        found = any(rapl.POWERCAP.glob("intel-rapl:*"))
        how = "start `fortress powercap run` as root" if found else ""
        return Check("energy", "note", f"{str(error).partition(': run')[0]}; {instead}", how)
    rapl.close(domains)
    names = ", ".join(domain.name for domain in domains)
    return Check("energy", "ok", f"RAPL tells {names}, by `fortress powercap run`")


def _not_taken(name: str, program: str, error: Any) -> Check:
    """One line of a core's BpfError: the library's words, which fill a screen, are left out."""
    reason = error.what.partition(": libbpf:")[0].rpartition("/")[2]
    how = error.remedy
    if error.code in (errno.EPERM, errno.EACCES):
        reason = f"the {program} may not be loaded by this user ({os.strerror(error.code)})"
        how = "the guard does it as root; run doctor as root to try it"
    return Check(name, "note", reason, how)
