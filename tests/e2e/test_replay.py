"""`fortress replay` as a user runs it: exit codes, events, what is written, bad input."""

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest

from fortress.store import Store
from tests.e2e import captures
from tests.e2e.command import FORTRESS, Done, environment, fortress

NOT_OF_THE_CAPTURE = ("seconds", "packets_per_second")


def events_without_wall_clock(done: Done) -> list[str]:
    events = done.events
    for key in NOT_OF_THE_CAPTURE:
        del events[-1]["stats"][key]
    return [json.dumps(event) for event in events]


def test_the_shipped_attack_day_ends_red_with_explained_alerts(
    attack_day: Path, state: Path
) -> None:
    done = fortress("replay", attack_day, "--json", state=state)
    assert done.code == 0, done.err
    assert max(event["score"]["value"] for event in done.of("score")) >= 0.7
    alerts = [event["alert"] for event in done.of("alert")]
    assert {"port_scan", "syn_flood"} <= {alert["detector"] for alert in alerts}
    assert all(alert["reason"] and alert["evidence"] for alert in alerts)
    assert any(event["verdict"]["action"] != "PASS" for event in done.of("verdict"))
    assert done.stats["packets"] > 10_000
    assert not state.exists(), "replay writes nothing unless --out says where"


def test_a_quiet_lan_stays_green_without_alerts(quiet_lan: Path, state: Path) -> None:
    done = fortress("replay", quiet_lan, "--json", state=state)
    assert done.code == 0, done.err
    assert {event["score"]["status"] for event in done.of("score")} == {"GREEN"}
    assert done.of("alert") == []


@pytest.mark.parametrize("flows", [[], ["--flows"]], ids=["without flows", "with flows"])
def test_events_do_not_depend_on_the_batch_size(
    attack_day: Path, state: Path, flows: list[str]
) -> None:
    told = [
        events_without_wall_clock(
            fortress("replay", attack_day, "--json", *flows, "--batch-packets", size, state=state)
        )
        for size in (64, 1000, 65_536)
    ]
    assert len(told[0]) > 20
    assert told[0] == told[1] == told[2]


def test_the_same_capture_gives_the_same_events_again(attack_day: Path, state: Path) -> None:
    first, second = (fortress("replay", attack_day, "--json", state=state) for _ in range(2))
    assert events_without_wall_clock(first) == events_without_wall_clock(second)


def test_what_is_printed_written_and_stored_is_the_same(attack_day: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = fortress("replay", attack_day, "--json", "--out", out, state=tmp_path / "no")
    assert done.code == 0, done.err
    assert (out / "eve.json").read_text(encoding="utf-8") == done.out
    with Store(f"sqlite:///{out}/fortress.sqlite") as store:
        (run,) = store.runs()
        assert (run.status, run.sources) == ("complete", (str(attack_day),))
        assert run.stats["packets"] == done.stats["packets"]
        lesser = [event for event in done.of("notice") if event["notice"]["kind"] == "finding"]
        assert len(store.findings(run.id)) == len(done.of("alert")) + len(lesser)
        assert len(store.verdicts(run.id)) == len(done.of("verdict"))
        stored = [round(score.value, 4) for score in store.scores(run.id)]
        assert stored == [event["score"]["value"] for event in done.of("score")]


def test_the_summary_says_what_was_found_and_where_it_was_written(
    attack_day: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = fortress("replay", attack_day, "--out", out, state=tmp_path, env={"COLUMNS": "120"})
    assert done.code == 0, done.err
    for words in ("RED", "TCP port scan", "SYN flood", "Would have been blocked", "until"):
        assert words in done.out
    assert str(out / "eve.json") in done.out.replace("\n", "")


def test_flow_events_come_only_when_asked_for(quiet_lan: Path, state: Path) -> None:
    assert fortress("replay", quiet_lan, "--json", state=state).of("flow") == []
    done = fortress("replay", quiet_lan, "--json", "--flows", state=state)
    assert len(done.of("flow")) == done.stats["flows"]


def test_several_captures_are_one_stream(tmp_path: Path) -> None:
    first = captures.write(tmp_path, "first", captures.sound(50))
    second = captures.write(
        tmp_path, "second", captures.joined(captures.packets(50, captures.START_S + 30))
    )
    done = fortress("replay", first, second, "--json", state=tmp_path)
    assert (done.code, done.stats["packets"]) == (0, 100)


def test_a_capture_may_come_through_a_pipe(tmp_path: Path) -> None:
    path = captures.write(tmp_path, "sound", captures.sound(100))
    done = subprocess.run(
        [*FORTRESS, "replay", "-", "--json"],
        input=path.read_bytes(),
        capture_output=True,
        check=False,
        timeout=60,
        env=environment(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["stats"]["packets"] == 100


@pytest.mark.parametrize("name", captures.BROKEN)
def test_a_broken_capture_is_told_and_what_stands_before_the_damage_is_analysed(
    name: str, tmp_path: Path
) -> None:
    contents, code, packets, words = captures.BROKEN[name]
    path = captures.write(tmp_path, name, contents())
    done = fortress("replay", path, "--json", "--batch-packets", 16, state=tmp_path)
    assert done.code == code, (done.err, done.out[-500:])
    assert words in done.err
    assert ("damaged at byte" in done.err) == (code == 3)
    if code:
        assert str(path) in done.err
    if code != 1:
        assert done.stats["packets"] >= packets
        damages = [event["notice"] for event in done.of("notice")]
        damages = [notice for notice in damages if notice["kind"] == "damage"]
        assert len(damages) == done.stats["damages"] == (code == 3)
        assert all(notice["path"] == str(path) and notice["offset"] > 0 for notice in damages)


@pytest.mark.parametrize(
    ("name", "counter"),
    [
        ("wire lengths of 0 and 4 GB", "absurd_lengths"),
        ("packets out of order", "out_of_order"),
        ("clock back by an hour", "clock_steps"),
    ],
)
def test_what_is_odd_but_readable_is_counted(name: str, counter: str, tmp_path: Path) -> None:
    path = captures.write(tmp_path, name, captures.BROKEN[name][0]())
    done = fortress("replay", path, "--json", state=tmp_path)
    assert done.stats[counter] > 0
    steps = [event for event in done.of("notice") if event["notice"]["kind"] == "clock_step"]
    assert len(steps) == done.stats["clock_steps"]


def test_on_a_terminal_the_progress_is_shown_and_gone_when_the_summary_comes(
    tmp_path: Path,
) -> None:
    path = captures.write(tmp_path, "short", captures.sound(30))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*FORTRESS, "replay", str(path), "--speed", "real"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment(tmp_path) | {"TERM": "xterm", "COLUMNS": "100"},
    ) as replay:
        os.close(theirs)
        assert replay.stdout is not None
        summary = replay.stdout.read().decode()
    progress = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert replay.returncode == 0
    assert "packets" in progress
    assert "GREEN" in progress
    assert progress.rstrip().endswith("\x1b[2K"), "the line is erased"
    assert "30 packets" in summary


def test_a_damaged_file_does_not_hide_the_next_one(tmp_path: Path) -> None:
    damaged = captures.write(tmp_path, "damaged", captures.sound(50)[:-3])
    sound = captures.write(
        tmp_path, "sound", captures.joined(captures.packets(50, captures.START_S + 30))
    )
    done = fortress("replay", damaged, sound, "--json", state=tmp_path)
    assert (done.code, done.stats["packets"]) == (3, 99)


def test_without_a_packet_there_is_no_score_and_no_green(tmp_path: Path) -> None:
    empty = captures.write(tmp_path, "empty", captures.header())
    assert fortress("replay", empty, "--json", state=tmp_path).of("score") == []
    done = fortress("replay", empty, state=tmp_path)
    assert done.code == 0
    assert "No data" in done.out
    assert "GREEN" not in done.out


def test_random_frames_never_crash_it(tmp_path: Path, seed: int) -> None:
    path = captures.write(tmp_path, "random", captures.random_frames(300_000, seed))
    done = fortress("replay", path, "--json", state=tmp_path)
    assert (done.code, done.stats["packets"]) == (0, 300_000), done.err


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = fortress("replay", tmp_path / "none.pcap", state=tmp_path)
    assert done.code == 1
    assert "none.pcap" in done.err
    assert "No such file" in done.err


def test_a_file_that_is_missing_does_not_hide_the_others(tmp_path: Path) -> None:
    first = captures.write(tmp_path, "first", captures.sound(50))
    later = captures.joined(captures.packets(50, captures.START_S + 30))
    last = captures.write(tmp_path, "last", later)
    for files in (["none", first, last], [first, "none", last], [first, last, "none", "nor"]):
        done = fortress("replay", *files, "--json", state=tmp_path, cwd=tmp_path)
        missing = [name for name in files if name in ("none", "nor")]
        assert (done.code, done.stats["packets"]) == (3, 100)
        assert done.stats["damages"] == len(missing)
        wanted = [f"fortress: {name}: cannot open: No such file or directory" for name in missing]
        assert done.err.splitlines() == wanted
        notices = [event["notice"] for event in done.of("notice")]
        assert [one["path"] for one in notices if one["kind"] == "damage"] == missing
    out = tmp_path / "x.csv"
    done = fortress("flows", "none", first, "-o", out, state=tmp_path, cwd=tmp_path)
    assert (done.code, out.exists(), "none: cannot open" in done.err) == (3, True, True)


def test_when_every_file_is_missing_each_is_named_and_nothing_is_analysed(tmp_path: Path) -> None:
    done = fortress("replay", "none", "nor", "--json", state=tmp_path, cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert [line.split(": ")[1] for line in done.err.splitlines()] == ["none", "nor"]


@pytest.mark.parametrize(
    ("contents", "code", "words"),
    [
        (captures.sound()[:-3], 3, "fortress: standard input: damaged at byte "),
        (b"nothing of the kind" * 9, 1, "fortress: standard input: not a capture file"),
    ],
)
def test_standard_input_has_a_name(contents: bytes, code: int, words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*FORTRESS, "replay", "-"],
        input=contents,
        capture_output=True,
        check=False,
        timeout=60,
        env=environment(tmp_path),
    )
    assert done.returncode == code
    assert done.stderr.decode().startswith(words)
    assert ("replay of standard input" in done.stdout.decode()) == (code == 3)


def test_a_folder_is_no_capture(tmp_path: Path) -> None:
    done = fortress("replay", tmp_path, state=tmp_path)
    assert done.code == 1
    assert str(tmp_path) in done.err


@pytest.mark.parametrize(
    "arguments",
    [[], ["replay"], ["replay", "x", "--speed", "slow"], ["nonsense"], ["flows", "x"], ["config"]],
)
def test_wrong_usage_ends_with_2(arguments: list[str], tmp_path: Path) -> None:
    done = fortress(*arguments, state=tmp_path)
    assert done.code == 2
    assert "usage:" in done.err


@pytest.mark.parametrize("arguments", [[], ["config"], ["model"], ["agent"], ["powercap"]])
def test_a_command_alone_explains_itself(arguments: list[str], tmp_path: Path) -> None:
    done = fortress(*arguments, state=tmp_path)
    helped = fortress(*arguments, "--help", state=tmp_path)
    assert (done.code, done.out, done.err) == (2, "", helped.out)


def test_a_wrong_configuration_ends_with_2_and_names_the_key(
    attack_day: Path, tmp_path: Path
) -> None:
    file = tmp_path / "fortress.toml"
    for text, words in (
        ("[stroe]\n", "stroe"),
        ("[detectors.port_scan]\nhalf_portz = 1\n", "detectors.port_scan.half_portz"),
        ("[qsecbit]\nnothing = 1\n", "qsecbit.nothing"),
    ):
        file.write_text(text)
        done = fortress("replay", attack_day, "--config", file, state=tmp_path)
        assert (done.code, done.out) == (2, "")
        assert str(file) in done.err
        assert words in done.err


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(tmp_path: Path) -> None:
    sound = captures.write(tmp_path, "sound", captures.sound())
    (tmp_path / "file").write_text("")
    done = fortress("replay", sound, "--out", tmp_path / "file" / "out", state=tmp_path)
    assert done.code == 1
    assert str(tmp_path / "file" / "out" / "eve.json") in done.err
    assert done.out == ""


def test_a_full_disk_is_told_once_and_the_analysis_goes_on(
    attack_day: Path, tiny_disk: Path, tmp_path: Path
) -> None:
    done = fortress("replay", attack_day, "--json", "--flows", "--out", tiny_disk, state=tmp_path)
    assert done.code == 1
    assert "No space left" in done.err
    assert len(done.err.splitlines()) <= 2
    assert done.of("alert"), "standard output has everything all the same"
    assert done.stats["packets"] > 10_000
    whole = (tiny_disk / "eve.json").read_bytes()
    assert whole.endswith(b"\n")
    assert done.out.encode().startswith(whole)


def test_a_read_only_disk_is_told(attack_day: Path, tiny_disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    done = fortress("replay", attack_day, "--out", tiny_disk, state=tmp_path)
    assert done.code == 1
    assert "Read-only file system" in done.err


def test_a_reader_that_goes_away_is_no_traceback(attack_day: Path, state: Path) -> None:
    with subprocess.Popen(
        [*FORTRESS, "replay", str(attack_day), "--json", "--flows"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(state),
    ) as replay:
        assert replay.stdout is not None
        assert replay.stderr is not None
        replay.stdout.readline()
        replay.stdout.close()
        assert replay.stderr.read() == b""
        assert replay.wait(60) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_replay_says_what_it_has(attack_day: Path, tmp_path: Path, number: int) -> None:
    out = tmp_path / "out"
    replay = subprocess.Popen(
        [*FORTRESS, "replay", str(attack_day), "--json", "--speed", "real", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    assert replay.stdout is not None
    first = json.loads(replay.stdout.readline())  # a score: the replay is under way
    assert first["event_type"] == "score"
    time.sleep(0.2)
    replay.send_signal(number)
    rest, err = replay.communicate(timeout=60)
    last = json.loads(rest.splitlines()[-1])
    assert replay.returncode == 130, err
    assert last["stats"]["interrupted"] is True
    with Store(f"sqlite:///{out}/fortress.sqlite") as store:
        assert [run.status for run in store.runs()] == ["interrupted"]


def test_real_speed_takes_as_long_as_the_capture(tmp_path: Path) -> None:
    two_seconds = captures.write(tmp_path, "short", captures.sound(30))
    done = fortress("replay", two_seconds, "--json", "--speed", "real", state=tmp_path)
    assert done.code == 0
    assert done.stats["seconds"] >= 2


def test_every_line_of_real_replays_obeys_the_published_schema(
    samples: Path, tmp_path: Path, root: Path
) -> None:
    schema = json.loads((root / "docs" / "events.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    of_a_flow = jsonschema.Draft202012Validator(schema["$defs"]["flow"])
    damaged = captures.write(tmp_path, "damaged", captures.sound(50)[:-3])
    back = captures.write(tmp_path, "back", captures.BROKEN["clock back by an hour"][0]())
    frames = [captures.record(captures.tagged(captures.udp(1, 53), 7), captures.START_S)]
    in_vlan = captures.write(tmp_path, "vlan", captures.joined(frames))
    kinds = set()
    for path in [*sorted(samples.glob("*.pcap*")), damaged, back, in_vlan]:
        done = fortress("replay", path, "--json", "--flows", state=tmp_path)
        for event in done.events:
            kinds.add(event["event_type"])
            fitting = of_a_flow if event["event_type"] == "flow" else validator
            faults = [fault.message for fault in fitting.iter_errors(event)]
            assert not faults, (path.name, event, faults)
    assert kinds == {"alert", "notice", "verdict", "score", "flow", "stats"}


def test_a_replay_calls_nobody_and_leaves_nothing_in_the_home_folder(
    attack_day: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    trace = tmp_path / "trace"
    words = ("strace", "-f", "-qq", "-e", "trace=connect", "-o", str(trace))
    done = subprocess.run(
        (*words, *FORTRESS, "replay", str(attack_day)),
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "AF_INET" not in trace.read_text()
    assert list(home.rglob("*")) == []
