"""A writer that is killed at any instant, beside readers: no one ever sees half a model."""

import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from fortress.errors import OutputError
from fortress.inference import Registry
from fortress.inference.files import only_writer
from fortress.inference.state import read_chosen, write_chosen
from tests.registry.workers import fork, read_on, write_on
from tests.registry.world import KEY, NAME, draft, publish, registry_at

KILLS = 80
MOST_S = 2.0


def test_a_writer_killed_at_any_instant_leaves_no_half_model(tmp_path: Path, seed: int) -> None:
    registry, chance = registry_at(tmp_path), random.Random(seed)
    began_s = time.monotonic()
    publish(registry, tmp_path, "1.0.1")
    write_chosen(tmp_path / "state", NAME, "1.0.1")
    longest_s = 3 * (time.monotonic() - began_s)  # grows as long as writers get nowhere
    for number in range(2):
        draft(tmp_path / "drafts" / f"{number}" / NAME, "1.0.0", seed=number)
    said = [tmp_path / f"reader-{number}" for number in range(2)]
    readers = [fork(partial(read_on, tmp_path, path)) for path in said]
    newest, left = 1, 0
    try:
        for _ in range(KILLS):
            writer = fork(partial(write_on, tmp_path, newest + 1))
            time.sleep(chance.uniform(0.002, longest_s))
            os.kill(writer, signal.SIGKILL)
            assert os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) == -9, "killed, not failed"
            left += any(path.name.startswith(".") and path.is_dir() for path in shelf(registry))
            check_whole(registry)
            before = newest
            newest = max(newest, *(int(one.rpartition(".")[2]) for one in registry.versions(NAME)))
            longest_s = min(MOST_S, longest_s * (1.1 if newest == before else 0.9))
    finally:
        (tmp_path / "stop").touch()
        ends = [os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]) for reader in readers]
    assert ends == [0, 0]
    for path in said:
        loaded, _, problem = path.read_text().partition(" ")
        assert not problem
        assert int(loaded) > KILLS / 20
    assert newest > KILLS / 20, "writers got somewhere"
    assert left, "a kill hit a writer in the middle"
    publish(registry, tmp_path, f"1.0.{newest + 1}")
    names = {path.name for path in shelf(registry)}
    assert names == {".lock", *registry.versions(NAME)}, "the next writer has swept"


def shelf(registry: Registry) -> list[Path]:
    return list((registry.root / NAME).iterdir())


def check_whole(registry: Registry) -> None:
    """Every version that can be seen is whole, and the one in use is among them."""
    versions = registry.versions(NAME)
    for version in versions:
        assert registry.verify(NAME, version) is not None
    assert read_chosen(registry.state, NAME).version in versions
    assert registry.load(NAME).publisher == KEY.public.id


def test_writers_take_turns(tmp_path: Path) -> None:
    registry, versions = registry_at(tmp_path), ("1.0.0", "1.0.1", "1.0.2", "1.0.3")
    writers = [
        fork(partial(publish, registry, tmp_path / version, version, seed=number))
        for number, version in enumerate(versions)
    ]
    ends = [os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) for writer in writers]
    assert ends == [0] * 4
    assert registry.versions(NAME) == versions
    assert None not in [registry.verify(NAME, version) for version in versions]


def test_a_writer_that_waits_too_long_says_so(tmp_path: Path) -> None:
    with (
        only_writer(tmp_path),
        pytest.raises(OutputError, match="another process has been writing"),
        only_writer(tmp_path, wait_s=0.1),
    ):
        pytest.fail("two writers at once")
