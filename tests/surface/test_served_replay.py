"""A real agent that replays a capture answers as a live one does."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.need import ROOT
from tests.surface.asking import ask, connection
from tests.surface.world import free_address


@dataclass(frozen=True)
class Agent:
    """Where a running agent answers."""

    tcp: str
    unix: Path
    state: Path


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Iterator[Agent]:
    """`fortress agent run`, its replay of the shipped attacks over."""
    state = tmp_path_factory.mktemp("agent")
    found = Agent(free_address(), state / "agent.sock", state)
    (state / "fortress.toml").write_text(
        f'state_dir = "{state}"\n[metrics]\nlisten = "{found.tcp}"\n'
        f'[control]\nsocket = "{found.unix}"\n'
    )
    (capture,) = samples.glob("attack_day.pcap*")
    service = subprocess.Popen(
        [sys.executable, "-m", "fortress", "agent", "run", "--replay", str(capture), "--json",
         "--config", str(state / "fortress.toml")],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert service.stderr is not None
        assert "the replay is over" in service.stderr.readline()
        yield found
    finally:
        service.send_signal(signal.SIGTERM)
        service.communicate(timeout=30)
    assert service.returncode == 0
    assert not found.unix.exists()


def test_what_was_seen_can_be_read_afterwards(agent: Agent) -> None:
    status = ask(agent.unix, "/status").json
    assert status["source"] == "replay"
    assert status["totals"]["packets"] > 1000
    (sensor,) = status["sensors"]
    assert (sensor["state"], sensor["reason"]) == ("missing", "the replay is over")
    assert ask(agent.tcp, "/findings").json["findings"]
    assert ask(agent.tcp, "/score").json["event_type"] == "score"
    minutes = ask(agent.tcp, "/history?since=0&step=60").json["rows"]
    assert max(row["value"] for row in minutes) > 0.7
    assert sum(row["packets"] for row in minutes) == status["totals"]["packets"]


def test_its_silence_is_no_fault_and_it_cannot_be_changed(agent: Agent) -> None:
    health = ask(agent.tcp, "/health")
    assert (health.status, health.json["reason"]) == (200, "the replay is over")
    token = (agent.state / "token").read_text().strip()
    refused = ask(agent.tcp, "/reload", "POST", Authorization=f"Bearer {token}")
    assert refused.status == 409


def test_its_health_is_an_exit_code_and_a_word(agent: Agent, tmp_path: Path) -> None:
    def health(config: Path) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "fortress", "agent", "health", "--config", str(config)]
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    done = health(agent.state / "fortress.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert ask(agent.unix, "/health").json["state"] in done.stdout
    nobody = tmp_path / "fortress.toml"
    nobody.write_text(f'[control]\nsocket = "{tmp_path}/none.sock"\n')
    done = health(nobody)
    assert done.returncode == 1
    assert "none.sock: no agent answers" in done.stderr


def test_who_comes_late_to_the_events_gets_the_last_ones(agent: Agent) -> None:
    over = connection(agent.unix)
    over.request("GET", "/events", headers={"Last-Event-ID": "0"})
    answer = over.getresponse()
    kinds, until = set(), time.monotonic() + 10
    while "score" not in kinds and time.monotonic() < until:
        line = answer.readline()
        if line.startswith(b"data: {") and b"event_type" in line:
            kinds.add(json.loads(line.removeprefix(b"data: "))["event_type"])
    over.close()
    assert "score" in kinds


def test_a_second_agent_on_its_socket_is_told_its_pid(agent: Agent, samples: Path) -> None:
    (capture,) = samples.glob("attack_day.pcap*")
    command = [sys.executable, "-m", "fortress", "agent", "run", "--replay", str(capture)]
    command += ["--config", str(agent.state / "fortress.toml")]
    second = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 1
    pid = ask(agent.unix, "/health").json["pid"]
    assert second.stderr.strip().endswith(f"is served by another process, pid {pid}")
