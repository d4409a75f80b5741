# SPDX-License-Identifier: Apache-2.0
"""Every setting of Fortress: its type, bounds, default and documentation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from fortress.errors import ConfigError

Plain = bool | int | float | str


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Flows(_Section):
    """The flow table of the C core."""

    budget_mib: int = Field(
        default=64, ge=1, le=65_536, description="memory of the flow table in MiB"
    )
    idle_timeout_s: float = Field(
        default=120, gt=0, le=86_400, description="seconds without a packet after which a flow ends"
    )
    active_timeout_s: float = Field(
        default=1800,
        gt=0,
        le=604_800,
        description="seconds after which a flow that goes on is told",
    )


class Eve(_Section):
    """The file of EVE JSON lines."""

    enabled: bool = Field(default=True, description="whether the file is written")
    path: Path = Field(default=Path("eve.json"), description="the file, relative to state_dir")
    flows: bool = Field(default=False, description="whether each flow gets a line of its own")
    rotate_mib: int = Field(default=256, ge=1, description="size at which the file is set aside")
    keep: int = Field(default=4, ge=0, le=1000, description="how many files set aside are kept")


class Store(_Section):
    """The database of findings, verdicts and scores."""

    enabled: bool = Field(default=True, description="whether events are stored")
    url: str = Field(
        default="sqlite:///fortress.sqlite",
        description="SQLAlchemy URL of SQLite (file relative to state_dir) or PostgreSQL",
    )
    password_file: Path | None = Field(
        default=None, description="file whose first line is the database's password"
    )
    keep_runs: int = Field(
        default=1000, ge=1, description="how many runs are kept; older ones are deleted"
    )
    batch_events: int = Field(
        default=500, ge=1, le=100_000, description="events written in one transaction"
    )


class Model(_Section):
    """The flow classifier."""

    enabled: bool = Field(default=True, description="whether the model takes part in the score")
    name: str = Field(default="flow-classifier", description="which model of the registry")
    folder: Path | None = Field(
        default=None, description="registry folder; none = the shipped models"
    )


class Metrics(_Section):
    """Prometheus metrics while the agent serves."""

    listen: str = Field(
        default="127.0.0.1:9090",
        pattern=r"^$|^.+:\d{1,5}$",
        description="ADDRESS:PORT of /metrics, empty = none",
    )


class Log(_Section):
    """What the services say about themselves, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least important message that is shown"
    )
    format: Literal["auto", "plain", "json"] = Field(
        default="auto", description="auto = plain on a terminal, JSON elsewhere"
    )


class Settings(_Section):
    """Every setting of Fortress; `description` is its documentation."""

    model_config = ConfigDict(title="fortress.toml")

    state_dir: Path = Field(
        default_factory=lambda: default_state_dir(),
        description="where files and the SQLite database go; /var/lib/fortress for root,"
        " else fortress in $XDG_STATE_HOME or ~/.local/state",
    )
    flows: Flows = Flows()
    eve: Eve = Eve()
    store: Store = Store()
    model: Model = Model()
    metrics: Metrics = Metrics()
    log: Log = Log()
    qsecbit: dict[str, Plain] = Field(
        default={}, description="settings of the score (docs/score.md)"
    )
    detectors: dict[str, dict[str, Plain]] = Field(
        default={},
        description="a table for each detector, its keyword parameters (docs/detectors.md)",
    )

    def eve_path(self) -> Path:
        """The EVE file's place."""
        return self.state_dir / self.eve.path

    def store_url(self) -> str:
        """The database's URL: a SQLite file made absolute, the password of its file set in."""
        return _with_password(_absolute(self.store.url, self.state_dir), self.store.password_file)


def default_state_dir() -> Path:
    """Where state lies when nothing else is said."""
    if os.geteuid() == 0:
        return Path("/var/lib/fortress")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "fortress"


def _absolute(url: str, folder: Path) -> str:
    scheme = "sqlite:///"
    if not url.startswith(scheme) or url.startswith((f"{scheme}/", f"{scheme}:memory:")):
        return url
    return f"{scheme}{(folder / url.removeprefix(scheme)).absolute()}"


def _with_password(url: str, file: Path | None) -> str:
    if file is None:
        return url
    try:
        password = file.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError) as error:
        why = getattr(error, "strerror", None) or "it is empty"
        raise ConfigError(f"store.password_file: {file}: {why}") from error
    scheme, mark, rest = url.partition("://")
    user, at, host = rest.partition("@")
    if not at:
        raise ConfigError("store.password_file: store.url names no user (scheme://user@host/name)")
    return f"{scheme}{mark}{user}:{quote(password, safe='')}{at}{host}"
