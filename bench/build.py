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


def compiled(name: str, *libraries: str | Path) -> Path:
    """The program bench/<name>.c, built if it, a header of the core or a library changed."""
    main = BENCH / f"{name}.c"
    mixed = hashlib.sha256(repr((FLAGS, libraries)).encode())
    headers = sorted(
        path for folder in ("include", "src") for path in (CORE / folder).rglob("*.[hd]*")
    )
    for path in (main, *headers, *(Path(library) for library in libraries)):
        if path.is_file():
            mixed.update(path.read_bytes())
    out = OUT / f"{name}-{mixed.hexdigest()[:16]}"
    if not out.exists():
        OUT.mkdir(parents=True, exist_ok=True)
        partial = out.with_suffix(".partial")
        subprocess.run(["gcc", *FLAGS, main, "-o", partial, *libraries], check=True)
        partial.rename(out)
    return out


def core_driver() -> Path:
    """bench/core_driver.c with the core's own library, which CMake builds as it ships."""
    folder = ROOT / ".cache" / "bench" / "core"
    options = ("-G", "Ninja", "-DFX_PYTHON=OFF")
    if not (folder / "build.ninja").exists():
        _quietly("cmake", "-S", str(CORE), "-B", str(folder), *options)
    _quietly("cmake", "--build", str(folder), "--target", "fx", "--parallel", "2")
    return compiled("core_driver", folder / "libfx.a", "-lz", "-lzstd", "-lm")


def _quietly(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
