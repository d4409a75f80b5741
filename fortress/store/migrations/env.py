# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: runs the steps on the connection given, in the transaction of the caller."""

from alembic import context

from fortress.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
