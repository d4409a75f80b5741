"""The core builds without what kernel programs need, says so, and says so again when asked."""

import shutil
import subprocess
import sys
from pathlib import Path

import fortress_core
import fortress_core._native
import pytest
from fortress_core import bpf_available

from tests.need import ROOT, need

PACKAGE = Path(str(fortress_core.__file__)).parent
NATIVE = Path(str(fortress_core._native.__file__))
ASK = "import fortress_core; print(fortress_core.bpf_available())"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with every program of /usr/bin but compilers for BPF, as the only path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in Path("/usr/bin").iterdir():
        if not program.name.startswith(("clang", "llvm-strip")):
            (folder / program.name).symlink_to(program)
    return folder


def configured(build: Path, tools: Path, *words: str, **environment: str) -> str:
    """What cmake warns of when it makes a build folder."""
    command = ["cmake", "-S", ROOT / "core_ext", "-B", build, "-G", "Ninja", *words]
    command.append(f"-DPython_EXECUTABLE={sys.executable}")
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": str(tools), **environment}
    )
    return " ".join(done.stderr.split())


def targets(build: Path) -> str:
    words = ["ninja", "-C", build, "-t", "targets", "all"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_without_clang_the_core_builds_without_bpf_and_says_so(tmp_path: Path, tools: Path) -> None:
    only_path = "-DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF"
    told = configured(tmp_path / "build", tools, only_path)
    assert "BPF is off, all else is built: no clang (apt-get install clang-14 llvm-14)" in told
    assert "_native" in targets(tmp_path / "build")
    assert "_bpf" not in targets(tmp_path / "build")
    off = (tmp_path / "build" / "bpf_off.txt").read_text()
    assert off == "no clang (apt-get install clang-14 llvm-14)\n"


def test_a_clang_that_cannot_compile_for_bpf_is_as_none(tmp_path: Path) -> None:
    told = configured(tmp_path / "build", Path("/usr/bin"), "-DFX_CLANG=/bin/false")
    assert "/bin/false does not compile for BPF" in told


def test_without_libbpf_the_core_builds_without_bpf_and_says_so(
    tmp_path: Path, tools: Path
) -> None:
    need("bpf")
    for name in ("zlib", "libzstd"):
        found = next(Path("/usr/lib").glob(f"*/pkgconfig/{name}.pc"))
        shutil.copy(found, tmp_path)
    told = configured(tmp_path / "build", Path("/usr/bin"), PKG_CONFIG_LIBDIR=str(tmp_path))
    assert "no libbpf 1.0 or newer (apt-get install libbpf-dev libelf-dev)" in told
    assert "_bpf" not in targets(tmp_path / "build")


def test_with_both_the_build_has_objects_and_the_extension(tmp_path: Path) -> None:
    need("bpf")
    assert configured(tmp_path / "build", Path("/usr/bin")) == ""
    assert "bpf/gate.bpf.o" in targets(tmp_path / "build")
    assert "_bpf" in targets(tmp_path / "build")


def asked(folder: Path) -> str:
    """What a fortress_core in `folder` says of kernel programs; only what lies there is seen."""
    libraries = str(Path(sys.executable).parent.parent / "lib")
    paths = [str(folder), *(path for path in sys.path if path.startswith(libraries))]
    words = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {paths!r}; {ASK}"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the installed package without what kernel programs need."""
    shutil.copytree(PACKAGE, tmp_path / "fortress_core", ignore=shutil.ignore_patterns("_bpf.*so"))
    shutil.copy(NATIVE, tmp_path / "fortress_core")
    return tmp_path


def test_a_build_without_bpf_says_why_when_asked(package: Path) -> None:
    (package / "fortress_core" / "bpf_off.txt").write_text("no clang (apt-get install clang-14)\n")
    told = "fortress-core was built without BPF: no clang (apt-get install clang-14), then build"
    assert asked(package).startswith(told)


def test_a_machine_without_libbpf_says_what_to_install(package: Path) -> None:
    broken = "raise ImportError('libbpf.so.1: cannot open shared object file')"
    (package / "fortress_core" / "_bpf.py").write_text(broken)
    assert asked(package) == (
        "libbpf.so.1: cannot open shared object file (apt-get install libbpf1 libelf1)"
    )


def test_this_build_has_kernel_programs() -> None:
    need("bpf")
    assert bpf_available() == ""
