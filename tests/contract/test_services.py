"""The servers that tests start are real ones."""

import psycopg
import sqlalchemy


def test_a_test_gets_an_empty_postgresql_database_of_its_own(postgres_url: str) -> None:
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.begin() as connection:
        version = connection.execute(sqlalchemy.text("show server_version_num")).scalar_one()
        assert int(version) >= 150000
        connection.execute(sqlalchemy.text("create table seen (n int)"))
        tables = sqlalchemy.inspect(connection).get_table_names()
    engine.dispose()
    assert tables == ["seen"]


def test_the_server_listens_on_its_socket_only(postgres_server: object) -> None:
    with psycopg.connect(f"host={postgres_server} user=fortress dbname=postgres") as connection:
        row = connection.execute("show listen_addresses").fetchone()
    assert row == ("",)
