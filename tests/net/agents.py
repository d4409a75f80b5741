"""A real agent on a gateway in a namespace, and a stranger on the other end of its wire."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fortress.errors import GuardError
from fortress.respond.client import GuardClient
from tests.net import guarded
from tests.net.namespace import Namespace, new_namespace
from tests.patience import patient
from tests.surface.asking import Answer, ask

FORTRESS = Path(sys.executable).parent / "fortress"
OURS, THEIRS = "192.168.77.1", "192.168.77.66"
WAIT_S = 15.0


def until(true: Callable[[], object], within_s: float = WAIT_S) -> None:
    """As of any wait, but an agent has more to start than a guard."""
    guarded.until(true, within_s)


@dataclass(slots=True)
class Site:
    """A gateway with `lan0`, a stranger at its other end, and the agents that a test starts.

    `config` is what fortress.toml says beyond places.
    """

    gateway: Namespace
    stranger: Namespace
    folder: Path
    config: str = ""
    agents: list[subprocess.Popen[str]] = field(default_factory=list)
    guards: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        """Where the agent answers."""
        return self.folder / "agent.sock"

    @property
    def guard(self) -> Path:
        """Where the guard would be."""
        return self.folder / "run" / "guard.sock"

    @property
    def toml(self) -> Path:
        """The configuration file, written anew."""
        path = self.folder / "fortress.toml"
        path.write_text(
            f'state_dir = "{self.folder / "state"}"\n{self.config}\n'
            f'[control]\nsocket = "{self.socket}"\n[metrics]\nlisten = ""\n'
        )
        return path

    def begin(self, *options: str, **environ: str) -> subprocess.Popen[str]:
        """An agent that may or may not come up."""
        return self.begin_as((), *options, **environ)

    def begin_as(
        self, run_by: Sequence[str], *options: str, **environ: str
    ) -> subprocess.Popen[str]:
        """An agent that is started by a command, such as one that takes capabilities away."""
        words = (FORTRESS, "agent", "run", *(options or ("--interface", "lan0")))
        agent = subprocess.Popen(
            self.gateway.command(*run_by, *words, "--config", self.toml),
            env=os.environ
            | {"RUNTIME_DIRECTORY": str(self.folder), "FORTRESS_RESPOND__GUARD": str(self.guard)}
            | environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.agents.append(agent)
        return agent

    def start(self, *options: str, **environ: str) -> subprocess.Popen[str]:
        """An agent that watches."""
        agent = self.begin(*options, **environ)
        until(lambda: agent.poll() is not None or self.state() == "running")
        assert agent.poll() is None, agent.communicate()[1]
        return agent

    def start_guard(self, config: str = "") -> subprocess.Popen[str]:
        """A guard that answers; `config` is what guard.toml says beyond places."""
        path = self.folder / "guard.toml"
        state, audit = self.folder / "guard", self.folder / "guard.jsonl"
        path.write_text(
            f'socket = "{self.guard}"\nstate = "{state}"\naudit = "{audit}"\n{config}\n'
        )
        guard = subprocess.Popen(
            self.gateway.command(FORTRESS, "guard", "run", "--guard-config", path),
            stderr=subprocess.PIPE,
            text=True,
        )
        self.guards.append(guard)
        until(lambda: guard.poll() is not None or self._guard_answers())
        assert guard.poll() is None, guard.communicate()[1]
        return guard

    def _guard_answers(self) -> bool:
        with contextlib.suppress(GuardError), GuardClient(self.guard, session="") as client:
            return bool(client.hello())
        return False

    def client(self) -> GuardClient:
        """A connection to the guard, of an operator."""
        return GuardClient(self.guard, session="")

    def blocked(self) -> set[str]:
        """What the guard holds."""
        with self.client() as client:
            return {one.target for one in client.blocks()}

    def audit(self, act: str) -> list[dict[str, Any]]:
        """The guard's audit lines of an act."""
        lines = map(json.loads, (self.folder / "guard.jsonl").read_text().splitlines())
        return [line for line in lines if line["act"] == act]

    def stop(self, agent: subprocess.Popen[str]) -> str:
        """What the agent said on standard error, having been asked to stop."""
        agent.send_signal(signal.SIGTERM)
        said = agent.communicate(timeout=patient(30))[1]
        assert agent.returncode == 0, said
        return said

    def ask(self, path: str, method: str = "GET", body: dict[str, Any] | None = None) -> Answer:
        """What the agent answers on its socket."""
        return ask(self.socket, path, method, body)

    def state(self) -> str:
        """What the agent says it does; "" when it does not answer."""
        with contextlib.suppress(OSError):
            return str(self.ask("/status").json["state"])
        return ""

    def sensor(self, name: str) -> dict[str, Any]:
        """A sensor of the agent's."""
        rows = self.ask("/status").json["sensors"]
        return next((row for row in rows if row["name"] == name), {"state": "", "reason": ""})

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the EVE file holds of a kind."""
        path = self.folder / "state" / "eve.json"
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["event_type"] == kind]

    def notices(self, kind: str) -> list[str]:
        """The messages of the notices of a kind."""
        told = (event["notice"] for event in self.events("notice"))
        return [notice["message"] for notice in told if notice["kind"] == kind]


@contextlib.contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A gateway and a stranger; agents that a test leaves behind are killed on the way out."""
    with new_namespace() as gateway, new_namespace() as stranger:
        gateway.ip("link set lo up")
        wire(gateway, stranger)
        made = Site(gateway, stranger, folder)
        try:
            yield made
        finally:
            for process in (*made.agents, *made.guards):
                if process.poll() is None:
                    process.kill()
                process.communicate(timeout=patient(10))


def wire(gateway: Namespace, stranger: Namespace) -> None:
    """The wire between them, both ends up and addressed."""
    gateway.ip(f"link add lan0 type veth peer name eth0 netns {stranger.name}")
    for space, name, address in ((gateway, "lan0", OURS), (stranger, "eth0", THEIRS)):
        space.ip(f"addr add {address}/24 dev {name}")
        space.ip(f"link set {name} up")
