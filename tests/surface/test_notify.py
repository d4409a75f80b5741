"""systemd is told how the service fares, on a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fortress.errors import OutputError
from fortress.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def supervisor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """A bound datagram socket, as systemd's is; `heard` reads one message."""
    name = str(tmp_path / "notify") if request.param == "path" else f"\0fortress-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(name)
        bound.settimeout(5)
        yield bound


def environ(supervisor: socket.socket, **more: str) -> dict[str, str]:
    name = supervisor.getsockname()
    shown = "@" + name[1:].decode() if isinstance(name, bytes) else name
    return {"NOTIFY_SOCKET": shown, **more}


def heard(supervisor: socket.socket) -> str:
    return supervisor.recv(4096).decode()


def test_start_reload_status_and_stop_are_told(supervisor: socket.socket) -> None:
    notifier = Notifier(environ(supervisor), monotonic_s=lambda: 12.5)
    notifier.ready("watching\neth1")
    assert heard(supervisor) == "READY=1\nSTATUS=watching eth1"
    notifier.reloading()
    assert heard(supervisor) == "RELOADING=1\nMONOTONIC_USEC=12500000"
    notifier.status("AMBER 0.5")
    assert heard(supervisor) == "STATUS=AMBER 0.5"
    notifier.stopping()
    assert heard(supervisor) == "STOPPING=1"


def test_the_watchdog_is_fed_only_while_the_loop_moves(supervisor: socket.socket) -> None:
    now = [100.0]
    watched = environ(supervisor, WATCHDOG_USEC="10000000", WATCHDOG_PID=str(os.getpid()))
    notifier = Notifier(watched, lambda: now[0])
    assert notifier.beat_every_s == 5.0
    assert notifier.beat(1)
    assert heard(supervisor) == "WATCHDOG=1"
    assert not notifier.beat(2)  # not due yet
    now[0] += 5
    assert notifier.beat(2)
    now[0] += 5
    assert not notifier.beat(2)  # due, but the loop stands still
    assert notifier.beat(3)
    assert [heard(supervisor) for _ in range(2)] == ["WATCHDOG=1"] * 2
    supervisor.setblocking(False)
    with pytest.raises(BlockingIOError):
        supervisor.recv(100)


def test_a_watchdog_of_another_process_is_not_fed(supervisor: socket.socket) -> None:
    other = environ(supervisor, WATCHDOG_USEC="10000000", WATCHDOG_PID="1")
    assert not Notifier(other).beat(1)


def test_nothing_is_told_where_nobody_listens(tmp_path: Path) -> None:
    Notifier({}).ready("x")
    gone = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "2"})
    gone.ready("x")
    assert not gone.beat(1)


def test_a_supervisor_that_does_not_read_stops_nobody(supervisor: socket.socket) -> None:
    notifier = Notifier(environ(supervisor))
    for _ in range(5000):
        notifier.status("x" * 1000)
    assert heard(supervisor).startswith("STATUS=x")


@pytest.mark.parametrize("environ", [{"NOTIFY_SOCKET": "relative/path"}, {"WATCHDOG_USEC": "soon"}])
def test_an_environment_that_makes_no_sense_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(OutputError, match=next(iter(environ))):
        Notifier(environ)
