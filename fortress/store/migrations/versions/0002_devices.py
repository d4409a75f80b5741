# SPDX-License-Identifier: Apache-2.0
"""Devices: who has been on the network."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "devices",
        sa.Column("mac", sa.String(17), primary_key=True),
        sa.Column("first_seen_ns", sa.BigInteger()),
        sa.Column("last_seen_ns", sa.BigInteger()),
        sa.Column("addresses", sa.JSON(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("host_name", sa.String(64), nullable=False),
        sa.Column("vendor", sa.String(64), nullable=False),
        sa.Column("randomized", sa.Boolean(), nullable=False),
        sa.Column("lease_until_s", sa.BigInteger()),
        sa.Column("vendor_class", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(256), nullable=False),
        sa.Column("interface", sa.String(16), nullable=False),
    )


def downgrade() -> None:
    """Remove the table."""
    op.drop_table("devices")
