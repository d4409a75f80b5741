"""A test that fails says why in few words, also where nobody sits before a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAILING = """
def test_long_lines():
    assert ["x" * 100_000] == ["y" * 100_000]

def test_many_lines():
    assert "\\n".join(map(str, range(5000))) == "z"

def test_a_short_one():
    assert {"one": 1} == {"one": 2}
"""


@pytest.mark.parametrize("ci", ["", "true"])
def test_a_failed_comparison_is_short(ci: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(FAILING)
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("--rootdir", str(tmp_path), str(tmp_path / "test_failing.py")),
        ],
        cwd=tmp_path,
        env=kept | {"PYTHONPATH": str(root)} | ({"CI": ci} if ci else {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "3 failed" in done.stdout
    assert "{'one': 1} != {'one': 2}" in done.stdout
    assert len(done.stdout) < 12_000
