"""The token is made at first start, kept to its owner, and guessing it is slowed down."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fortress.errors import ConfigError, OutputError
from fortress.http.tokens import FAILURES, REFILL_S, SHORTEST, Failures, is_same, token


def test_the_first_start_makes_a_token_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    made = token(path)
    assert len(made) >= SHORTEST
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token(path) == made
    assert [one.name for one in path.parent.iterdir()] == ["token"]
    assert token(tmp_path / "other") != made


def test_the_umask_does_not_open_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        token(tmp_path / "token")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_token_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    token(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"{mode:04o} is too open .* chmod 600"):
        token(path)


def test_a_group_may_be_given_the_token_to_read(tmp_path: Path) -> None:
    made = token(tmp_path / "token")
    (tmp_path / "token").chmod(0o640)
    assert token(tmp_path / "token") == made


@pytest.mark.parametrize("content", [b"", b"short", b"two words" * 10, "ü".encode() * 40])
def test_what_is_no_token_is_refused_rather_than_used(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(ConfigError, match="holds no token"):
        token(tmp_path / "token")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file/token"):
        token(tmp_path / "file" / "token")


def test_two_first_starts_at_once_agree_on_one_token(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from fortress.http.tokens import token;"
    code += "print(token(Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(tmp_path / "token")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    said = {one.communicate(timeout=60)[0] for one in started}
    assert len(said) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["token"]


def test_secrets_are_compared_whole() -> None:
    assert is_same("abc", "abc")
    assert not is_same("abc", "abx")
    assert not is_same("abc", "abcä")


def test_too_many_wrong_tokens_are_waited_for_and_forgiven() -> None:
    now = [0.0]
    failures = Failures(lambda: now[0])
    for _ in range(FAILURES):
        assert failures.wait_s("192.0.2.1") == 0
        failures.add("192.0.2.1")
    assert failures.wait_s("192.0.2.1") == pytest.approx(REFILL_S)
    assert failures.wait_s("192.0.2.2") == 0
    now[0] += REFILL_S
    assert failures.wait_s("192.0.2.1") == 0
    failures.add("192.0.2.1")
    assert failures.wait_s("192.0.2.1") > 0
    assert failures.count == FAILURES + 1


def test_a_flood_of_addresses_costs_bounded_memory() -> None:
    failures = Failures()
    for number in range(5000):
        failures.add(f"2001:db8::{number:x}")
    assert len(failures._spent) == 256
