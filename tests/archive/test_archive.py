"""The agent's archive: whole files by day and hour, whatever happens to process and disk."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fortress_core import StreamOptions, open_capture

from fortress.archive import shelf
from fortress.archive.export import Limits, export
from fortress.archive.shelf import ArchiveFile
from fortress.archive.writer import WAITING, Archive
from fortress.errors import OutputError
from tests.archive.world import COLUMNS, MINUTE_NS, NOON_NS, NOON_S, flows, settings

HOUR_NS = 60 * MINUTE_NS


def opened(folder: Path, wall_s: float = NOON_S, **more: object) -> Archive:
    return Archive(folder, settings(**more), lambda: wall_s)


def ids(found: list[ArchiveFile]) -> list[int]:
    rows = [pq.read_table(one.path, partitioning=None) for one in found]
    return [number for table in rows for number in table.column("flow_id").to_pylist()]


def test_every_flow_is_kept_once_in_whole_files(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        for batch in range(25):
            archive.add(flows(100, first_id=100 * batch, end_ns=NOON_NS + batch * MINUTE_NS // 60))
    found = archive.files()
    assert ids(found) == list(range(2500))
    assert [one.rows for one in found] == [1000, 1000, 500]
    assert archive.state().rows_written == 2500
    assert archive.state().rows_lost == 0


def test_a_file_has_the_cores_columns_with_units_and_meanings(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        archive.add(flows(50))
    (one,) = archive.files()
    table = pq.read_table(one.path, partitioning=None)
    assert table.column_names == [column.name for column in COLUMNS] == list(archive.columns)
    assert table.schema.field("orig_bytes").metadata[b"unit"] == b"bytes"
    assert table.column("orig_addr")[0].as_py().startswith("10.0.")
    assert pq.ParquetFile(one.path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_the_archive_of_a_capture_holds_what_its_export_does(tmp_path: Path, samples: Path) -> None:
    (capture,) = samples.glob("attack_day.pcap*")
    limits = Limits(64 << 20, 120_000_000_000, 1_800_000_000_000)
    export([str(capture)], tmp_path / "all.parquet", None, limits, Event())
    options = StreamOptions(packet_rows="none", keep_intervals=False)
    with opened(tmp_path / "kept", keep_days=36_500, rows_per_file=6000) as archive:
        columns = list(archive.columns)
        with open_capture([str(capture)], options=options, flow_columns=columns) as stream:
            for batch in stream:
                archive.add(batch.flows)
                archive.tick(batch.tick_ns)
    assert archive.state().rows_lost == 0
    exported = pq.read_table(tmp_path / "all.parquet")
    tables = [pq.read_table(one.path, partitioning=None) for one in archive.files()]
    kept = pa.concat_tables(tables, promote_options="permissive").sort_by("flow_id")
    wanted = exported.sort_by("flow_id")
    assert kept.num_rows == wanted.num_rows > 1000
    for name in columns:
        assert kept.column(name).to_pylist() == wanted.column(name).to_pylist(), name


def test_day_and_hour_are_those_in_which_the_flows_ended(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        archive.add(flows(4, NOON_NS + 11 * HOUR_NS + 59 * MINUTE_NS, step_ns=MINUTE_NS))
    folders = [str(one.path.parent.relative_to(tmp_path)) for one in archive.files()]
    assert folders == ["day=2026-11-23/hour=23", "day=2026-11-24/hour=00"]
    assert ids(archive.files()) == [0, 1, 2, 3]
    assert pq.read_table(tmp_path, columns=["flow_id", "day", "hour"]).num_rows == 4


def test_readers_get_the_files_of_a_time(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        for hour in range(5):
            archive.add(flows(10, NOON_NS + hour * HOUR_NS, first_id=10 * hour))
    found = archive.files(NOON_NS + HOUR_NS, NOON_NS + 3 * HOUR_NS)
    assert ids(found) == list(range(10, 30))
    assert shelf.files(tmp_path / "none") == []


def test_flows_do_not_wait_longer_than_the_settings_say(tmp_path: Path) -> None:
    with opened(tmp_path, minutes_per_file=10) as archive:
        archive.add(flows(5))
        for minute in range(10):
            archive.tick(NOON_NS + minute * MINUTE_NS)
        assert archive.state().rows_waiting == 5
        archive.tick(NOON_NS + 10 * MINUTE_NS)
        assert archive.state().rows_waiting == 0
        until = time.monotonic() + 20
        while not archive.files() and time.monotonic() < until:
            time.sleep(0.01)
        assert ids(archive.files()) == list(range(5))


def test_the_oldest_files_go_when_it_grows_too_large(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        archive.add(flows(1000))
    one_file = archive.files()[0].bytes
    keep = 3.5 * one_file / (1 << 30)
    with opened(tmp_path, keep_gib=keep) as archive:
        for hour in range(1, 8):
            archive.add(flows(1000, NOON_NS + hour * HOUR_NS, first_id=1000 * hour))
            wait_for(archive, 1000 * hour)
    found = archive.files()
    assert sum(one.bytes for one in found) <= keep * (1 << 30)
    assert ids(found) == list(range(8000 - 1000 * len(found), 8000))
    assert len(found) == 3
    assert archive.state().bytes == sum(one.bytes for one in found)
    assert len(list(tmp_path.glob("day=*/hour=*"))) == 3  # no empty folders stay


def test_files_go_when_they_are_too_old(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        archive.add(flows(10, NOON_NS))
        archive.add(flows(10, NOON_NS + 5 * HOUR_NS, first_id=10))
    with opened(tmp_path, NOON_S + 24 * 3600 + 60, keep_days=1) as archive:
        assert ids(archive.files()) == list(range(10, 20))


def test_a_disk_that_is_full_costs_flows_and_leaves_whole_files(tiny_disk: Path) -> None:
    with opened(tiny_disk) as archive:
        for number in range(40):
            archive.add(flows(1000, NOON_NS + number * MINUTE_NS // 60, first_id=1000 * number))
            until = time.monotonic() + 20
            while archive.state().rows_waiting == 0 and settled(archive) < 1000 * (number + 1):
                assert time.monotonic() < until
                time.sleep(0.001)
        state = archive.state()
        assert state.rows_lost > 0
        assert "No space left on device" in state.error
        assert state.rows_written + state.rows_lost == 40_000
        archive.files()[0].path.unlink()
        archive.files()[0].path.unlink()
        archive.add(flows(1000, NOON_NS + MINUTE_NS, first_id=40_000))
        wait_for(archive, state.rows_written + 1000)
        assert archive.state().error == ""
    whole = ids(archive.files())
    assert len(whole) == state.rows_written - 2000 + 1000
    assert not list(tiny_disk.rglob("*.part"))


def settled(archive: Archive) -> int:
    state = archive.state()
    return state.rows_written + state.rows_lost


def wait_for(archive: Archive, rows: int) -> None:
    until = time.monotonic() + 20
    while archive.state().rows_written < rows:
        assert time.monotonic() < until, archive.state()
        time.sleep(0.001)


def test_a_disk_that_is_slow_costs_flows_not_memory_and_not_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, write = Event(), shelf.write

    def slow(path: Path, content: bytes) -> None:
        stuck.wait(20)
        write(path, content)

    monkeypatch.setattr(shelf, "write", slow)
    with opened(tmp_path) as archive:
        for number in range(10):
            archive.add(flows(1000, first_id=1000 * number))
        assert archive.state().rows_lost >= 1000 * (10 - WAITING - 1)
        stuck.set()
    assert archive.state().rows_written + archive.state().rows_lost == 10_000
    assert len(ids(archive.files())) == archive.state().rows_written > 0


WRITE_FOR_EVER = """
import sys, time
from pathlib import Path
from tests.archive.world import NOON_NS, NOON_S, flows, settings
from fortress.archive.writer import Archive
archive = Archive(Path(sys.argv[1]), settings(), lambda: NOON_S)
batches = [flows(500, NOON_NS + n * 10**9, first_id=500 * n) for n in range(8)]
print("begun", flush=True)
while True:
    for batch in batches:
        archive.add(batch)
        time.sleep(0.001)
"""


def test_what_nobody_foresaw_costs_a_chunk_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = shelf.write, []

    def strange(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise RuntimeError("strange")
        write(path, content)

    monkeypatch.setattr(shelf, "write", strange)
    with opened(tmp_path) as archive:
        archive.add(flows(1000))
        until = time.monotonic() + 20
        while not archive.state().rows_lost and time.monotonic() < until:
            time.sleep(0.001)
        assert "strange" in archive.state().error
        archive.add(flows(10))
    assert archive.state().rows_written == 10
    assert archive.state().error == ""


def test_a_kill_at_any_instant_leaves_only_whole_files(tmp_path: Path, root: Path) -> None:
    rng = random.Random(7)
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)], cwd=root, stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"begun\n"
        before, until = len(shelf.files(tmp_path)), time.monotonic() + 20
        while len(shelf.files(tmp_path)) == before and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        writer.send_signal(signal.SIGKILL)
        writer.communicate(timeout=20)
        for one in shelf.files(tmp_path):
            assert pq.read_table(one.path, partitioning=None).num_rows == one.rows
    assert shelf.files(tmp_path)
    with opened(tmp_path) as archive:
        archive.add(flows(1))
    assert not list(tmp_path.rglob("*.part"))


def test_what_a_crash_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        archive.add(flows(10))
    (one,) = archive.files()
    left = one.path.with_name(f".{one.path.name}.part")
    left.write_bytes(one.path.read_bytes()[:100])
    stranger = one.path.with_name("notes.txt")
    stranger.write_text("mine")
    assert len(shelf.files(tmp_path)) == 1
    opened(tmp_path).close()
    assert not left.exists()
    assert stranger.exists()
    assert len(shelf.files(tmp_path)) == 1


def test_a_second_agent_is_told_the_pid_of_the_first(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(OutputError, match=f"another agent .* pid {os.getpid()}"):
        opened(tmp_path)
    opened(tmp_path).close()


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=re.escape(f"archive.path {tmp_path}/file/x")):
        opened(tmp_path / "file" / "x")


def test_the_same_flows_twice_are_two_files(tmp_path: Path) -> None:
    for _ in range(2):
        with opened(tmp_path) as archive:
            archive.add(flows(10))
    assert len(archive.files()) == 2


def test_closing_again_does_nothing(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    archive.close()
    archive.close()
