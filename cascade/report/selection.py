"""Which calls a report is about, and the SQL that its queries share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import Integer, Select, and_, func, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.sql.selectable import Subquery

from cascade.ledger.read import Reader, When, unix, where
from cascade.ledger.tables import calls, outcomes
from cascade.report.figures import Latency

__all__ = ["Query", "Selection", "latencies", "latency_of"]

Query: TypeAlias = Select[*tuple[Any, ...]]
"""A query with columns of whatever types."""

_MOST_BUCKETS: Final = 60
_WIDTHS_S: Final = (
    *(60, 300, 900, 1_800),  # 1, 5, 15, 30 minutes
    *(3_600, 10_800, 21_600, 43_200),  # 1, 3, 6, 12 hours
    *(86_400, 172_800, 604_800, 2_419_200),  # 1, 2, 7, 28 days
)


class whole(GenericFunction[int]):  # noqa: N801 - reads as the SQL function that it is
    """A number of 0 or more without its fraction."""

    type = Integer()
    inherit_cache = True


@compiles(whole)  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _cut(element: whole, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS INTEGER)"


@compiles(whole, "postgresql")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _floor(element: whole, compiler: Any, **options: Any) -> str:
    return f"CAST(floor({compiler.process(element.clauses, **options)}) AS INTEGER)"


class Selection:
    """Some calls of a ledger. Those that are stored while the report is made are left out.

    Attributes:
        wanted: the condition on `calls`.
        top: the condition that a call is in no other call of the selection. The bill of an outer
            call holds what the calls inside of it cost, so only those count for money.
        start_at, width_s: the first bucket's start, in Unix time, and the width of all.
        bucket: the number of a call's bucket, as SQL.
        label: the last word on each call, as SQL: `call_id` and `correct`.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        since: When | None = None,
        until: When | None = None,
        cascade: str | None = None,
    ) -> None:
        self.since = None if since is None else unix(since)
        self.until = None if until is None else unix(until)
        self.cascade = cascade
        self._last_seq = reader.last_seq()
        self.wanted = and_(
            *where(since=since, until=until, cascade=cascade), calls.c.seq <= self._last_seq
        )
        span = select(func.min(calls.c.started_at), func.max(calls.c.started_at))
        ((self.first_at, self.last_at),) = reader.rows(span.where(self.wanted))
        self.top = or_(calls.c.parent.is_(None), ~self._has_its_parent())
        self.start_at, self.width_s, self.buckets = _buckets(self.first_at, self.last_at)
        self.bucket: ColumnElement[int] = whole(
            (calls.c.started_at - self.start_at) / self.width_s
        ).label("bucket")
        self.label = _last_words()

    def of(self, *columns: Any) -> Query:
        """A query on the calls of the selection."""
        return select(*columns).where(self.wanted)

    def _has_its_parent(self) -> ColumnElement[bool]:
        outer = calls.alias("outer_calls")
        around = [outer.c.id == calls.c.parent, outer.c.seq <= self._last_seq]
        if self.since is not None:
            around.append(outer.c.started_at >= self.since)
        if self.until is not None:
            around.append(outer.c.started_at < self.until)
        if self.cascade is not None:
            around.append(outer.c.cascade == self.cascade)
        return select(outer.c.seq).where(*around).correlate(calls).exists()


def latencies(rows: Query, *keys: str) -> Query:
    """For each value of the keys: those, how many rows, and the p50, p95 and p99 of `latency_s`."""
    values = rows.subquery()
    of_group = [values.c[key] for key in keys] or None
    ranked = select(
        *(values.c[key] for key in keys),
        values.c.latency_s,
        func.row_number().over(partition_by=of_group, order_by=values.c.latency_s).label("rank"),
        func.count().over(partition_by=of_group).label("n"),
    ).subquery()
    groups = [ranked.c[key] for key in keys]
    # The nearest rank in whole numbers: no 0.95 * 20 that is a hair off 19.
    quantiles = [
        func.min(ranked.c.latency_s).filter(ranked.c.rank * 100 >= ranked.c.n * percent)
        for percent in (50, 95, 99)
    ]
    return select(*groups, func.count(), *quantiles).group_by(*groups)


def latency_of(row: Sequence[Any] | None) -> Latency:
    """From the end of a row of `latencies`. None: there are no calls."""
    return Latency(0) if row is None else Latency(*row[-4:])


def _last_words() -> Subquery:
    by_time = func.row_number().over(
        partition_by=outcomes.c.call_id, order_by=(outcomes.c.at.desc(), outcomes.c.by)
    )
    told = select(outcomes.c.call_id, outcomes.c.correct, by_time.label("place"))
    ranked = told.where(outcomes.c.correct.is_not(None)).subquery()
    return select(ranked.c.call_id, ranked.c.correct).where(ranked.c.place == 1).subquery("label")


def _buckets(first_at: float | None, last_at: float | None) -> tuple[float, float, int]:
    """Where the first bucket starts, how wide all are, and how many there are."""
    if first_at is None or last_at is None:
        return 0.0, float(_WIDTHS_S[0]), 0
    for width in _WIDTHS_S:
        start = first_at // width * width
        count = int((last_at - start) // width) + 1
        if count <= _MOST_BUCKETS:
            return start, float(width), count
    widest = float(-(-(last_at - first_at) // (_MOST_BUCKETS - 1)))
    return first_at, widest, int((last_at - first_at) // widest) + 1
