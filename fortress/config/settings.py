# SPDX-License-Identifier: Apache-2.0
"""Every setting of Fortress: its type, bounds, default and documentation."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

from fortress.config.keys import Later, Section, setting
from fortress.errors import ConfigError

Plain = bool | int | float | str
_Minutes = Annotated[float, Later(lambda pydantic: pydantic.Field(gt=0, le=43_200))]
_WebAddress = Annotated[str, Later(lambda pydantic: pydantic.Field(pattern=r"^https?://."))]


@dataclass(frozen=True, slots=True)
class Capture(Section):
    """Which interfaces the agent watches, and how."""

    interfaces: tuple[str, ...] = setting(
        default=(), description="interfaces to watch; none = those of the command line"
    )
    source: Literal["auto", "packet", "af_xdp"] = setting(
        default="auto", description="auto says what it chose and why; af_xdp is for mirror ports"
    )
    outside: tuple[str, ...] = setting(
        default=(),
        description="which of several interfaces face outside; none = those with the default"
        " routes",
    )
    ring_mib: int = setting(
        default=64, ge=1, le=1024, description="memory of all packet rings together in MiB"
    )
    flow_budget_mib: int = setting(
        default=40, ge=1, le=65_536, description="memory of the flow table in MiB while watching"
    )


@dataclass(frozen=True, slots=True)
class Respond(Section):
    """What follows from verdicts, and the guard that carries it out."""

    mode: Literal["monitor", "confirm", "enforce"] = setting(
        default="monitor",
        description="monitor = say what would be done; confirm = propose it; enforce = do it",
    )
    guard: str = setting(
        default="/run/fortress/guard.sock",
        description="the guard's unix socket, empty = work without a guard",
    )
    steps_minutes: tuple[_Minutes, ...] = setting(
        default=(10, 60, 1440),
        min_length=1,
        description="how long a first, second … offence is blocked",
    )
    least: Literal["limit", "block", "quarantine"] = setting(
        default="limit", description="the mildest verdict that is acted upon"
    )
    never: tuple[str, ...] = setting(
        default=(),
        description="addresses, prefixes and MACs that are never blocked, beside the guard's own",
    )
    lists: dict[str, _WebAddress] = setting(
        default={},
        description="addresses of block lists, by their names in guard.toml ([feeds.NAME]); none"
        " is loaded in mode monitor",
    )
    lists_every_hours: float = setting(
        default=24,
        ge=0.25,
        le=168,
        description="how often it is asked whether a list has changed",
    )
    on_stop: Literal["keep", "remove"] = setting(
        default="keep",
        description="whether automatic blocks stay until they expire when the agent stops",
    )


@dataclass(frozen=True, slots=True)
class Flows(Section):
    """The flow table of the C core."""

    budget_mib: int = setting(
        default=64, ge=1, le=65_536, description="memory of the flow table in MiB, of captures"
    )
    idle_timeout_s: float = setting(
        default=120,
        gt=0,
        le=86_400,
        description="seconds without a packet after which a flow ends",
    )
    active_timeout_s: float = setting(
        default=1800,
        gt=0,
        le=604_800,
        description="seconds after which a flow that goes on is told",
    )


@dataclass(frozen=True, slots=True)
class Eve(Section):
    """The file of EVE JSON lines."""

    enabled: bool = setting(default=True, description="whether the file is written")
    path: Path = setting(default=Path("eve.json"), description="the file, relative to state_dir")
    flows: bool = setting(default=False, description="whether each flow gets a line of its own")
    rotate_mib: int = setting(default=256, ge=1, description="size at which the file is set aside")
    keep: int = setting(default=4, ge=0, le=1000, description="how many files set aside are kept")


def _of_a_database(url: str) -> str:
    if not re.search(DATABASES, url):
        raise ValueError("is neither sqlite:///FILE nor postgresql://USER@HOST/NAME")
    return url


DATABASES = r"^(sqlite:///|postgresql(\+psycopg)?://)."
_DatabaseUrl = Annotated[str, Later(lambda pydantic: pydantic.AfterValidator(_of_a_database))]


@dataclass(frozen=True, slots=True)
class Store(Section):
    """The database of findings, verdicts and scores."""

    enabled: bool = setting(default=True, description="whether events are stored")
    url: _DatabaseUrl = setting(
        default="sqlite:///fortress.sqlite",
        description="SQLAlchemy URL of SQLite (file relative to state_dir) or PostgreSQL",
        json_schema_extra={"pattern": DATABASES},
    )
    password_file: Path | None = setting(
        default=None, description="file whose first line is the database's password"
    )
    keep_runs: int = setting(
        default=1000, ge=1, description="how many runs are kept; older ones are deleted"
    )
    batch_events: int = setting(
        default=500, ge=1, le=100_000, description="events written in one transaction"
    )


@dataclass(frozen=True, slots=True)
class ModelUse(Section):
    """What one model is for."""

    mode: Literal["on", "shadow", "off"] = setting(
        default="on",
        description="on = it takes part in the score; shadow = what it would say is recorded only",
    )
    variant: str = setting(
        default="",
        description="another graph of the model, such as int8, where it has one; empty = as"
        " trained",
    )


@dataclass(frozen=True, slots=True)
class Models(Section):
    """The registry of models, whom it trusts, and what each model is for."""

    folder: Path = setting(
        default=Path("models"), description="the registry's versions, relative to state_dir"
    )
    state: Path = setting(
        default=Path("model_state"),
        description="folder that names the versions in use, relative to state_dir; the agent writes"
        " it",
    )
    trusted: tuple[Path, ...] = setting(
        default=(),
        description="files of the publishers' public keys, relative to state_dir; none = model.pub"
        " where it is there",
    )
    key: Path = setting(
        default=Path("model.key"),
        description="the installation's private key, relative to state_dir; only who publishes"
        " needs it",
    )
    keep: int = setting(
        default=5, ge=1, le=1000, description="versions that are kept beside those in use"
    )
    drift: float = setting(
        default=0.25,
        gt=0,
        le=100,
        description="population stability index from which a notice says that the network is not"
        " what a model was made for",
    )
    flow_classifier: ModelUse = ModelUse()
    host_anomaly: ModelUse = ModelUse(mode="shadow")  # as long as its card has no real weeks
    threat_lstm: ModelUse = ModelUse(mode="shadow")  # its card says why

    def mode(self, name: str) -> str:
        """What the model of that name is for."""
        use: ModelUse = getattr(self, name.replace("-", "_"))
        return use.mode

    def variants(self) -> dict[str, str]:
        """The variants that are asked for, by model."""
        uses = {one.name.replace("_", "-"): getattr(self, one.name) for one in fields(self)}
        return {name: use.variant for name, use in uses.items() if isinstance(use, ModelUse)}


@dataclass(frozen=True, slots=True)
class Trainer(Section):
    """The job that makes the models fit this network."""

    captures: Path | None = setting(
        default=None,
        description="folder of the public labelled captures; none = only thresholds are fitted",
    )


@dataclass(frozen=True, slots=True)
class Metrics(Section):
    """Prometheus metrics while the agent serves."""

    listen: str = setting(
        default="127.0.0.1:9090",
        pattern=r"^$|^.+:\d{1,5}$",
        description="ADDRESS:PORT of /metrics, /status and the like, empty = none",
    )


@dataclass(frozen=True, slots=True)
class Control(Section):
    """Who may ask the agent for something, and where."""

    socket: str = setting(
        default="auto",
        description="unix socket of the agent; auto = agent.sock in $RUNTIME_DIRECTORY,"
        " /run/fortress for root, $XDG_RUNTIME_DIR/fortress or state_dir; empty = none",
    )
    group: str = setting(
        default="", description="group whose members may use the unix socket, empty = none"
    )
    token_file: Path = setting(
        default=Path("token"),
        description="secret for changes over TCP, made at first start, relative to state_dir",
    )
    hosts: tuple[str, ...] = setting(
        default=(), description="more names under which the port may be called (Host header)"
    )


@dataclass(frozen=True, slots=True)
class Archive(Section):
    """Every flow that was seen, as Parquet files by day and hour."""

    enabled: bool = setting(default=True, description="whether the live agent keeps its flows")
    path: Path = setting(default=Path("archive"), description="the folder, relative to state_dir")
    keep_gib: float = setting(
        default=4, gt=0, le=1_000_000, description="size at which the oldest files are removed"
    )
    keep_days: float = setting(
        default=30, gt=0, le=36_500, description="age in days at which files are removed"
    )
    rows_per_file: int = setting(
        default=5_000, ge=1000, le=1_000_000, description="flows after which a file is written"
    )
    minutes_per_file: float = setting(
        default=10, gt=0, le=60, description="minutes after which a file is written anyway"
    )


@dataclass(frozen=True, slots=True)
class Devices(Section):
    """Who is on the network."""

    enabled: bool = setting(default=True, description="whether the live agent keeps devices")
    interfaces: tuple[str, ...] = setting(
        default=(),
        description="where devices are; none = everywhere but where a default route leads",
    )
    leases: tuple[Path, ...] = setting(
        default=(
            Path("/var/lib/misc/dnsmasq.leases"),
            Path("/var/lib/dnsmasq/dnsmasq.leases"),
            Path("/run/dnsmasq/dnsmasq.leases"),
        ),
        description="dnsmasq's lease files; one that is not there is passed over",
    )
    vendors: Path = setting(
        default=Path("/usr/share/ieee-data"),
        description="folder of IEEE's oui.csv, mam.csv and oui36.csv (Debian's ieee-data)",
    )
    most: int = setting(
        default=4096, ge=16, le=65_536, description="devices that are known; the oldest make room"
    )


@dataclass(frozen=True, slots=True)
class Energy(Section):
    """What the machine draws."""

    source: Literal["auto", "rapl", "estimate", "off"] = setting(
        default="auto", description="auto = RAPL by `fortress powercap run`, else the estimate"
    )
    socket: str = setting(
        default="auto", description="socket of `fortress powercap run`; auto = beside the agent's"
    )
    idle_watts: float = setting(
        default=3.0,
        ge=0,
        le=10_000,
        description="for the estimate: the idle machine; the default is a published reading of a"
        " Raspberry Pi 4",
    )
    busy_watts: float = setting(
        default=6.3,
        ge=0,
        le=10_000,
        description="for the estimate: every core busy; the default is that machine's, 0 = no"
        " estimate",
    )


@dataclass(frozen=True, slots=True)
class Log(Section):
    """What the services say about themselves, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        default="info", description="the least important message that is shown"
    )
    format: Literal["auto", "plain", "json"] = setting(
        default="auto", description="auto = plain on a terminal, JSON elsewhere"
    )


@dataclass(frozen=True, slots=True)
class Settings(Section):
    """Every setting of Fortress; `description` is its documentation."""

    __pydantic_config__: ClassVar[dict[str, str]] = {
        **Section.__pydantic_config__,
        "title": "fortress.toml",
    }

    state_dir: Path = setting(
        default_factory=lambda: default_state_dir(),
        description="where files and the SQLite database go; /var/lib/fortress for root,"
        " else fortress in $XDG_STATE_HOME or ~/.local/state",
    )
    capture: Capture = Capture()
    flows: Flows = Flows()
    eve: Eve = Eve()
    store: Store = Store()
    models: Models = Models()
    trainer: Trainer = Trainer()
    metrics: Metrics = Metrics()
    control: Control = Control()
    archive: Archive = Archive()
    devices: Devices = Devices()
    energy: Energy = Energy()
    respond: Respond = Respond()
    log: Log = Log()
    qsecbit: dict[str, Plain] = setting(
        default={}, description="settings of the score (docs/score.md)"
    )
    detectors: dict[str, dict[str, Plain]] = setting(
        default={},
        description="a table for each detector, its keyword parameters (docs/detectors.md)",
    )

    def eve_path(self) -> Path:
        """The EVE file's place."""
        return self.state_dir / self.eve.path

    def control_path(self) -> Path | None:
        """The agent's unix socket; None = none."""
        return self._socket(self.control.socket, "agent.sock")

    def energy_path(self) -> Path | None:
        """The socket of the powercap reader; None = none."""
        return self._socket(self.energy.socket, "powercap.sock")

    def token_path(self) -> Path:
        """The token's file."""
        return self.state_dir / self.control.token_file

    def archive_path(self) -> Path:
        """The archive's folder."""
        return self.state_dir / self.archive.path

    def registry_path(self) -> Path:
        """The folder of the registry's versions."""
        return self.state_dir / self.models.folder

    def model_state_path(self) -> Path:
        """The folder that names the versions in use."""
        return self.state_dir / self.models.state

    def model_key_path(self) -> Path:
        """The installation's private key."""
        return self.state_dir / self.models.key

    def trusted_paths(self) -> tuple[Path, ...]:
        """The public keys of trusted publishers."""
        if self.models.trusted:
            return tuple(self.state_dir / path for path in self.models.trusted)
        own = self.model_key_path().with_suffix(".pub")
        return (own,) if own.exists() else ()

    def store_url(self) -> str:
        """The database's URL: a SQLite file made absolute, the password of its file set in."""
        return _with_password(_absolute(self.store.url, self.state_dir), self.store.password_file)

    def _socket(self, setting: str, name: str) -> Path | None:
        if setting == "auto":
            return (runtime_dir() or self.state_dir) / name
        return Path(setting) if setting else None


SECTIONS = tuple(one.name for one in fields(Settings))


def default_state_dir() -> Path:
    """Where state lies when nothing else is said."""
    if os.geteuid() == 0:
        return Path("/var/lib/fortress")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "fortress"


def runtime_dir() -> Path | None:
    """Where sockets lie when nothing else is said; None = nowhere in particular."""
    if named := os.environ.get("RUNTIME_DIRECTORY"):  # systemd's, perhaps several
        return Path(named.partition(":")[0])
    if os.geteuid() == 0:
        return Path("/run/fortress")
    own = os.environ.get("XDG_RUNTIME_DIR")
    return Path(own) / "fortress" if own else None


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
