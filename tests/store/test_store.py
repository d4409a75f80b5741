"""What the store promises, on SQLite and on PostgreSQL alike: one suite, two real databases."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from fortress.errors import StoreError
from fortress.store import Store, database
from fortress.store.migrations.run import configuration, upgrade
from fortress.store.tables import METADATA
from fortress.verdict import (
    Action,
    Finding,
    Layer,
    Notice,
    Score,
    Share,
    Shares,
    Source,
    Status,
    Verdict,
)

FINDING = Finding(
    time_ns=1_700_000_000_123_456_789,
    detector="port_scan",
    signature="One host tried many ports of another",
    signature_id=2**40,
    category="Attempted Information Leak",
    layer=Layer.L4,
    source=Source.RULE,
    technique="T1046",
    severity=0.8,
    confidence=0.95,
    reason="10.0.0.5 tried 1,000 ports — “all refused”",
    host="10.0.0.5",
    target="10.0.0.1",
    src_ip="10.0.0.5",
    src_port=0,
    dest_ip="fe80::1",
    dest_port=65535,
    src_mac="02:00:00:00:00:01",
    proto="TCP",
    flow_id=2**62,
    community_id="1:abc=",
    in_iface="0",
    evidence={"ports": 1000, "share": 0.25, "kind": "syn"},
)
VERDICT = Verdict(FINDING.time_ns, Action.BLOCK, "10.0.0.5", "address", 2**62, "scan", (7, 2**40))
SCORE = Score(FINDING.time_ns, 0.75, Status.RED, 0.9, Shares((Share("z", 0.5), Share("a", 0.25))))
NOTICE = Notice(FINDING.time_ns, "clock_step", "went back", {"step_ns": -5})
VALUES = (FINDING, VERDICT, SCORE, NOTICE)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store/fortress.sqlite"
    address: str = request.getfixturevalue("postgres_url")
    return address


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url) as opened:
        yield opened


@pytest.fixture
def engine(url: str) -> Iterator[sqlalchemy.Engine]:
    """An empty database, opened without the store."""
    place = sqlalchemy.make_url(url)
    if place.get_backend_name() == "sqlite":
        Path(str(place.database)).parent.mkdir()
    opened = sqlalchemy.create_engine(place)
    yield opened
    opened.dispose()


def test_what_was_written_is_read_back_unchanged(store: Store) -> None:
    run = store.begin_run(["a.pcap", "b.pcap"], "0.1.0")
    store.write(run, VALUES)

    assert store.findings(run) == [FINDING]
    assert store.verdicts(run) == [VERDICT]
    assert store.scores(run) == [SCORE]
    assert store.notices(run) == [NOTICE]


def test_shares_keep_their_order(store: Store) -> None:
    run = store.begin_run([], "0.1.0")
    store.write(run, [SCORE])
    assert [share.name for share in store.scores(run)[0].by_host] == ["z", "a"]


def test_a_run_tells_its_end(store: Store) -> None:
    run = store.begin_run(["a.pcap"], "0.1.0")
    assert store.runs()[0].status == "running"
    store.end_run(run, "partial", 5, {"packets": 3})
    ended = store.runs()[0]
    assert (ended.id, ended.status, ended.last_ns, ended.stats) == (
        run,
        "partial",
        5,
        {"packets": 3},
    )


def test_runs_do_not_see_each_others_values(store: Store) -> None:
    first, second = store.begin_run([], "0"), store.begin_run([], "0")
    store.write(first, [FINDING, FINDING])
    store.write(second, [VERDICT])
    assert len(store.findings(first)) == 2
    assert store.findings(second) == []
    assert [run.id for run in store.runs()] == [second, first]


def test_only_the_newest_runs_are_kept_with_all_that_belongs_to_them(store: Store) -> None:
    for _ in range(4):
        run = store.begin_run([], "0", keep=2)
        store.write(run, VALUES)
    newest, older = store.runs()
    assert (newest.id, older.id) == (run, run - 1)
    assert store.findings(run - 2) == store.scores(run - 2) == store.notices(run - 2) == []
    assert store.findings(older.id) == [FINDING]


def test_a_batch_is_written_whole_or_not_at_all(store: Store) -> None:
    run = store.begin_run([], "0")
    beyond_64_bits = Verdict(2**70, Action.PASS, "x", "mac", 0, "")
    with pytest.raises((StoreError, OverflowError)):
        store.write(run, [FINDING, beyond_64_bits])
    assert store.findings(run) == []


def test_opening_again_keeps_what_is_there(url: str) -> None:
    with Store(url) as store:
        run = store.begin_run([], "0")
        store.write(run, [FINDING])
    with Store(url) as store:
        assert store.findings(run) == [FINDING]


def test_a_new_file_and_its_journals_are_not_for_everyone_to_read(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Store(f"sqlite:///{tmp_path}/fortress.sqlite") as store:
            store.begin_run(["a.pcap"], "0.1.0")
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    names = ("fortress.sqlite", "fortress.sqlite-wal", "fortress.sqlite-shm")
    assert modes == dict.fromkeys(names, 0o640)


def test_two_processes_may_write_at_once(url: str) -> None:
    with Store(url) as one, Store(url) as other:
        first, second = one.begin_run([], "0"), other.begin_run([], "0")
        for _ in range(10):
            one.write(first, [FINDING])
            other.write(second, [FINDING])
        assert len(other.findings(first)) == len(one.findings(second)) == 10


def test_the_migrations_make_exactly_the_tables_of_the_program(engine: sqlalchemy.Engine) -> None:
    _migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_a_new_database_is_as_if_it_had_been_migrated(engine: sqlalchemy.Engine, url: str) -> None:
    _migrate(engine)
    migrated = _described(engine)
    everything = sqlalchemy.MetaData()
    everything.reflect(engine)
    everything.drop_all(engine)
    assert _described(engine) == ({}, [])

    Store(url).close()

    assert _described(engine) == migrated
    assert sorted(migrated[0]) == sorted([*METADATA.tables, "alembic_version"])


def test_a_schema_that_is_behind_is_migrated(engine: sqlalchemy.Engine, url: str) -> None:
    Store(url).close()
    with engine.begin() as connection:
        command.downgrade(configuration(connection), "base")
    assert sorted(_described(engine)[0]) == ["alembic_version"]
    with Store(url) as store:
        assert store.runs() == []


def test_a_new_database_needs_no_migrations(url: str) -> None:
    """Alembic takes longer to import than a small capture takes to replay."""
    program = (
        "import sys; from fortress.store import Store; Store(sys.argv[1]).close();"
        " print({'alembic', 'sqlalchemy.orm'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, url], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_a_schema_newer_than_the_program_is_refused(url: str) -> None:
    with Store(url) as store:
        engine = sqlalchemy.create_engine(_of(store))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match="newer Fortress"):
        Store(url)


def test_the_head_named_in_the_program_is_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(configuration()).get_current_head() == database.HEAD


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///{tmp}/file/x.sqlite", "cannot make"),
        ("sqlite:///{tmp}/folder", "cannot be opened"),
        ("sqlite:///{tmp}/file", "not a database"),
        ("sqlite://", "names no file"),
        ("mysql://localhost/x", "mysql"),
        ("nonsense", "store.url"),
        ("postgresql://u:secret@/x?host={tmp}", "cannot be opened"),
    ],
)
def test_a_store_that_cannot_be_opened_says_why_without_its_password(
    tmp_path: Path, url: str, words: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("this is no database, only text that is long enough to look at")
    with pytest.raises(StoreError, match=words) as caught:
        Store(url.format(tmp=tmp_path))
    assert "secret" not in str(caught.value)


def test_a_database_of_another_program_is_left_alone(url: str, tmp_path: Path) -> None:
    """Foreign tables stay; ours are made beside them."""
    with Store(url) as store:
        engine = sqlalchemy.create_engine(_of(store))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE theirs (x INTEGER)"))
    engine.dispose()
    with Store(url) as store:
        assert store.runs() == []


def _migrate(engine: sqlalchemy.Engine) -> None:
    with engine.begin() as connection:
        upgrade(connection)


def _described(engine: sqlalchemy.Engine) -> tuple[dict[str, object], list[object]]:
    """Everything that a database tells of its tables, and of its revision."""
    looked = sqlalchemy.inspect(engine)
    tables: dict[str, object] = {
        name: (
            [column | {"type": repr(column["type"])} for column in looked.get_columns(name)],
            looked.get_pk_constraint(name),
            looked.get_foreign_keys(name),
            sorted(looked.get_indexes(name), key=lambda index: str(index["name"])),
            looked.get_unique_constraints(name),
            looked.get_check_constraints(name),
        )
        for name in looked.get_table_names()
    }
    if "alembic_version" not in tables:
        return tables, []
    with engine.connect() as connection:
        revision = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version"))
        return tables, list(revision.scalars())


def _of(store: Store) -> sqlalchemy.URL:
    return sqlalchemy.make_url(store.url)
