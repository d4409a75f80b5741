"""Volumes that are full or read-only: a clear error, and the model that was there stays."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fortress.errors import OutputError
from fortress.inference import Registry
from fortress.inference.registry import SHIPPED
from fortress.inference.state import read_chosen, step_back, write_chosen
from tests.need import go_without, need
from tests.registry.world import KEY, NAME, draft, publish


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Registry]:
    """A registry with 1.0.1 in use on a volume that is then mounted read-only."""
    need("root")
    volume = tmp_path / "volume"
    volume.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(volume)], check=False).returncode:
        go_without("root", "may not mount a tmpfs here")
    try:
        registry = Registry(volume / "registry", volume / "state", [KEY.public])
        publish(registry, tmp_path, "1.0.1")
        write_chosen(volume / "state", NAME, "1.0.1")
        subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
        yield registry
    finally:
        subprocess.run(["umount", str(volume)], check=True)


def test_a_read_only_volume_is_told_and_read(frozen: Registry, tmp_path: Path) -> None:
    made = draft(tmp_path / "new" / NAME, "1.0.2", seed=2)
    with pytest.raises(OutputError, match=f"{NAME}: cannot be written: Read-only file system"):
        frozen.add(made, KEY)
    assert frozen.state is not None
    with pytest.raises(OutputError, match="Read-only file system; nothing has changed"):
        write_chosen(frozen.state, NAME, SHIPPED)
    with pytest.raises(OutputError, match="Read-only"):
        step_back(frozen.state, NAME)
    assert frozen.load(NAME).recipe.version == "1.0.1"
    assert frozen.watch(NAME, frozen.load(NAME)).poll() is None


def test_a_full_volume_is_told_and_nothing_half_is_left(tiny_disk: Path, tmp_path: Path) -> None:
    registry = Registry(tiny_disk / "registry", tiny_disk / "state", [KEY.public])
    publish(registry, tmp_path, "1.0.1")
    write_chosen(tiny_disk / "state", NAME, "1.0.1")
    fill = tiny_disk / "fill"
    free = fill_up(fill)
    made = draft(tmp_path / "new" / NAME, "1.0.2", seed=2)
    (made / "card.md").write_text("x" * 40_000)
    for room in (0, 4096, 8192, 16_384):  # the disk is full at another file each time
        with fill.open("r+b") as file:
            file.truncate(free - room)
        with pytest.raises(OutputError, match="No space left on device; nothing was published"):
            registry.add(made, KEY)
        assert registry.versions(NAME) == ("1.0.1",)
        assert not list((registry.root / NAME).glob(".part-*"))
        assert registry.load(NAME).recipe.version == "1.0.1"
    fill_up(fill)
    with pytest.raises(OutputError, match="No space left on device; nothing has changed"):
        write_chosen(tiny_disk / "state", NAME, SHIPPED)
    assert read_chosen(tiny_disk / "state", NAME).version == "1.0.1"
    fill.unlink()
    assert registry.add(made, KEY) == "1.0.2"


def fill_up(path: Path) -> int:
    """Write into a file until the disk is full; its size."""
    with path.open("ab", buffering=0) as file:
        for size in (65_536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    with pytest.raises(OSError, match="No space left"):
        path.with_name("more").write_bytes(b"x")
    path.with_name("more").unlink(missing_ok=True)
    return path.stat().st_size
