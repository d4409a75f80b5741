"""The native test programs, built once in each of their kinds below `.cache/native`."""

import fcntl
import functools
import subprocess
from pathlib import Path

from tests.need import ROOT

KINDS = {
    "plain": ("-DFX_WERROR=ON",),
    "sanitized": ("-DFX_WERROR=OFF", "-DFX_SANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug"),
    "aarch64": (
        "-DFX_WERROR=ON",
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc",
        "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu",
        "-DFX_WITH_ZLIB=OFF",
        "-DFX_WITH_ZSTD=OFF",
    ),
}


@functools.cache
def built(kind: str) -> Path:
    """Return the folder with the native programs of a kind, brought up to date."""
    folder = ROOT / ".cache" / "native" / kind
    folder.mkdir(parents=True, exist_ok=True)
    always = ("-DFX_PYTHON=OFF", "-DFX_TESTS=ON", "-G", "Ninja")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # `./dev test` runs two pytests at a time
        run("cmake", "-S", ROOT / "core_ext", "-B", folder, *always, *KINDS[kind])
        run("cmake", "--build", folder)
    return folder / "native"


def run(*words: str | Path) -> str:
    """Return what the program printed; AssertionError with its words when it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
