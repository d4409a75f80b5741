"""What the agent says of energy: measured, or estimated and marked so, or nothing."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fortress.config.settings import Energy as Settings
from fortress.qsecbit.energy import MOST_BYTES, EnergySensor

LINE = b'{"seconds": 1.0, "watts": {"package-0": 6.0, "package-0/dram": 1.0}, "total": 7.0}\n'


@pytest.fixture
def speaker(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket in the reader's place."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "p.sock"))
        listening.listen()
        listening.settimeout(10)
        yield listening


class Clock:
    """Monotonic seconds that the test moves."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_joules_for_a_million_packets_look_at_the_last_minute(
    speaker: socket.socket, tmp_path: Path
) -> None:
    clock = Clock()
    with EnergySensor(Settings(), tmp_path / "p.sock", clock) as sensor:
        sensor.poll(0)
        voice, _ = speaker.accept()
        with voice:
            for second in range(1, 4):
                clock.now_s += 1
                voice.sendall(LINE)
                told = sensor.poll(second * 500_000)
            assert told is not None
            assert told.joules == 21.0
            assert told.domains == {"package-0": 6.0, "package-0/dram": 1.0}
            assert told.joules_per_million_packets == pytest.approx(14.0)
            for _ in range(60):
                clock.now_s += 1
                voice.sendall(LINE)
                told = sensor.poll(1_500_000)
            assert told is not None
            assert told.joules_per_million_packets is None
            assert sensor.state == "live"


def test_a_line_may_come_in_pieces(speaker: socket.socket, tmp_path: Path) -> None:
    with EnergySensor(Settings(), tmp_path / "p.sock") as sensor:
        sensor.poll(0)
        voice, _ = speaker.accept()
        with voice:
            voice.sendall(LINE[:20])
            assert sensor.poll(1) is None
            voice.sendall(LINE[20:])
            told = sensor.poll(1)
            assert told is not None
            assert told.source == "rapl"


@pytest.mark.parametrize(
    "noise", [b"hello\n", b"[]\n", b'{"watts": 5}\n', b"\xff\n", b"x" * (MOST_BYTES + 10)]
)
def test_a_stranger_in_the_readers_place_is_left(
    speaker: socket.socket, tmp_path: Path, noise: bytes
) -> None:
    with EnergySensor(Settings(source="rapl"), tmp_path / "p.sock") as sensor:
        sensor.poll(0)
        voice, _ = speaker.accept()
        with voice:
            voice.settimeout(10)
            voice.sendall(noise)
            for _ in range(4):
                assert sensor.poll(1) is None
            with contextlib.suppress(ConnectionResetError):
                assert voice.recv(1) == b""  # it hung up
        assert sensor.state == "missing"


def test_without_a_reader_it_estimates_and_says_so(tmp_path: Path) -> None:
    clock = Clock()
    settings = Settings(idle_watts=3, busy_watts=9)
    with EnergySensor(settings, tmp_path / "none.sock", clock) as sensor:
        assert sensor.poll(0) is None
        clock.now_s += 1
        sum(range(200_000))
        told = sensor.poll(1000)
    assert told is not None
    assert told.source == "estimate"
    assert 3 <= told.watts <= 9
    assert told.joules == told.watts
    assert sensor.state == "live"
    assert sensor.reason.startswith("an estimate")


def test_it_can_be_switched_off_and_the_estimate_alone_too(tmp_path: Path) -> None:
    with EnergySensor(Settings(source="off"), tmp_path / "none.sock") as sensor:
        assert sensor.poll(0) is None
        assert (sensor.state, sensor.reason) == ("missing", "switched off: energy.source")
    with EnergySensor(Settings(busy_watts=0), tmp_path / "none.sock") as sensor:
        assert sensor.poll(0) is None
        assert sensor.state == "missing"


def test_measured_and_estimated_energy_are_not_mixed(
    speaker: socket.socket, tmp_path: Path
) -> None:
    clock = Clock()
    with EnergySensor(Settings(), tmp_path / "p.sock", clock) as sensor:
        sensor.poll(0)
        voice, _ = speaker.accept()
        voice.sendall(LINE)
        told = sensor.poll(1_000_000)
        assert told is not None
        assert (told.source, told.joules) == ("rapl", 7.0)
        voice.close()
        clock.now_s += 6
        sensor.poll(1_000_000)
        clock.now_s += 1
        told = sensor.poll(1_000_000)
        assert told is not None
        assert told.source == "estimate"
        assert told.joules == pytest.approx(told.watts)
        assert told.joules_per_million_packets is None
