"""Compiles the bench's C programs into .cache, with the core's optimization and baseline x86-64."""

import hashlib
import subprocess
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
CORE = ROOT / "core_ext"
OUT = ROOT / ".cache" / "bench" / "bin"
FLAGS = (
    "-O3",
    "-g",
    "-std=gnu11",
    "-Wall",
    "-Wextra",
    "-Werror",
    f"-I{CORE / 'include'}",
    f"-I{CORE / 'src'}",
)


def compiled(name: str, *extra: str, sources: tuple[Path, ...] = ()) -> Path:
    """The program bench/<name>.c, built if it or what it includes changed."""
    main = BENCH / f"{name}.c"
    mixed = hashlib.sha256(repr((FLAGS, extra)).encode())
    for path in (
        main,
        *sources,
        *sorted((CORE / "include").rglob("*.*")),
        *sorted((CORE / "src").glob("*.h")),
    ):
        mixed.update(path.read_bytes())
    out = OUT / f"{name}-{mixed.hexdigest()[:16]}"
    if not out.exists():
        OUT.mkdir(parents=True, exist_ok=True)
        partial = out.with_suffix(".partial")
        subprocess.run(["gcc", *FLAGS, main, *sources, "-o", partial, *extra], check=True)
        partial.rename(out)
    return out
