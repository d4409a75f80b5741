# SPDX-License-Identifier: Apache-2.0
"""The tables, and how the values of `fortress.verdict` become rows and rows become values.

Times are nanoseconds since 1970 of the capture's clock. A column keeps its meaning; a new one is a
migration. Plain tables, not mapped classes: SQLAlchemy's ORM takes long to import and has no use
here.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from fortress.verdict import (
    DIVISIONS,
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

Row = dict[str, Any]

_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself


METADATA = MetaData()
OPINIONS = ("confirmed", "false_alarm")


def _of_run(name: str, *columns: Column[Any], index: tuple[Index, ...] = ()) -> Table:
    """A table of values that belong to a run and go with it."""
    return Table(
        name,
        METADATA,
        Column("id", _ID, primary_key=True),
        Column("run_id", _ID, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        Column("time_ns", BigInteger, nullable=False),
        *columns,
        Index(f"ix_{name}_run_time", "run_id", "time_ns"),
        *index,
    )


# One run of the agent over one input.
RUNS = Table(
    "runs",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("sources", JSON, nullable=False),
    Column("version", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("last_ns", BigInteger),
    Column("stats", JSON, nullable=False),
)

# Findings, whatever their risk.
FINDINGS = _of_run(
    "findings",
    Column("detector", String(64), nullable=False),
    Column("signature", String(256), nullable=False),
    Column("signature_id", BigInteger, nullable=False),
    Column("category", String(128), nullable=False),
    Column("layer", String(8), nullable=False),
    Column("source", String(16), nullable=False),
    Column("technique", String(32), nullable=False),
    Column("severity", Float(53), nullable=False),
    Column("confidence", Float(53), nullable=False),
    Column("risk", Float(53), nullable=False),
    Column("reason", Text, nullable=False),
    Column("host", String(64), nullable=False),
    Column("target", String(64), nullable=False),
    Column("src_ip", String(45), nullable=False),
    Column("src_port", Integer),
    Column("dest_ip", String(45), nullable=False),
    Column("dest_port", Integer),
    Column("src_mac", String(17), nullable=False),
    Column("proto", String(16), nullable=False),
    Column("flow_id", BigInteger),
    Column("community_id", String(32), nullable=False),
    Column("in_iface", String(64), nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("opinion", String(16)),  # what an operator said of it: one of OPINIONS, NULL = nothing
    index=(Index("ix_findings_host", "host"),),
)

# Changed verdicts.
VERDICTS = _of_run(
    "verdicts",
    Column("action", Integer, nullable=False),
    Column("target", String(64), nullable=False),
    Column("target_kind", String(16), nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    Column("signatures", JSON, nullable=False),
)

# Scores that were worth an event.
SCORES = _of_run(
    "scores",
    Column("value", Float(53), nullable=False),
    Column("status", String(8), nullable=False),
    Column("confidence", Float(53), nullable=False),
    Column("shares", JSON, nullable=False),
)

# What was worth saying and is no finding.
NOTICES = _of_run(
    "notices",
    Column("kind", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("facts", JSON, nullable=False),
)

# Who has been on the network, by MAC; the operator's `name` is not the agent's to write.
DEVICES = Table(
    "devices",
    METADATA,
    Column("mac", String(17), primary_key=True),
    Column("first_seen_ns", BigInteger),
    Column("last_seen_ns", BigInteger),
    Column("addresses", JSON, nullable=False),
    Column("name", String(64), nullable=False),
    Column("host_name", String(64), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("randomized", Boolean, nullable=False),
    Column("lease_until_s", BigInteger),
    Column("vendor_class", String(64), nullable=False),
    Column("fingerprint", String(256), nullable=False),
    Column("interface", String(16), nullable=False),
)

# Which step of the migrations the schema is at: the table is Alembic's, made as Alembic makes it.
REVISION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

Value = Finding | Verdict | Score | Notice
TABLES: dict[type[Value], Table] = {
    Finding: FINDINGS,
    Verdict: VERDICTS,
    Score: SCORES,
    Notice: NOTICES,
}


def to_row(value: Value) -> Row:
    """The row of a value, without its run."""
    row: Row = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Finding):
        row |= {"layer": value.layer.value, "source": value.source.value, "risk": value.risk}
        row["evidence"] = dict(value.evidence)
    elif isinstance(value, Verdict):
        row |= {"action": int(value.action), "signatures": list(value.signatures)}
    elif isinstance(value, Score):
        divided = zip(DIVISIONS, value.shares.read(), strict=True)
        shares = {by: {share.name: share.value for share in parts} for by, parts in divided}
        row |= {"status": value.status.value, "shares": shares}
    else:
        row["facts"] = dict(value.facts)
    return row


def to_finding(row: Row) -> Finding:
    """The finding of a row."""
    known = {field.name: row[field.name] for field in fields(Finding)}
    return Finding(**known | {"layer": Layer(row["layer"]), "source": Source(row["source"])})


def to_verdict(row: Row) -> Verdict:
    """The verdict of a row."""
    known = {field.name: row[field.name] for field in fields(Verdict)}
    return Verdict(
        **known | {"action": Action(row["action"]), "signatures": tuple(row["signatures"])}
    )


def to_score(row: Row) -> Score:
    """The score of a row; shares come in the order in which they were given."""
    shares = {
        by: tuple(Share(name, value) for name, value in row["shares"][by].items())
        for by in DIVISIONS
    }
    status = Status(row["status"])
    return Score(row["time_ns"], row["value"], status, row["confidence"], Shares(**shares))


def to_notice(row: Row) -> Notice:
    """The notice of a row."""
    return Notice(**{field.name: row[field.name] for field in fields(Notice)})
