"""Sinks keep what they are given, whole, and say clearly when the world refuses it."""

import contextlib
import json
import os
import sqlite3
import subprocess
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fortress.errors import OutputError, StoreError
from fortress.events import event
from fortress.sinks import Outputs, Sink
from fortress.sinks.checks import PROMISES, Case, examples
from fortress.sinks.eve import EveFile
from fortress.sinks.store import StoreSink
from fortress.sinks.stream import LineStream
from fortress.store import Store
from fortress.verdict import Notice

KINDS = {
    "alert": "Finding",
    "verdict": "Verdict",
    "score": "Score",
    "notice": "Notice",
    "stats": "Stats",
}


def eve_case(folder: Path) -> Case:
    paths: list[Path] = []

    def opened() -> Sink:
        paths.append(folder / f"{len(paths)}.json")
        return EveFile(paths[-1], rotate_bytes=1 << 30, keep=1)

    return Case(opened, lambda: told(paths[-1].read_bytes()))


def stream_case(folder: Path) -> Case:
    paths: list[Path] = []

    def opened() -> Sink:
        paths.append(folder / f"{len(paths)}.json")
        return LineStream(os.open(paths[-1], os.O_WRONLY | os.O_CREAT), "a file")

    return Case(opened, lambda: told(paths[-1].read_bytes()))


def store_case(folder: Path) -> Case:
    urls: list[str] = []

    def opened() -> Sink:
        urls.append(f"sqlite:///{folder}/{len(urls)}.sqlite")
        return StoreSink(Store(urls[-1]), ["x.pcap"], "0", batch_events=100)

    def arrived() -> dict[str, list[int]]:
        with Store(urls[-1]) as store:
            return {
                "Finding": [value.time_ns for value in store.findings(1)],
                "Verdict": [value.time_ns for value in store.verdicts(1)],
                "Score": [value.time_ns for value in store.scores(1)],
                "Notice": [value.time_ns for value in store.notices(1)],
                "Stats": [run.last_ns for run in store.runs() if run.last_ns],
            }

    return Case(opened, arrived)


def told(lines: bytes) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for line in lines.splitlines():
        fields = json.loads(line)
        moment = datetime.strptime(fields["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z")
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        found[KINDS[fields["event_type"]]].append(since.microseconds * 1000)
    return found


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("case", [eve_case, stream_case, store_case])
def test_every_sink_keeps_the_promises(case, promise, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    promise(case(tmp_path))


def alerts(count: int) -> list[bytes]:
    return [event(value).line for value in examples(count)[::4]][:count]


def write_alerts(sink: Sink, count: int) -> None:
    for value in examples(count)[: 4 * count : 4]:
        sink.apply(event(value))


def test_an_eve_file_is_continued_not_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        sink = EveFile(tmp_path / "eve.json", rotate_bytes=1 << 30, keep=1)
        write_alerts(sink, 3)
        sink.close()
    assert (tmp_path / "eve.json").read_bytes() == b"".join(alerts(3) * 2)


def test_a_line_cut_by_a_power_loss_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_bytes(b'{"event_type":"al')
    sink = EveFile(path, rotate_bytes=1 << 30, keep=1)
    write_alerts(sink, 1)
    sink.close()
    assert path.read_bytes().splitlines()[1:] == [alerts(1)[0].rstrip(b"\n")]


def test_large_eve_files_are_set_aside_at_line_ends_and_the_oldest_go(tmp_path: Path) -> None:
    size = len(alerts(1)[0])
    sink = EveFile(tmp_path / "eve.json", rotate_bytes=2 * size, keep=2)
    for value in examples(9)[:36:4]:
        sink.apply(event(value))
        sink.flush()
    sink.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["eve.json", "eve.json.1", "eve.json.2"]
    newest_first = [(tmp_path / name).read_bytes() for name in names]
    assert b"".join(reversed(newest_first)) == b"".join(alerts(9)[4:])


def test_a_full_disk_leaves_whole_lines_and_is_told(tiny_disk: Path) -> None:
    sink = EveFile(tiny_disk / "eve.json", rotate_bytes=1 << 30, keep=1)
    with pytest.raises(OutputError, match="No space left"):
        write_alerts(sink, 4000)
    sink.close()
    lines = (tiny_disk / "eve.json").read_bytes()
    assert lines.endswith(b"\n")
    assert len(lines) > 50 * len(alerts(1)[0])
    assert all(json.loads(line) for line in lines.splitlines())


def test_a_store_on_a_full_disk_says_so(tiny_disk: Path) -> None:
    sink = StoreSink(Store(f"sqlite:///{tiny_disk}/s.sqlite"), ["x"], "0", batch_events=10)
    with pytest.raises(StoreError, match="full"):
        write_alerts(sink, 4000)
    with contextlib.suppress(StoreError):  # a last small page may find its place
        sink.close()
    with contextlib.closing(sqlite3.connect(tiny_disk / "s.sqlite")) as database:
        assert database.execute("pragma quick_check").fetchone() == ("ok",)
        (kept,) = database.execute("select count(*) from findings").fetchone()
    assert kept > 50
    assert kept % 10 == 0  # whole batches


def test_a_store_on_a_read_only_disk_says_so(tiny_disk: Path) -> None:
    with Store(f"sqlite:///{tiny_disk}/s.sqlite"):
        pass
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(StoreError, match=r"(?i)read-?only|unable to open"):
        StoreSink(Store(f"sqlite:///{tiny_disk}/s.sqlite"), ["x"], "0", batch_events=10)


def test_a_place_that_cannot_be_written_is_told_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/eve\.json"):
        EveFile(tmp_path / "file" / "eve.json", rotate_bytes=1, keep=0)


class Breaks:
    name = "breaks"

    def __init__(self) -> None:
        self.calls = 0

    def apply(self, _event: object) -> None:
        self.calls += 1
        raise OutputError("broken")

    def flush(self) -> None: ...

    def close(self) -> None: ...


def test_one_broken_sink_is_told_once_and_the_others_go_on(tmp_path: Path) -> None:
    complaints: list[OutputError] = []
    broken = Breaks()
    whole = EveFile(tmp_path / "eve.json", rotate_bytes=1 << 30, keep=1)
    outputs = Outputs([broken, whole], "monitor", complaints.append)
    for value in examples(5)[:20:4]:
        outputs.say(value)
    outputs.close()
    assert (tmp_path / "eve.json").read_bytes() == b"".join(alerts(5))
    assert broken.calls == len(complaints) == len(outputs.failures) == 1


def test_a_run_without_its_stats_has_failed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.sqlite"
    StoreSink(Store(url), ["x.pcap"], "0", batch_events=10).close()
    with Store(url) as store:
        assert [run.status for run in store.runs()] == ["failed"]


@pytest.mark.parametrize(("batch_events", "written"), [(2, 2), (4, 0)])
def test_so_many_events_are_written_in_one_transaction(
    tmp_path: Path, batch_events: int, written: int
) -> None:
    url = f"sqlite:///{tmp_path}/s.sqlite"
    sink = StoreSink(Store(url), ["x.pcap"], "0", batch_events=batch_events)
    for number in range(3):
        sink.apply(event(Notice(number, "sensor", "one of three"), "monitor"))
    with Store(url) as store:
        assert len(store.notices(store.runs()[0].id)) == written
    sink.close()
