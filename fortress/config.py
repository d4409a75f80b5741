# SPDX-License-Identifier: Apache-2.0
"""The configuration: `fortress.toml`, `conf.d/*.toml` beside it, the environment, the command line.

Later ones win, key by key. Unknown keys are errors, and every value knows where it came from.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from fortress.errors import ConfigError

SYSTEM_FILE = Path("/etc/fortress/fortress.toml")
ENV_PREFIX = "FORTRESS_"
ENV_DELIMITER = "__"
FILE_VARIABLE = "FORTRESS_CONFIG"

Tree = dict[str, Any]
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


class Settings(BaseSettings):
    """Every setting of Fortress; `description` is its documentation."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        title="fortress.toml",
    )

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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Everything comes through `load`, which knows the origins."""
        return (init_settings,)

    def eve_path(self) -> Path:
        """The EVE file's place."""
        return self.state_dir / self.eve.path

    def store_url(self) -> str:
        """The database's URL: a SQLite file made absolute, the password of its file set in."""
        return _with_password(_absolute(self.store.url, self.state_dir), self.store.password_file)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for every key that is not a default where its value came from."""

    settings: Settings
    origins: Mapping[str, str]
    files: tuple[Path, ...]

    def values(self) -> Iterator[tuple[str, Any, str]]:
        """Key path, value and origin of every setting, passwords masked."""
        for key, value in _leaves(self.settings.model_dump(mode="json")):
            yield key, masked(value) if key == "store.url" else value, self.origin(key)

    def origin(self, key: str) -> str:
        """Where the value of `key` came from."""
        return self.origins.get(key, "default")


def load(
    file: Path | None = None,
    overrides: Mapping[str, Plain] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """The settings of `file`, else of $FORTRESS_CONFIG, else of SYSTEM_FILE where there is one.

    `overrides` are key paths of the command line. ConfigError names each wrong key and its file.
    """
    environ = os.environ if environ is None else environ
    tree: Tree = {}
    origins: dict[str, str] = {}
    files = tuple(_files(file, environ))
    for path in files:
        _merge(tree, _read(path), origins, str(path))
    _merge(tree, _from_environment(environ), origins, "environment")
    for key, value in (overrides or {}).items():
        _merge(tree, _nested(key, value), origins, "command line")
    try:
        return Loaded(Settings(**tree), origins, files)
    except ValidationError as error:
        raise ConfigError(_complaint(error, origins)) from None


def schema() -> dict[str, Any]:
    """The JSON Schema of fortress.toml."""
    text = Settings.model_json_schema()
    text["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return text


def default_state_dir() -> Path:
    """Where state lies when nothing else is said."""
    if os.geteuid() == 0:
        return Path("/var/lib/fortress")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "fortress"


def masked(url: str) -> str:
    """The URL with its password covered."""
    head, at, tail = url.rpartition("@")
    scheme, mark, credentials = head.partition("://")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{mark}{user}:***{at}{tail}" if at and colon else url


def _files(file: Path | None, environ: Mapping[str, str]) -> Iterator[Path]:
    named = file or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    if named is None and not SYSTEM_FILE.exists():
        return
    main = named or SYSTEM_FILE
    yield main
    yield from sorted((main.parent / "conf.d").glob("*.toml"))


def _read(path: Path) -> Tree:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error


def _from_environment(environ: Mapping[str, str]) -> Tree:
    """What FORTRESS_SECTION__KEY variables say; texts are turned into numbers by their fields."""
    known = Settings.model_fields
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX) and ENV_DELIMITER in name:
            section = name.removeprefix(ENV_PREFIX).split(ENV_DELIMITER)[0].lower()
            if section not in known:
                raise ConfigError(f"environment {name}: no section {section!r}{_near(section)}")
    source = EnvSettingsSource(Settings)
    source.env_vars = {
        name.lower(): value for name, value in environ.items() if name.startswith(ENV_PREFIX)
    }
    try:
        return source()
    except ValueError as error:
        raise ConfigError(f"environment: {error}") from error


def _merge(tree: Tree, more: Tree, origins: dict[str, str], origin: str, at: str = "") -> None:
    for name, value in more.items():
        key = f"{at}{name}"
        if isinstance(value, dict) and not value:
            origins[key] = origin
        if isinstance(value, dict):
            inner = tree.setdefault(name, {})
            if isinstance(inner, dict):  # else an earlier file is wrong: validation will say so
                _merge(inner, value, origins, origin, f"{key}.")
        else:
            tree[name] = value
            variable = ENV_PREFIX + key.upper().replace(".", ENV_DELIMITER)
            origins[key] = f"environment {variable}" if origin == "environment" else origin


def _nested(key: str, value: Plain) -> Tree:
    head, _, rest = key.partition(".")
    return {head: _nested(rest, value)} if rest else {head: value}


def _leaves(tree: Tree, at: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{at}{name}.")
        else:
            yield f"{at}{name}", value


def _complaint(error: ValidationError, origins: Mapping[str, str]) -> str:
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in fault["loc"])
        where = next(
            (o for k, o in origins.items() if k == key or k.startswith(f"{key}.")), None
        ) or next((o for k, o in origins.items() if key.startswith(f"{k}.")), "configuration")
        if fault["type"] == "extra_forbidden":
            lines.append(f"{where}: {key}: unknown key{_near(key)}")
        else:
            lines.append(f"{where}: {key}: {fault['msg']} (it is {fault['input']!r})")
    return "\n".join(lines)


def _near(key: str) -> str:
    keys = [known for known, _ in _leaves(Settings().model_dump(mode="json"))]
    near = difflib.get_close_matches(key, [*keys, *Settings.model_fields], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _absolute(url: str, folder: Path) -> str:
    scheme = "sqlite:///"
    if not url.startswith(scheme) or url.startswith((f"{scheme}/", f"{scheme}:memory:")):
        return url
    return f"{scheme}{(folder / url.removeprefix(scheme)).absolute()}"


def _with_password(url: str, file: Path | None) -> str:
    if file is None:
        return url
    from urllib.parse import quote

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
