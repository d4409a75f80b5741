"""An agent's surface without an agent: a board with a loop's snapshots on it, served for real."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fortress.archive.shelf import ArchiveState
from fortress.config import Settings
from fortress.config.settings import Control, Metrics
from fortress.errors import ModelError, OutputError
from fortress.qsecbit.energy import Energy
from fortress.services.agent.board import Board
from fortress.services.agent.surface import surface
from fortress.services.agent.view import AgentStatus, BlockRow, Outcome, SensorRow, Totals
from fortress.verdict import Finding, Layer, Score, Share, Shares, Source, Status

NOW_NS = 1_700_000_000_000_000_000


@dataclass
class Asked:
    """An AgentControl that writes down what it was asked."""

    said: list[str] = field(default_factory=list)

    def confirm(self, target: str) -> Outcome:
        if target == "192.0.2.99":
            raise OutputError("192.0.2.99: no block is proposed for it")
        self.said.append(f"confirm {target}")
        return Outcome(True, f"{target} is blocked")

    def reload(self) -> Outcome:
        self.said.append("reload")
        return Outcome(True, "read again")

    def promote(self, name: str, version: str) -> Outcome:
        if version == "9.9.9":
            raise ModelError(f"{name}: no such version")
        self.said.append(f"promote {name} {version}")
        return Outcome(True, f"{name} {version} is in use")

    def rollback(self, name: str) -> Outcome:
        self.said.append(f"rollback {name}")
        return Outcome(True, f"{name}: 1.0.0 is in use")


@dataclass
class Served:
    """Where a surface answers, and what is behind it."""

    board: Board
    asked: Asked
    tcp: str
    unix: Path
    token: str


def free_address(host: str = "127.0.0.1") -> str:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


def settings(folder: Path, listen: str = "", **control: object) -> Settings:
    place = {"socket": str(folder / "agent.sock")} | control
    return Settings(state_dir=folder, metrics=Metrics(listen=listen), control=Control(**place))


@contextmanager
def served(folder: Path, listen: str | None = None, **control: object) -> Iterator[Served]:
    """A board on the air."""
    board, asked = Board("1.2.3"), Asked()
    listen = free_address() if listen is None else listen
    with surface(board, board.events, asked, settings(folder, listen, **control)):
        token = (folder / "token").read_text().strip()
        yield Served(board, asked, listen, folder / "agent.sock", token)


def finding(number: int = 0) -> Finding:
    return Finding(
        time_ns=NOW_NS + number,
        detector="port_scan",
        signature="Port scan",
        signature_id=1,
        category="scan",
        layer=Layer.L4,
        source=Source.RULE,
        technique="T1046",
        severity=0.8,
        confidence=0.9,
        reason="many ports",
        host=f"192.0.2.{number}",
    )


def score(second: float = 0, value: float = 0.5, status: Status = Status.AMBER) -> Score:
    ns = NOW_NS + round(second * 1e9)
    return Score(ns, value, status, 0.75, Shares((Share("192.0.2.1", value),)))


def snapshot(second: float = 0, packets: int = 100, drops: int = 7) -> AgentStatus:
    return AgentStatus(
        time_ns=NOW_NS + round(second * 1e9),
        source="packet",
        sensors=(
            SensorRow("eth1", "capture", "live", last_ns=NOW_NS),
            SensorRow("eth2", "capture", "stale", "the link is down"),
            SensorRow("energy", "energy", "missing", "no RAPL here"),
        ),
        totals=Totals(packets=packets, bytes=packets * 100, kernel_drops=drops, rows_lost=1),
        flows_active=3,
        sampled=0.5,
        archive=ArchiveState(files=1, bytes=4096, rows_written=100, rows_lost=5, rows_waiting=0),
        energy=Energy("estimate", 4.5, {"machine": 4.5}, 90.0, 3.0),
    )


BLOCK = BlockRow("192.0.2.1", "addr", "BLOCK", "proposed", "automatic", "port scan", NOW_NS)
