# SPDX-License-Identifier: Apache-2.0
"""Findings and what operators say of them, for who only reads: no schema is made or upgraded."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from fortress.errors import StoreError
from fortress.store.tables import FINDINGS

MOST = 100_000  # findings that are read, those that somebody has spoken of and the newest first
_COLUMNS = (
    "id", "time_ns", "detector", "signature", "host", "target", "src_ip", "dest_ip", "dest_port",
    "opinion",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Opined:
    """A finding, whom it is about, and the operator's opinion of it, one of OPINIONS; None = no
    word yet.
    """

    id: int
    time_ns: int
    detector: str
    signature: str
    host: str
    target: str
    src_ip: str
    dest_ip: str
    dest_port: int | None
    opinion: str | None


def read_findings(url: str, since_ns: int, until_ns: int, most: int = MOST) -> list[Opined]:
    """The findings of all runs in [since_ns, until_ns), the newest first, those with an opinion
    before all others; none where the database is not there yet. Raises StoreError.
    """
    with _reading(url) as engine:
        if engine is None:
            return []
        table = FINDINGS.c
        query = (
            select(*(table[name] for name in _COLUMNS))
            .where(table.time_ns >= since_ns, table.time_ns < until_ns)
            .order_by(table.opinion.is_(None), table.time_ns.desc(), table.id.desc())
            .limit(most)
        )
        with engine.connect() as connection:
            return [Opined(*row) for row in connection.execute(query)]


@contextmanager
def _reading(url: str) -> Iterator[Engine | None]:
    parsed = make_url(url)
    shown = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or "")
        if not path.exists():
            yield None
            return
        engine = create_engine("sqlite://", creator=lambda: _open_sqlite(path))
    else:
        engine = create_engine(parsed.set(drivername="postgresql+psycopg"))
    try:
        yield engine
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        raise StoreError(
            f"store {shown}: findings cannot be read: {' '.join(str(cause).split())};"
            " the agent of this version writes the columns that are wanted"
        ) from error
    finally:
        engine.dispose()


def _open_sqlite(path: Path) -> sqlite3.Connection:
    """The file, never written. On a volume that is read-only SQLite cannot make the files that
    readers beside a writer share; where none is there nobody writes, and it is read without them.
    """
    place = path.resolve().as_uri()
    try:
        opened = sqlite3.connect(f"{place}?mode=ro", uri=True)
        opened.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        opened.close()
        opened = sqlite3.connect(f"{place}?mode=ro&immutable=1", uri=True)
    return opened
