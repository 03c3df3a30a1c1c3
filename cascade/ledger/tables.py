"""The tables of a ledger, for SQLite and PostgreSQL alike.

`calls.seq` counts the calls in the order in which they were stored; the other tables refer to it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = [
    "SCHEMA_VERSION",
    "Money",
    "attempts",
    "calls",
    "charges",
    "contents",
    "counters",
    "metadata",
    "outcomes",
    "usd_sum",
    "verdicts",
]

SCHEMA_VERSION: Final = "0001"
"""The newest migration's revision: what a ledger's `alembic_version` says when it is up to date."""

metadata = MetaData()


class Money(TypeDecorator[Decimal]):
    """USD, exact to the last digit: NUMERIC in PostgreSQL, decimal text in SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Numeric() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name == "postgresql" else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class usd_sum(GenericFunction[Decimal]):  # noqa: N801 - reads as the SQL function that it is
    """The exact sum of a column of `Money`, known amounts alone. None: there are none."""

    type = Money()
    inherit_cache = True


@compiles(usd_sum, "postgresql")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _sum_in_postgresql(element: usd_sum, compiler: Any, **options: Any) -> str:
    return f"sum({compiler.process(element.clauses, **options)})"


Big = BigInteger().with_variant(Integer(), "sqlite")  # SQLite's own row number is an INTEGER

calls = Table(
    "calls",
    metadata,
    Column("seq", Big, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("started_at", Double, nullable=False, index=True),
    Column("cascade", Text),
    Column("path", Text),
    Column("rule", Text),
    Column("rule_reason", Text),
    Column("policy", Text),
    Column("tenant", Text),
    Column("parent", Text),
    Column("accepted", Boolean, nullable=False),
    Column("tier", Text),
    Column("reason", Text, nullable=False),
    Column("escalations", Integer, nullable=False),
    Column("budget_s", Double),
    Column("latency_s", Double, nullable=False),
    Column("cost_usd", Money),
    Column("input_tokens", Big),
    Column("output_tokens", Big),
    Column("plan", Text),
    Column("signals", Text),
    Column("metadata", Text),
)

attempts = Table(
    "attempts",
    metadata,
    Column("call_seq", Big, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("tier", Text, nullable=False),
    Column("model", Text),
    Column("ask", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("error", Text),
    Column("score", Double),
    Column("started_s", Double, nullable=False),
    Column("latency_s", Double, nullable=False),
    Column("call_s", Double),
    Column("queue_s", Double, nullable=False),
    Column("cost_usd", Money),
    Column("answered_by", Text),
    Column("finish_reason", Text),
    sqlite_with_rowid=False,
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("call_seq", Big, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("part_of", Integer),
    Column("validator", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("score", Double),
    Column("threshold", Double),
    Column("reason", Text, nullable=False),
    Column("latency_s", Double),
    sqlite_with_rowid=False,
)

charges = Table(
    "charges",
    metadata,
    Column("call_seq", Big, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("tier", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("input_tokens", Big),
    Column("output_tokens", Big),
    Column("cached_input_tokens", Big),
    Column("cache_write_tokens", Big),
    Column("reasoning_tokens", Big),
    Column("cost_usd", Money),
    sqlite_with_rowid=False,
)

contents = Table(
    "contents",
    metadata,
    Column("call_seq", Big, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("text", Text, nullable=False),
    sqlite_with_rowid=False,
)

# By the call's id, not its number: a verdict may come before the call is stored, or from elsewhere.
outcomes = Table(
    "outcomes",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("by", Text, primary_key=True),
    Column("at", Double, nullable=False),
    Column("correct", Boolean),
    Column("score", Double),
    Column("label", Text),
    Index("ix_outcomes_at", "at"),
)

# One row: how many calls were ever stored. Who stores a batch holds this row until it is committed,
# so that numbers become visible in their order, whoever writes.
counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Big, nullable=False),
)
