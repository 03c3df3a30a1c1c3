"""The first tables: calls, attempts, verdicts, charges, contents, outcomes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of an empty database."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    money = sa.Text().with_variant(sa.Numeric(), "postgresql")
    _make_calls(big, money)
    _make_attempts(big, money)
    _make_verdicts(big)
    _make_charges(big, money)
    op.create_table(
        "contents",
        sa.Column("call_seq", big, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outcomes",
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("by", sa.Text, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("correct", sa.Boolean),
        sa.Column("score", sa.Double),
        sa.Column("label", sa.Text),
    )
    op.create_index("ix_outcomes_at", "outcomes", ["at"])
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", big, nullable=False),
    )
    op.bulk_insert(counters, [{"name": "calls", "value": 0}])


def _make_calls(big: sa.types.TypeEngine[int], money: sa.types.TypeEngine[str]) -> None:
    op.create_table(
        "calls",
        sa.Column("seq", big, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("cascade", sa.Text),
        sa.Column("path", sa.Text),
        sa.Column("rule", sa.Text),
        sa.Column("rule_reason", sa.Text),
        sa.Column("policy", sa.Text),
        sa.Column("tenant", sa.Text),
        sa.Column("parent", sa.Text),
        sa.Column("accepted", sa.Boolean, nullable=False),
        sa.Column("tier", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("escalations", sa.Integer, nullable=False),
        sa.Column("budget_s", sa.Double),
        sa.Column("latency_s", sa.Double, nullable=False),
        sa.Column("cost_usd", money),
        sa.Column("input_tokens", big),
        sa.Column("output_tokens", big),
        sa.Column("plan", sa.Text),
        sa.Column("signals", sa.Text),
        sa.Column("metadata", sa.Text),
    )
    op.create_index("ix_calls_started_at", "calls", ["started_at"])


def _make_attempts(big: sa.types.TypeEngine[int], money: sa.types.TypeEngine[str]) -> None:
    op.create_table(
        "attempts",
        sa.Column("call_seq", big, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("tier", sa.Text, nullable=False),
        sa.Column("model", sa.Text),
        sa.Column("ask", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("score", sa.Double),
        sa.Column("started_s", sa.Double, nullable=False),
        sa.Column("latency_s", sa.Double, nullable=False),
        sa.Column("call_s", sa.Double),
        sa.Column("queue_s", sa.Double, nullable=False),
        sa.Column("cost_usd", money),
        sa.Column("answered_by", sa.Text),
        sa.Column("finish_reason", sa.Text),
        sqlite_with_rowid=False,
    )


def _make_verdicts(big: sa.types.TypeEngine[int]) -> None:
    op.create_table(
        "verdicts",
        sa.Column("call_seq", big, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("part_of", sa.Integer),
        sa.Column("validator", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("threshold", sa.Double),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("latency_s", sa.Double),
        sqlite_with_rowid=False,
    )


def _make_charges(big: sa.types.TypeEngine[int], money: sa.types.TypeEngine[str]) -> None:
    op.create_table(
        "charges",
        sa.Column("call_seq", big, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("tier", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("input_tokens", big),
        sa.Column("output_tokens", big),
        sa.Column("cached_input_tokens", big),
        sa.Column("cache_write_tokens", big),
        sa.Column("reasoning_tokens", big),
        sa.Column("cost_usd", money),
        sqlite_with_rowid=False,
    )
