# SPDX-License-Identifier: Apache-2.0
"""How devices become rows and rows devices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

from sqlalchemy import Connection, delete

from fortress.devices.table import Device
from fortress.devices.words import is_randomized
from fortress.store.tables import DEVICES, Row

_AGENTS = tuple(field.name for field in fields(Device) if field.name not in ("mac", "name"))
_AT_ONCE = 500  # SQLite takes 32,766 values in a statement


def to_device(row: Row) -> Device:
    """The device of a row."""
    known = {field.name: row[field.name] for field in fields(Device)}
    return Device(**known | {"addresses": tuple(row["addresses"])})


def in_order(devices: Iterable[Device]) -> list[Device]:
    """Devices with those seen last first, those never seen at the end."""
    return sorted(devices, key=lambda one: (-(one.last_seen_ns or 0), one.mac))


def write(connection: Connection, changed: Sequence[Device], gone: Sequence[str]) -> None:
    """Upsert what changed but for names, and delete what is gone and has no name."""
    for at in range(0, len(gone), _AT_ONCE):
        some = DEVICES.c.mac.in_(gone[at : at + _AT_ONCE])
        connection.execute(delete(DEVICES).where(some, DEVICES.c.name == ""))
    if changed:
        _upsert(connection, [_to_row(one) | {"name": ""} for one in changed], _AGENTS)


def name(connection: Connection, mac: str, name: str) -> None:
    """Set the name alone."""
    device = Device(mac, name=name, randomized=is_randomized(mac))
    _upsert(connection, [_to_row(device)], ("name",))


def _upsert(connection: Connection, rows: list[Row], columns: Sequence[str]) -> None:
    # Both write ON CONFLICT alike; a dialect that is not used is not worth its import.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    statement = insert(DEVICES)
    taken = {column: statement.excluded[column] for column in columns}
    connection.execute(statement.on_conflict_do_update(index_elements=["mac"], set_=taken), rows)


def _to_row(device: Device) -> Row:
    row: Row = {field.name: getattr(device, field.name) for field in fields(device)}
    return row | {"addresses": list(device.addresses)}
