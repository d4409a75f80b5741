"""Keys: made once, read by their owner alone, never written over."""

import stat
from pathlib import Path

import pytest

from fortress.errors import ConfigError, OutputError
from fortress.inference.signing import make_keys, read_private, read_public, read_trusted


def test_a_pair_of_keys_signs_and_checks(tmp_path: Path) -> None:
    public = make_keys(tmp_path / "state" / "model.key")
    private = read_private(tmp_path / "state" / "model.key")
    assert private.public == public == read_public(tmp_path / "state" / "model.pub")
    signature = private.sign(b"a statement")
    assert public.has_signed(b"a statement", signature)
    assert not public.has_signed(b"b statement", signature)
    assert not public.has_signed(b"a statement", signature[:-1])
    assert not public.has_signed(b"a statement", bytes(64))


def test_two_pairs_are_not_the_same(tmp_path: Path) -> None:
    one, other = make_keys(tmp_path / "a.key"), make_keys(tmp_path / "b.key")
    assert one != other
    assert one.id != other.id
    assert read_trusted([tmp_path / "a.pub", tmp_path / "b.pub", tmp_path / "a.pub"]) == (
        one,
        other,
    )


def test_only_the_owner_may_read_the_private_half(tmp_path: Path) -> None:
    make_keys(tmp_path / "model.key")
    assert stat.S_IMODE((tmp_path / "model.key").stat().st_mode) == 0o600
    (tmp_path / "model.key").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_private(tmp_path / "model.key")


@pytest.mark.parametrize("there", ["model.key", "model.pub"])
def test_a_key_is_never_written_over(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(OutputError, match="never written over"):
        make_keys(tmp_path / "model.key")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_key_that_is_none_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.key.*keygen"):
        read_private(tmp_path / "model.key")
    make_keys(tmp_path / "model.key")
    with pytest.raises(ConfigError, match="is no fortress-ed25519-public key"):
        read_public(tmp_path / "model.key")
    (tmp_path / "x.pub").write_bytes(b"\xff" * 2000)
    with pytest.raises(ConfigError, match="bytes"):
        read_trusted([tmp_path / "x.pub"])


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        make_keys(tmp_path / "file" / "model.key")
