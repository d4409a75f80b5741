"""The import contracts in pyproject.toml notice what they are there for."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.need import ROOT

LINT = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(no_cache=True))
"""


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """A package with Fortress's rooms, their modules empty, and Fortress's contracts."""
    named = (
        "cli",
        "services",
        "store",
        "features",
        "training",
        "respond",
        "devices",
        "qsecbit/detectors",
    )
    for room in named:
        folder = tmp_path / "fortress" / room
        folder.mkdir(parents=True)
        for package in (folder, folder.parent):
            (package / "__init__.py").touch()
    modules = ("services/agent", "services/web", "qsecbit/detectors/a", "qsecbit/detectors/b")
    for module in (*modules, "kernel", "notify", "services/powercap"):
        (tmp_path / "fortress" / f"{module}.py").touch()
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / "lint.py").write_text(LINT)
    return tmp_path


def broken_contracts(rooms: Path) -> str:
    """Return what the linter prints of broken contracts, nothing when all are kept."""
    command = [sys.executable, "lint.py"]
    done = subprocess.run(command, cwd=rooms, capture_output=True, text=True, check=False)
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    kept = done.returncode == 0
    return "" if kept else done.stdout.partition("Broken contracts")[2]


def test_empty_rooms_keep_all_contracts(rooms: Path) -> None:
    assert broken_contracts(rooms) == ""


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("features/x", "import fortress.cli", "A room imports only what stands below it"),
        ("zoo", "", "A room imports only what stands below it"),
        ("cli/x", "import fortress_core", "Only rooms of the data plane import the C core"),
        ("features/x", "import sklearn.ensemble", "Only training imports what trains"),
        ("cli/x", "import torch", "Only training imports what trains"),
        ("store/x", "import numpy", "The store does without numerics and the C core"),
        ("respond/x", "import numpy", "What runs with privileges does without numerics"),
        ("respond/x", "import pydantic", "What runs with privileges does without numerics"),
        ("qsecbit/detectors/a", "import fortress.qsecbit.detectors.b", "Detectors do not know"),
        ("services/web", "import fortress.services.agent", "Services do not know each other"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(
    rooms: Path, module: str, statement: str, contract: str
) -> None:
    (rooms / "fortress" / f"{module}.py").write_text(f"{statement}\n")
    assert contract in broken_contracts(rooms)


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("features/x", "import fortress_core"),
        ("training/x", "import sklearn, skl2onnx, fortress.features"),
    ],
)
def test_an_allowed_import_keeps_all_contracts(rooms: Path, module: str, statement: str) -> None:
    (rooms / "fortress" / f"{module}.py").write_text(f"{statement}\n")
    assert broken_contracts(rooms) == ""
