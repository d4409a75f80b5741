# SPDX-License-Identifier: Apache-2.0
"""Brings a database's schema to this program's, by Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from fortress.errors import StoreError


def upgrade(connection: Connection) -> None:
    """Run the missing steps; a schema newer than this program is a StoreError."""
    try:
        command.upgrade(configuration(connection), "head")
    except CommandError as error:
        url = connection.engine.url.render_as_string(hide_password=True)
        raise StoreError(
            f"store {url}: its schema is not this program's ({error});"
            " was it written by a newer Fortress? update Fortress or name another store.url"
        ) from error


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration for this folder."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config
