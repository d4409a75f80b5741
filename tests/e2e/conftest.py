"""What end-to-end tests stand on."""

from pathlib import Path

import pytest


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return the state folder of a command under test."""
    return tmp_path / "state"


@pytest.fixture(scope="session")
def attack_day(samples: Path) -> Path:
    """Return the capture that ships with the project: a day with attacks in it."""
    (found,) = samples.glob("attack_day.pcap*")
    return found


@pytest.fixture(scope="session")
def quiet_lan(samples: Path) -> Path:
    """Return a shipped capture without any attack."""
    (found,) = samples.glob("benign_browse.pcap*")
    return found
