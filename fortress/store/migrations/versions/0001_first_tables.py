# SPDX-License-Identifier: Apache-2.0
"""Runs, findings, verdicts, scores and notices."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "runs",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("sources", sa.JSON(), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("last_ns", sa.BigInteger()),
        sa.Column("stats", sa.JSON(), nullable=False),
    )
    _of_run(
        "findings",
        sa.Column("detector", sa.String(64), nullable=False),
        sa.Column("signature", sa.String(256), nullable=False),
        sa.Column("signature_id", sa.BigInteger(), nullable=False),
        sa.Column("category", sa.String(128), nullable=False),
        sa.Column("layer", sa.String(8), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("technique", sa.String(32), nullable=False),
        sa.Column("severity", sa.Float(53), nullable=False),
        sa.Column("confidence", sa.Float(53), nullable=False),
        sa.Column("risk", sa.Float(53), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("host", sa.String(64), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("src_ip", sa.String(45), nullable=False),
        sa.Column("src_port", sa.Integer()),
        sa.Column("dest_ip", sa.String(45), nullable=False),
        sa.Column("dest_port", sa.Integer()),
        sa.Column("src_mac", sa.String(17), nullable=False),
        sa.Column("proto", sa.String(16), nullable=False),
        sa.Column("flow_id", sa.BigInteger()),
        sa.Column("community_id", sa.String(32), nullable=False),
        sa.Column("in_iface", sa.String(64), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
    )
    op.create_index("ix_findings_host", "findings", ["host"])
    _of_run(
        "verdicts",
        sa.Column("action", sa.Integer(), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("target_kind", sa.String(16), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("signatures", sa.JSON(), nullable=False),
    )
    _of_run(
        "scores",
        sa.Column("value", sa.Float(53), nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("confidence", sa.Float(53), nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
    )
    _of_run(
        "notices",
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
    )


def downgrade() -> None:
    """Remove the tables."""
    for table in ("notices", "scores", "verdicts", "findings", "runs"):
        op.drop_table(table)


def _of_run(table: str, *columns: sa.Column[object]) -> None:
    run = sa.ForeignKey("runs.id", ondelete="CASCADE")
    op.create_table(
        table,
        sa.Column("id", _ID, primary_key=True),
        sa.Column("run_id", _ID, run, nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        *columns,
    )
    op.create_index(f"ix_{table}_run_time", table, ["run_id", "time_ns"])
