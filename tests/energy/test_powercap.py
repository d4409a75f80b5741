"""The powercap reader opens counters as root, keeps no privilege, and tells averages at 1 Hz."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fortress.config.settings import Energy as Settings
from fortress.qsecbit.energy import EnergySensor
from tests.energy.world import count, powercap
from tests.need import ROOT, need

COMMAND = [sys.executable, "-m", "fortress", "powercap", "run"]
NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A powercap folder in memory, as /sys is."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as place:
        yield powercap(Path(place) / "powercap")


@contextmanager
def reader(folder: Path, path: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [*COMMAND, "--powercap", str(folder), "--socket", str(path), *more],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        started.communicate(timeout=30)


def begun(started: subprocess.Popen[str]) -> str:
    assert started.stderr is not None
    return started.stderr.readline()


def test_it_tells_watts_each_second_to_everybody(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "powercap.sock"
    with reader(folder, path) as started:
        assert begun(started).startswith("reading package-0, package-0/core")
        listeners = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2)]
        for one in listeners:
            one.settimeout(10)
            one.connect(str(path))
        count(folder, "intel-rapl:0", 9_000_000)
        told = [json.loads(one.recv(4096).splitlines()[0]) for one in listeners]
        assert told[0] == told[1]
        assert set(told[0]["watts"]) >= {"package-0", "package-0/dram", "psys"}
        used = told[0]["total"] * told[0]["seconds"]
        again = json.loads(listeners[0].recv(4096).splitlines()[0])
        used += again["total"] * again["seconds"]
        assert used == pytest.approx(9.0, abs=0.05)
        assert again["seconds"] == pytest.approx(1.0, abs=0.5)
        for one in listeners:
            one.close()
    assert started.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: what it gives up is root's")
def test_it_is_nobody_and_may_nothing_once_it_reads(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "powercap.sock"
    with reader(folder, path, "--group", "adm") as started:
        begun(started)
        lines = Path(f"/proc/{started.pid}/status").read_text().splitlines()
        told = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
        assert told["Uid"] == told["Gid"] == [str(NOBODY)] * 4
        assert told["Groups"] == []
        assert {told[name][0] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}
        assert told["NoNewPrivs"] == ["1"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert path.stat().st_gid == 4
        opened = [os.readlink(f"/proc/{started.pid}/fd/{fd}") for fd in os.listdir(  # noqa: PTH115, PTH208
            f"/proc/{started.pid}/fd"
        )]  # fmt: skip
        assert sum(name.endswith("/energy_uj") for name in opened) == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_who_may_not_read_the_counters_is_told(folder: Path, tmp_path: Path) -> None:
    for place in (folder.parent, folder):
        place.chmod(0o755)
    code = "import os, sys; os.setgid(65534); os.setuid(65534)\n"
    code += "from fortress.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["powercap", "run", "--powercap", str(folder), "--socket", "/tmp/never.sock"]
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "energy_uj: only root may read it: run this as root" in done.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--group", "no-such-group"], "--group no-such-group: there is no such group"),
        (["--user", "no-such-user"], "--user no-such-user: there is no such user"),
        (["--user", "root"], "the point is not to be root"),
        (["--powercap", "/nowhere"], "/nowhere: no RAPL here"),
    ],
)
def test_what_makes_no_sense_is_told(
    folder: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    if "--user" in more:
        need("root")  # only root becomes somebody
    command = [*COMMAND, "--powercap", str(folder), "--socket", str(tmp_path / "s"), *more]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_agents_sensor_hears_the_reader_and_notices_its_end(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "powercap.sock"
    settings = Settings(source="rapl")
    with EnergySensor(settings, path) as sensor:
        assert sensor.poll(0) is None
        assert sensor.state == "missing"
        assert "is `fortress powercap run` running?" in sensor.reason
    late = [0.0]
    with EnergySensor(settings, path, lambda: time.monotonic() + late[0]) as sensor:
        with reader(folder, path) as started:
            begun(started)
            until, packets = time.monotonic() + 20, 0
            while sensor.last is None and time.monotonic() < until:
                packets += 1000
                count(folder, "intel-rapl:0", packets * 1000)
                sensor.poll(packets)
                time.sleep(0.05)
            assert sensor.state == "live"
            assert sensor.last is not None
            assert sensor.last.source == "rapl"
            assert sensor.last.watts > 0
            # 1000 µJ a packet are 1000 J a million; the two are not read at the same instant
            assert sensor.last.joules_per_million_packets == pytest.approx(1000, rel=0.5)
        sensor.poll(packets)  # what it said last
        late[0] = 6
        assert sensor.poll(packets) is None
        assert sensor.state == "stale"
