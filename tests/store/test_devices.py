"""Devices in the store, on SQLite and on PostgreSQL alike."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command

from fortress.devices.table import Device
from fortress.store import Store
from fortress.store.migrations.run import configuration, upgrade
from fortress.verdict import Notice

PHONE = Device(
    "02:00:5e:00:77:66",
    first_seen_ns=1_700_000_000_000_000_001,
    last_seen_ns=1_800_000_000_000_000_002,
    addresses=("192.168.77.66", "2001:db8:77::66"),
    host_name="phone — Käthe",
    vendor="Acme",
    randomized=True,
    lease_until_s=0,
    vendor_class="android-dhcp-14",
    fingerprint=",".join(["255"] * 48),
    interface="br-lan",
)
LEASED = Device("02:00:5e:00:77:67", lease_until_s=1_763_900_000)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/fortress.sqlite"
    address: str = request.getfixturevalue("postgres_url")
    return address


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url) as opened:
        yield opened


def test_a_device_is_read_back_as_it_was_written_those_seen_last_first(store: Store) -> None:
    later = replace(PHONE, mac="02:00:5e:00:77:68", last_seen_ns=2 * 10**18)
    store.write_devices([LEASED, PHONE, later])
    assert store.devices() == [later, PHONE, LEASED]


def test_what_the_agent_writes_leaves_the_operators_name_alone(store: Store) -> None:
    store.write_devices([PHONE])
    store.name_device(PHONE.mac, "Käthes Tablet")
    seen = replace(PHONE, last_seen_ns=1_900_000_000_000_000_000, name="")
    store.write_devices([seen])
    assert store.devices() == [replace(seen, name="Käthes Tablet")]
    store.name_device(PHONE.mac, "")
    assert store.devices() == [seen]


def test_a_device_may_have_a_name_before_it_is_seen(store: Store) -> None:
    store.name_device(PHONE.mac, "tablet")
    assert store.devices() == [Device(PHONE.mac, name="tablet", randomized=True)]
    store.write_devices([PHONE])
    assert store.devices() == [replace(PHONE, name="tablet")]


def test_what_made_room_is_forgotten_but_for_what_has_a_name(store: Store) -> None:
    store.write_devices([PHONE, LEASED])
    store.name_device(LEASED.mac, "printer")
    store.write_devices([], [PHONE.mac, LEASED.mac, "02:00:5e:00:00:99"])
    assert [one.mac for one in store.devices()] == [LEASED.mac]


def test_thousands_of_devices_come_and_go_in_one_transaction(store: Store) -> None:
    many = [Device(f"02:00:5e:01:{n >> 8:02x}:{n & 255:02x}") for n in range(4096)]
    store.write_devices(many)
    assert len(store.devices()) == 4096
    store.write_devices([PHONE], [one.mac for one in many])
    assert store.devices() == [PHONE]


def test_a_store_of_the_release_before_devices_keeps_what_it_holds(url: str) -> None:
    notice = Notice(1, "kind", "words", {})
    with Store(url) as store:
        run = store.begin_run(["a.pcap"], "0.1.0")
        store.write(run, [notice])
    place = sqlalchemy.make_url(url)
    if place.get_backend_name() == "postgresql":
        place = place.set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(place)
    with engine.begin() as connection:
        command.downgrade(configuration(connection), "0001")
    assert "devices" not in sqlalchemy.inspect(engine).get_table_names()
    with engine.begin() as connection:
        upgrade(connection)
    engine.dispose()
    with Store(url) as store:
        assert store.notices(run) == [notice]
        assert store.devices() == []
