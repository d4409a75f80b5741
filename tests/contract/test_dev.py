"""The developers' script: quick when there is nothing to do, plain about what it cannot do."""

import subprocess

from tests.need import ROOT


def dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ./dev without a terminal and return how it ended and what it said."""
    return subprocess.run(
        [ROOT / "dev", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_a_second_setup_finds_nothing_to_do() -> None:
    assert dev("setup").returncode == 0
    again = dev("setup")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_an_unknown_verb_is_a_usage_error() -> None:
    done = dev("no-such")
    assert done.returncode == 2
    assert "no verb 'no-such'" in done.stderr


def test_e2e_says_which_targets_there_are() -> None:
    done = dev("e2e", "moon")
    assert done.returncode == 2
    assert "containers" in done.stderr


def test_fortress_ends_with_the_commands_own_exit_code() -> None:
    assert dev("fortress", "--help").returncode == 0
    assert dev("fortress", "replay", "--no-such-option").returncode == 2
