"""What the figures were taken on."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def facts() -> dict[str, str]:
    """Processor, memory, kernel, compilers, load and date, as text."""
    cpu = _value(Path("/proc/cpuinfo"), "model name")
    memory_gib = int(_value(Path("/proc/meminfo"), "MemTotal").split()[0]) / 2**20
    gcc = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True).stdout.strip()
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "revision": revision,
        "processor": f"{cpu}, {os.cpu_count()} CPUs",
        "memory": f"{memory_gib:.0f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "gcc": gcc,
        "load when it began": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _value(path: Path, key: str) -> str:
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"
