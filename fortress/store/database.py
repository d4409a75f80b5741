# SPDX-License-Identifier: Apache-2.0
"""The store: open a SQLAlchemy URL, write values in batches, read them back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from fortress.devices.table import Device
from fortress.errors import StoreError
from fortress.store import devices, tables
from fortress.store.tables import DEVICES, FINDINGS, NOTICES, RUNS, SCORES, VERDICTS, Row, Value
from fortress.verdict import Finding, Notice, Score, Verdict

HEAD = "0003"  # the newest revision in migrations/versions
LOCK = 0x666F727472657373  # "fortress": one process at a time makes a PostgreSQL schema
PERMISSIONS = 0o640  # as the EVE file has: what is stored names people's devices
BUSY_TIMEOUT_MS = 5000  # how long SQLite waits for another writer
SQLITE_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",  # in WAL mode a power cut loses the last transactions, never more
    "PRAGMA foreign_keys=ON",
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it was stored; `status` is running, complete, partial, interrupted or failed."""

    id: int
    sources: tuple[str, ...]
    version: str
    status: str
    last_ns: int | None
    stats: Mapping[str, Any]


class Store:
    """An open database with the schema of this program; every failure is a StoreError."""

    def __init__(self, url: str) -> None:
        """Open `url` (SQLite or PostgreSQL), and create or upgrade its schema."""
        self.url, self._engine = _engine(url)
        try:
            with self._told("cannot be opened"):
                _upgrade(self._engine)
        except BaseException:
            self._engine.dispose()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def begin_run(self, sources: Sequence[str], version: str, keep: int | None = None) -> int:
        """The number of a new run; with `keep` only so many runs stay, the newest ones."""
        row = {"sources": list(sources), "version": version, "status": "running", "stats": {}}
        with self._writing() as connection:
            run = int(connection.execute(insert(RUNS).returning(RUNS.c.id), row).scalar_one())
            if keep is not None:
                newest = select(RUNS.c.id).order_by(RUNS.c.id.desc()).limit(keep)
                connection.execute(delete(RUNS).where(RUNS.c.id.not_in(newest)))
            return run

    def end_run(self, run: int, status: str, last_ns: int, stats: Mapping[str, Any]) -> None:
        """Write how a run ended."""
        row = {"status": status, "last_ns": last_ns, "stats": dict(stats)}
        with self._writing() as connection:
            connection.execute(update(RUNS).where(RUNS.c.id == run), row)

    def write(self, run: int, values: Sequence[Value]) -> None:
        """Write all `values` in one transaction, or none of them."""
        with self._writing() as connection:
            for kind, table in tables.TABLES.items():
                rows = [tables.to_row(value) for value in values if isinstance(value, kind)]
                if rows:
                    connection.execute(insert(table), [row | {"run_id": run} for row in rows])

    def runs(self) -> list[Run]:
        """Every run, newest first."""
        query = select(RUNS).order_by(RUNS.c.id.desc())
        return [Run(**row | {"sources": tuple(row["sources"])}) for row in self._rows(query)]

    def findings(self, run: int) -> list[Finding]:
        """The findings of a run in the order in which they were written."""
        return [tables.to_finding(row) for row in self._of_run(FINDINGS, run)]

    def verdicts(self, run: int) -> list[Verdict]:
        """The verdicts of a run in the order in which they were written."""
        return [tables.to_verdict(row) for row in self._of_run(VERDICTS, run)]

    def scores(self, run: int) -> list[Score]:
        """The scores of a run in the order in which they were written."""
        return [tables.to_score(row) for row in self._of_run(SCORES, run)]

    def notices(self, run: int) -> list[Notice]:
        """The notices of a run in the order in which they were written."""
        return [tables.to_notice(row) for row in self._of_run(NOTICES, run)]

    def devices(self) -> list[Device]:
        """Every device, those seen last first."""
        return devices.in_order(devices.to_device(row) for row in self._rows(select(DEVICES)))

    def write_devices(self, changed: Sequence[Device], gone: Sequence[str] = ()) -> None:
        """Write devices as they are now but for their names, and forget MACs, in one transaction;
        a device that an operator has named is not forgotten.
        """
        with self._writing() as connection:
            devices.write(connection, changed, gone)

    def name_device(self, mac: str, name: str) -> None:
        """Give a device a name, or with "" take it away; a MAC never seen gets a row."""
        with self._writing() as connection:
            devices.name(connection, mac, name)

    def opine(self, finding: int, opinion: str | None) -> bool:
        """Write what an operator says of a finding (one of OPINIONS, None = nothing any more);
        whether there is such a finding.
        """
        with self._writing() as connection:
            change = update(FINDINGS).where(FINDINGS.c.id == finding).values(opinion=opinion)
            return connection.execute(change).rowcount > 0

    def _of_run(self, table: Table, run: int) -> list[Row]:
        return self._rows(select(table).where(table.c.run_id == run).order_by(table.c.id))

    def _rows(self, query: Any) -> list[Row]:
        with self._told("cannot be read"), self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._told("cannot be written"), _transaction(self._engine) as connection:
            yield connection

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise StoreError(f"store {self.url}: {what}: {_words(error)}") from error


def _engine(text_url: str) -> tuple[str, Engine]:
    """The URL without its password, and an engine; no connection is made yet."""
    try:
        url = make_url(text_url)
        shown = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite":
            _make_file(url, shown)
            engine = create_engine(url)
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        elif url.get_backend_name() == "postgresql":
            engine = create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        else:
            raise StoreError(f"store {shown}: neither SQLite nor PostgreSQL")
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreError(f"store.url: {_words(error)}") from error
    return shown, engine


def _make_file(url: URL, shown: str) -> None:
    """An empty file with our permissions where there is none: SQLite's -wal and -shm take its."""
    if not url.database or url.database == ":memory:":
        raise StoreError(f"store {shown}: names no file (sqlite:///FILE)")
    file = Path(url.database)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            os.close(os.open(file, os.O_CREAT | os.O_CLOEXEC, PERMISSIONS))
    except OSError as error:
        raise StoreError(f"store {shown}: cannot make {file}: {error.strerror}") from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = (
        None  # transactions are begun below, so that DDL is in them as well
    )
    for pragma in SQLITE_PRAGMAS:
        connection.execute(pragma)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


def _upgrade(engine: Engine) -> None:
    """Bring the schema to HEAD; only one that is behind costs the import of Alembic."""
    with engine.connect() as connection:
        if _revision(connection) == HEAD:
            return
    with _transaction(engine) as connection:
        if connection.dialect.name == "postgresql":  # SQLite's transaction keeps others out
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        revision = _revision(connection)
        if revision is None:
            _create(connection)
        elif revision != HEAD:
            from fortress.store.migrations.run import upgrade

            upgrade(connection)


def _create(connection: Connection) -> None:
    """The schema of HEAD at once: a test holds it to what the migrations make step by step."""
    tables.METADATA.create_all(connection, checkfirst=False)
    tables.REVISION.create(connection, checkfirst=False)
    connection.execute(insert(tables.REVISION).values(version_num=HEAD))


def _revision(connection: Connection) -> str | None:
    """The revision of the schema, "" for that of a schema taken back, None where none was yet."""
    if not connection.dialect.has_table(connection, tables.REVISION.name):
        return None
    return connection.execute(select(tables.REVISION.c.version_num)).scalar() or ""


def _words(error: SQLAlchemyError) -> str:
    """The database's own words, on one line."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(cause).split())
