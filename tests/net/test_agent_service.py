"""The agent as a service: what systemd hears, and what happens when the world behind it fails."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.need import need
from tests.net.agents import OURS, Site, site, until
from tests.net.test_agent_load import flood
from tests.patience import patient


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Site]:
    """A gateway and a stranger on a wire."""
    need("netns")
    with site(tmp_path) as made:
        yield made


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Where a service tells how it fares."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(str(tmp_path / "notify"))
        hears.settimeout(patient(15))
        yield hears


def hear(systemd: socket.socket, word: str, within_s: float = 15) -> str:
    """The next message with the word in it."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        told = systemd.recv(4096).decode()
        if word in told:
            return told
    raise AssertionError(f"no {word} within {within_s} s")


def test_systemd_hears_readiness_life_reload_and_stop(lan: Site, systemd: socket.socket) -> None:
    place = {"NOTIFY_SOCKET": str(systemd.getsockname()), "WATCHDOG_USEC": "1000000"}
    agent = lan.start(**place)
    assert "watches lan0" in hear(systemd, "READY=1")
    begun_s = time.monotonic()
    for _ in range(4):
        hear(systemd, "WATCHDOG=1")
    assert time.monotonic() - begun_s > 1, "twice in the watchdog's time, no more"
    agent.send_signal(signal.SIGHUP)
    hear(systemd, "RELOADING=1")
    hear(systemd, "READY=1")
    lan.stop(agent)
    hear(systemd, "STOPPING=1")


def test_who_asks_for_a_reload_is_answered_when_all_were_told(
    lan: Site, systemd: socket.socket
) -> None:
    """The configuration is a pipe, so that reading it takes as long as the test wants."""
    agent = lan.start(NOTIFY_SOCKET=str(systemd.getsockname()))
    hear(systemd, "READY=1")
    text = lan.toml.read_text()
    (lan.folder / "fortress.toml").unlink()
    os.mkfifo(lan.folder / "fortress.toml")
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(lan.ask("/reload", "POST").status))
    asking.start()
    until(lambda: lan.state() == "reloading")
    told = hear(systemd, "RELOADING=1")
    stamp_us = int(told.partition("MONOTONIC_USEC=")[2].split()[0])
    assert 0 <= time.monotonic() - stamp_us / 1e6 < 15
    assert not answers
    (lan.folder / "fortress.toml").write_text(text)
    asking.join(15)
    assert answers == [200]
    assert "was read again" in hear(systemd, "READY=1")
    assert lan.state() == "running"
    until(lambda: lan.notices("reload"))
    (lan.folder / "fortress.toml").unlink()
    (lan.folder / "fortress.toml").write_text("[respond]\nmode = 7\n")
    assert lan.ask("/reload", "POST").status >= 400
    assert "nothing was changed" in hear(systemd, "READY=1")
    assert lan.state() == "running"
    lan.stop(agent)


def test_a_loop_that_stands_still_does_not_feed_the_watchdog(
    lan: Site, systemd: socket.socket
) -> None:
    place = {"NOTIFY_SOCKET": str(systemd.getsockname()), "WATCHDOG_USEC": "1000000"}
    agent = lan.start(**place)
    hear(systemd, "WATCHDOG=1")
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        systemd.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while systemd.recv(4096):  # what was said before
                pass
        systemd.settimeout(2)
        with pytest.raises(TimeoutError):
            systemd.recv(4096)
    finally:
        os.kill(agent.pid, signal.SIGCONT)
    systemd.settimeout(patient(15))
    hear(systemd, "WATCHDOG=1")


def test_a_database_that_is_gone_does_not_stop_detection(lan: Site) -> None:
    lan.config = '[store]\nurl = "postgresql://nobody@127.0.0.1:1/none"\n'
    lan.start()
    until(lambda: lan.sensor("store")["state"] == "stale")
    assert "127.0.0.1" in lan.sensor("store")["reason"]
    flooding = flood(lan, 4000, 1000)
    try:
        until(lambda: lan.events("alert"))
    finally:
        flooding.wait(patient(30))
    assert lan.sensor("eve")["state"] == "live"


def test_an_eve_file_that_cannot_be_written_is_written_when_it_can(lan: Site) -> None:
    state = lan.folder / "state"
    state.mkdir()
    (state / "eve.json").mkdir()
    agent = lan.start()
    until(lambda: lan.sensor("eve")["state"] == "stale")
    assert "eve.json" in lan.sensor("eve")["reason"]
    (state / "eve.json").rmdir()
    until(lambda: lan.sensor("eve")["state"] == "live", within_s=60)
    lan.stop(agent)
    assert lan.events("stats")


def test_a_killed_agent_leaves_nothing_that_hinders_the_next(lan: Site) -> None:
    first = lan.start()
    first.kill()
    first.communicate()
    second = lan.start()
    pings = ("ping", "-n", "-c", "2", "-i", "0.2", OURS)
    subprocess.run(lan.stranger.command(*pings), check=True, capture_output=True)
    until(lambda: lan.ask("/status").json["totals"]["packets"] >= 4)
    lan.stop(second)


def test_a_second_agent_on_the_state_folder_is_told_the_pid_of_the_first(lan: Site) -> None:
    lan.start()
    pid = lan.ask("/health").json["pid"]
    lan.gateway.ip("link add lan1 type veth peer name lan2")
    second = lan.begin("--interface", "lan1")
    said = second.communicate(timeout=patient(30))[1]
    assert second.returncode == 1
    assert f"another agent has it, pid {pid}" in said
    assert "state_dir" in said
