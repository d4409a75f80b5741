"""Real servers for tests, started by the test as an unprivileged user and gone with it."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.need import need, postgres_programs


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Path]:
    """Start PostgreSQL on a unix socket and return the socket's folder; no TCP port is opened."""
    need("postgres")
    programs = postgres_programs()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="fortress-pg."))
    data = folder / "data"
    settings = f"-k {folder} -c listen_addresses= -c fsync=off -c log_min_messages=warning"
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
    try:
        _run([programs / "initdb", "-D", data, "-U", "fortress", "-A", "trust", "-E", "UTF8", "-N"])
        start = ["start", "-w", "-t", "60", "-l", folder / "log", "-o", settings]
        _run([programs / "pg_ctl", "-D", data, *start])
        try:
            yield folder
        finally:
            _run([programs / "pg_ctl", "-D", data, "stop", "-m", "immediate", "-w"])
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: Path) -> Iterator[str]:
    """Return the SQLAlchemy URL of an empty database that lives as long as the test."""
    name = f"t{uuid.uuid4().hex[:12]}"
    where = f"host={postgres_server} user=fortress"
    with psycopg.connect(f"{where} dbname=postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        yield f"postgresql+psycopg://fortress@/{name}?host={postgres_server}"
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


def _run(command: list[str | Path]) -> None:
    unprivileged = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    prefix = unprivileged if os.geteuid() == 0 else []
    done = subprocess.run(
        [*prefix, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        cwd="/",
        text=True,
        timeout=120,
        check=False,
        close_fds=True,
    )
    assert done.returncode == 0, f"{command[0]} {done.returncode}:\n{done.stdout}"
