"""What holds for every tracked file."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.need import ROOT

REGISTRY_NAMES = ("pypi", "pythonhosted", "npmjs", "crates", "deb.debian", "docker", "quay", "ghcr")
REGISTRY_HOST = re.compile(rf"\b({'|'.join(map(re.escape, REGISTRY_NAMES))})\.(org|com|io|net)\b")
DEVELOPER_PATH = re.compile(r"(?<![\w.\-~/{}$])/(work|root|home)/\w")
LOCKS = sorted((ROOT / "containers").glob("requirements-*.txt"))
MEGABYTE = 10**6


def tracked_files() -> list[Path]:
    """Return all files git tracks or would track, as they are on disk."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    return [file for file in files if file.is_file()]


def texts() -> list[tuple[Path, str]]:
    """Return (path, contents) of all tracked text files."""
    found = []
    for file in tracked_files():
        contents = file.read_bytes()
        if b"\0" not in contents[:8192]:
            found.append((file.relative_to(ROOT), contents.decode("utf-8")))
    return found


def lines_matching(pattern: re.Pattern[str]) -> list[str]:
    """Return `path:line: text` for every line of a tracked text file that matches."""
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for path, text in texts()
        if pattern.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_the_host_of_a_package_registry() -> None:
    assert lines_matching(REGISTRY_HOST) == []


def test_no_file_holds_a_path_of_a_developers_machine() -> None:
    assert lines_matching(DEVELOPER_PATH) == []


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("index-url = https://" + "pypi" + ".org/simple", REGISTRY_HOST),
        ("FROM " + "docker" + ".io/library/python", REGISTRY_HOST),
        ("open('/" + "work/shared/data')", DEVELOPER_PATH),
        ("cd /" + "home/someone", DEVELOPER_PATH),
    ],
)
def test_the_patterns_find_what_they_are_for(line: str, pattern: re.Pattern[str]) -> None:
    assert pattern.search(line)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_every_package_with_hashes_and_names_no_address(lock: Path) -> None:
    text = lock.read_text()
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text).strip())
    assert entries
    assert [
        entry for entry in entries if not re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+ ", entry)
    ] == []
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert " @ " not in text


def test_containers_install_the_versions_that_are_tested() -> None:
    tested = _pins(ROOT / "containers/requirements-dev.txt")
    for name in ("agent", "build"):
        pins = _pins(ROOT / f"containers/requirements-{name}.txt")
        assert pins <= tested, f"requirements-{name}.txt: run ./dev lock"


def test_the_distribution_lists_every_package_there_is() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    modules = [path for path, _ in texts() if path.parts[0] == "fortress" and path.suffix == ".py"]
    folders = {".".join(path.parent.parts) for path in modules}
    assert set(settings["packages"]) == folders | {"fortress_models"}


def test_every_c_file_states_its_licence() -> None:
    bpf = "SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only"
    unstated = []
    for path, text in texts():
        if path.suffix not in {".c", ".h", ".def"}:
            continue
        head = "\n".join(text.splitlines()[:3])
        wanted = bpf if ".bpf." in path.name else "SPDX-License-Identifier: "
        if wanted not in head:
            unstated.append(str(path))
    assert unstated == []


def test_the_shipped_captures_are_small() -> None:
    captures = [file for file in tracked_files() if file.is_relative_to(ROOT / "samples")]
    assert sum(file.stat().st_size for file in captures) <= 10 * MEGABYTE


def test_dev_help_describes_every_verb() -> None:
    source = (ROOT / "dev").read_text()
    verbs = set(re.findall(r"^verb_(\w+)\(\)", source, re.MULTILINE))
    shown = subprocess.run(
        [ROOT / "dev", "help"], capture_output=True, text=True, check=True
    ).stdout
    described = {line.split()[0] for line in shown.partition("Verbs:\n")[2].splitlines()}
    assert described == verbs


def _pins(lock: Path) -> set[str]:
    return set(re.findall(r"^[a-z0-9._\[\],-]+==[^\s;]+", lock.read_text(), re.MULTILINE))
