"""The units of systemd are understood by it, and leave services little to harm."""

import subprocess
from pathlib import Path

import pytest

from tests.need import ROOT, need

UNITS = sorted((ROOT / "containers" / "units").glob("*.service"))
EXECUTABLE = "/opt/fortress/bin/fortress"
MOST_EXPOSED = 30  # tenths, of systemd-analyze's scale: 100 is a service that may do everything


@pytest.fixture
def analyze() -> str:
    """systemd-analyze, which needs no running systemd for what is asked here."""
    need("systemd")
    return "systemd-analyze"


def installed(folder: Path) -> list[str]:
    """The units as installed, with an executable that this machine has."""
    for unit in UNITS:
        text = unit.read_text()
        assert f"ExecStart={EXECUTABLE} " in text
        (folder / unit.name).write_text(text.replace(EXECUTABLE, "/bin/true"))
    return [str(folder / unit.name) for unit in UNITS]


def test_there_is_a_unit_for_each_process() -> None:
    names = [unit.name for unit in UNITS]
    assert names == [f"fortress-{name}.service" for name in ("agent", "guard", "powercap")]


def test_systemd_finds_nothing_wrong_with_them(analyze: str, tmp_path: Path) -> None:
    words = [analyze, "verify", "--man=no", "--recursive-errors=no", *installed(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_would_name_a_misspelt_line(analyze: str, tmp_path: Path) -> None:
    path = Path(installed(tmp_path)[0])
    path.write_text(path.read_text().replace("ProtectSystem=", "ProtektSystem="))
    words = [analyze, "verify", "--man=no", "--recursive-errors=no", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "ProtektSystem" in done.stderr


def test_they_leave_services_little_to_harm(analyze: str, tmp_path: Path) -> None:
    for unit in installed(tmp_path):
        limits = ["--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager"]
        done = subprocess.run(
            [analyze, "security", *limits, unit], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout.decode()[-400:]
