"""Runs `fortress` as a process, as a user does."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORTRESS = [sys.executable, "-m", "fortress"]


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON lines of standard output."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def stats(self) -> dict[str, Any]:
        """The last event."""
        last = self.events[-1]
        assert last["event_type"] == "stats"
        stats: dict[str, Any] = last["stats"]
        return stats

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Events of one kind."""
        return [event for event in self.events if event["event_type"] == kind]


def environment(state: Path) -> dict[str, str]:
    """An environment in which nothing of this machine is read or written."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FORTRESS_")}
    return kept | {
        "FORTRESS_STATE_DIR": str(state),
        "FORTRESS_METRICS__LISTEN": "",
        "FORTRESS_CONTROL__SOCKET": str(state / "agent.sock"),
    }


def fortress(*arguments: object, state: Path, timeout: float = 120, **more: Any) -> Done:
    """Run the command to its end; it must never show a traceback."""
    done = subprocess.run(
        [*FORTRESS, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
        env=environment(state) | more.pop("env", {}),
        **more,
    )
    told = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in told.err, told.err
    return told
