"""The two wheels work where nothing of the checkout can be seen."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.need import ROOT, need

AGENT_LOCK = ROOT / "containers" / "requirements-agent.txt"


def run(command: list[str | Path], cwd: Path, timeout: int = 600) -> str:
    """Return what a command printed; fail with all of it when it did not end well."""
    unset = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both wheels, built from a copy of what git tracks (or would track)."""
    source = tmp_path_factory.mktemp("source")
    listed = run(["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"], ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("wheels")
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out]
    environment_path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", environment_path)
        run([sys.executable, "-m", "pip", "wheel", *flags, "./core_ext", "."], source)
    return sorted(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the agent's locked packages and the two wheels."""
    place = tmp_path_factory.mktemp("elsewhere") / "venv"
    run(["/usr/bin/python3", "-m", "venv", place], place.parent)
    pip = [place / "bin" / "python", "-m", "pip", "install", "--quiet"]
    run([*pip, "--require-hashes", "-r", AGENT_LOCK], place.parent)
    run([*pip, "--no-index", "--no-deps", *wheels], place.parent)
    return place / "bin"


def test_the_wheel_of_fortress_holds_the_shipped_models(wheels: list[Path]) -> None:
    names = [name for wheel in wheels for name in zipfile.ZipFile(wheel).namelist()]
    shipped = [path.relative_to(ROOT / "models") for path in (ROOT / "models").rglob("*.onnx")]
    assert shipped
    assert {f"fortress_models/{path}" for path in shipped} <= set(names)
    assert [name for name in names if name.startswith(("tests", "bench", "samples"))] == []


def test_the_wheel_of_the_core_holds_the_kernel_programs(wheels: list[Path]) -> None:
    need("bpf")
    names = [name for wheel in wheels for name in zipfile.ZipFile(wheel).namelist()]
    programs = {path.stem for path in (ROOT / "core_ext" / "bpf").glob("*.bpf.c")}
    assert {f"fortress_core/bpf/{program}.o" for program in programs} <= set(names)
    assert [name for name in names if name.startswith("fortress_core/_bpf.cpython")]


def test_the_installed_wheels_replay_a_sample(
    installed: Path, samples: Path, tmp_path: Path
) -> None:
    where = "import fortress, fortress_core; print(fortress.__file__, fortress_core.__file__)"
    assert str(ROOT) not in run([installed / "python", "-c", where], tmp_path)
    capture = min(samples.glob("*.pcap*"), key=lambda path: path.stat().st_size)
    command = [installed / "fortress", "replay", "--json", "--out", tmp_path / "out", capture]
    events = [json.loads(line) for line in run(command, tmp_path).splitlines()]
    assert events[-1]["event_type"] == "stats"
    assert events[-1]["stats"]["packets"] > 0


def test_the_agent_runs_without_what_trains_models(installed: Path, tmp_path: Path) -> None:
    absent = "import importlib.util as u; print([n for n in ('sklearn', 'onnx') if u.find_spec(n)])"
    assert run([installed / "python", "-c", absent], tmp_path).strip() == "[]"
    assert "flow-classifier" in run([installed / "fortress", "model", "list"], tmp_path)
