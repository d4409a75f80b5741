# SPDX-License-Identifier: Apache-2.0
"""Which capabilities this process has, as the kernel tells them in /proc."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

# linux/capability.h: the ones of which Fortress uses something.
CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON, CAP_BPF = 12, 13, 38, 39


def held(kind: Literal["Eff", "Prm"] = "Eff") -> frozenset[int]:
    """Numbers of the capabilities in force, or of those (`Prm`) that it may put in force."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"Cap{kind}:"):
            mask = int(line.split()[1], 16)
            return frozenset(bit for bit in range(mask.bit_length()) if mask >> bit & 1)
    return frozenset()
