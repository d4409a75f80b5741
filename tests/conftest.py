"""What every test may ask for: where things lie, one seed for all that is random, shared data."""

import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.need import ROOT, go_without, need
from tests.shared_data import unpacked

pytest_plugins = ["tests.services"]

SEED = int(os.environ.get("FORTRESS_SEED", secrets.randbits(31)))

MOST_LINES, MOST_CHARACTERS = 30, 400  # of what one failed comparison prints

hypothesis.settings.register_profile(
    "fortress",
    deadline=None,  # no test here measures time
    database=DirectoryBasedExampleDatabase(ROOT / ".cache" / "hypothesis"),
    print_blob=True,
)
hypothesis.settings.load_profile("fortress")


def pytest_configure() -> None:
    """Take SIGINT back: shells start background jobs with it ignored, and Ctrl-C is tested here."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_assertrepr_compare(
    config: pytest.Config,
) -> Generator[None, list[list[str] | None], list[list[str] | None]]:
    """Shorten what a failed comparison prints where pytest does not: where the variable CI is set.

    -vv shows all of it.
    """
    told = yield
    if config.get_verbosity(pytest.Config.VERBOSITY_ASSERTIONS) >= 2:
        return told
    return [lines and shortened(lines) for lines in told]


def shortened(lines: list[str]) -> list[str]:
    """Return the first MOST_LINES lines, each with its first MOST_CHARACTERS."""
    kept = [
        f"{line[:MOST_CHARACTERS]} … {len(line)} characters"
        if len(line) > MOST_CHARACTERS
        else line
        for line in lines[:MOST_LINES]
    ]
    more = len(lines) - MOST_LINES
    return [*kept, f"… and {more} lines more; -vv shows them"] if more > 0 else kept


def pytest_report_header() -> str:
    """Name the seed, so that a failure can be repeated."""
    return f"FORTRESS_SEED={SEED} FORTRESS_REQUIRE={os.environ.get('FORTRESS_REQUIRE', '')}"


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def samples() -> Path:
    """Return the folder of the captures that ship with the project."""
    return ROOT / "samples"


@pytest.fixture
def seed() -> int:
    """Return the seed of this run; FORTRESS_SEED repeats one."""
    return SEED


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """Return a generator that starts from this run's seed."""
    return np.random.default_rng(seed)


@pytest.fixture(scope="session")
def shared_captures() -> Callable[[str], Path]:
    """Return a function from a group ("attack", "benign", …) to its folder of shared captures."""
    need("shared")
    return unpacked


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount 512 KiB of memory as a disk that is soon full."""
    need("root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode:
        go_without("root", "may not mount a tmpfs here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
