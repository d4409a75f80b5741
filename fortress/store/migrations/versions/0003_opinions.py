# SPDX-License-Identifier: Apache-2.0
"""What an operator says of a finding."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("findings", sa.Column("opinion", sa.String(16)))


def downgrade() -> None:
    """Remove the column."""
    op.drop_column("findings", "opinion")
