"""What the documentation says is so: its commands run, its generated pages are fresh."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import generate
from tests.need import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^\$ \./dev fortress (.*)$", re.MULTILINE)
COMMANDS = sorted({line for page in PAGES for line in COMMAND.findall(page.read_text())})
FORTRESS = Path(sys.executable).parent / "fortress"


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_as_fresh_as_the_program(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == generate.page(name), "run ./dev docs"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_the_documentation_runs(
    command: str, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = min(samples.glob("*.pcap*"), key=lambda path: path.stat().st_size)
    shutil.copy(capture, tmp_path / "capture.pcap")
    monkeypatch.setenv("FORTRESS_STATE_DIR", str(tmp_path / "state"))
    line = f"{shlex.quote(str(FORTRESS))} {command}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_every_link_to_a_file_of_the_repository_leads_somewhere() -> None:
    lost = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                lost.append(f"{page.relative_to(ROOT)}: {target}")
    assert lost == []


def test_the_documentation_names_the_two_commands() -> None:
    for name in ("README.md", "docs/quickstart.md"):
        text = (ROOT / name).read_text()
        assert "./dev run" in text
        assert "./dev test" in text


def test_the_page_for_who_works_on_it_tells_of_every_folder_of_tests() -> None:
    page = (ROOT / "docs" / "development.md").read_text()
    folders = {f"tests/{path.parent.name}" for path in (ROOT / "tests").glob("*/test_*.py")}
    told = set(re.findall(r"`(tests/[a-z0-9]+)`", page))
    assert told == folders, "docs/development.md, the table of tests"
