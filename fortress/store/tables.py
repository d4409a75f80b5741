# SPDX-License-Identifier: Apache-2.0
"""The tables, and how the values of `fortress.verdict` become rows and rows become values.

Times are nanoseconds since 1970 of the capture's clock. A column keeps its meaning; a new one is a
one is a migration.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fortress.verdict import (
    Action,
    Finding,
    Layer,
    Notice,
    Score,
    Share,
    Source,
    Status,
    Verdict,
)

Row = dict[str, Any]

_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself
_SHARES = ("by_host", "by_layer", "by_source", "by_finding")


class Base(DeclarativeBase):
    """The schema."""


class RunRow(Base):
    """One run of the agent over one input."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    sources: Mapped[list[str]] = mapped_column(JSON)
    version: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(16))
    last_ns: Mapped[int | None] = mapped_column(BigInteger)
    stats: Mapped[Row] = mapped_column(JSON)


class _OfRun:
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    run_id: Mapped[int] = mapped_column(_Id, ForeignKey("runs.id", ondelete="CASCADE"))
    time_ns: Mapped[int] = mapped_column(BigInteger)


class FindingRow(_OfRun, Base):
    """A finding, whatever its risk."""

    __tablename__ = "findings"
    __table_args__ = (
        Index("ix_findings_run_time", "run_id", "time_ns"),
        Index("ix_findings_host", "host"),
    )

    detector: Mapped[str] = mapped_column(String(64))
    signature: Mapped[str] = mapped_column(String(256))
    signature_id: Mapped[int] = mapped_column(BigInteger)
    category: Mapped[str] = mapped_column(String(128))
    layer: Mapped[str] = mapped_column(String(8))
    source: Mapped[str] = mapped_column(String(16))
    technique: Mapped[str] = mapped_column(String(32))
    severity: Mapped[float] = mapped_column(Float(53))
    confidence: Mapped[float] = mapped_column(Float(53))
    risk: Mapped[float] = mapped_column(Float(53))
    reason: Mapped[str] = mapped_column(Text)
    host: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(64))
    src_ip: Mapped[str] = mapped_column(String(45))
    src_port: Mapped[int | None] = mapped_column(Integer)
    dest_ip: Mapped[str] = mapped_column(String(45))
    dest_port: Mapped[int | None] = mapped_column(Integer)
    src_mac: Mapped[str] = mapped_column(String(17))
    proto: Mapped[str] = mapped_column(String(16))
    flow_id: Mapped[int | None] = mapped_column(BigInteger)
    community_id: Mapped[str] = mapped_column(String(32))
    in_iface: Mapped[str] = mapped_column(String(64))
    evidence: Mapped[Row] = mapped_column(JSON)


class VerdictRow(_OfRun, Base):
    """A changed verdict."""

    __tablename__ = "verdicts"
    __table_args__ = (Index("ix_verdicts_run_time", "run_id", "time_ns"),)

    action: Mapped[int] = mapped_column(Integer)
    target: Mapped[str] = mapped_column(String(64))
    target_kind: Mapped[str] = mapped_column(String(16))
    until_ns: Mapped[int] = mapped_column(BigInteger)
    why: Mapped[str] = mapped_column(Text)
    signatures: Mapped[list[int]] = mapped_column(JSON)


class ScoreRow(_OfRun, Base):
    """A score that was worth an event."""

    __tablename__ = "scores"
    __table_args__ = (Index("ix_scores_run_time", "run_id", "time_ns"),)

    value: Mapped[float] = mapped_column(Float(53))
    status: Mapped[str] = mapped_column(String(8))
    confidence: Mapped[float] = mapped_column(Float(53))
    shares: Mapped[Row] = mapped_column(JSON)


class NoticeRow(_OfRun, Base):
    """Something worth saying that is no finding."""

    __tablename__ = "notices"
    __table_args__ = (Index("ix_notices_run_time", "run_id", "time_ns"),)

    kind: Mapped[str] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(Text)
    facts: Mapped[Row] = mapped_column(JSON)


Value = Finding | Verdict | Score | Notice
Table = type[FindingRow] | type[VerdictRow] | type[ScoreRow] | type[NoticeRow]
TABLES: dict[type[Value], Table] = {
    Finding: FindingRow,
    Verdict: VerdictRow,
    Score: ScoreRow,
    Notice: NoticeRow,
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
        shares = {by: {share.name: share.value for share in row.pop(by)} for by in _SHARES}
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
        by: tuple(Share(name, value) for name, value in row["shares"][by].items()) for by in _SHARES
    }
    status = Status(row["status"])
    return Score(row["time_ns"], row["value"], status, row["confidence"], **shares)


def to_notice(row: Row) -> Notice:
    """The notice of a row."""
    return Notice(**{field.name: row[field.name] for field in fields(Notice)})
