"""What tiers, judges and tenants cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, TypeAlias

from sqlalchemy import func
from sqlalchemy.sql.elements import ColumnElement

from cascade.ledger.read import Reader
from cascade.ledger.tables import calls, charges, usd_sum
from cascade.report.figures import Bill
from cascade.report.selection import Query, Selection
from cascade.types import add_exactly

__all__ = ["spend_by_tenant", "spend_by_tier", "spent"]

Bills: TypeAlias = tuple[tuple[str, Bill], ...]

_MOST_TENANTS: Final = 10


def spend_by_tier(reader: Reader, selection: Selection) -> tuple[Bills, Bills]:
    """What each tier was paid for answers, and for judging those of others; the dearest first."""
    is_answer = (charges.c.purpose == "answer").label("is_answer")
    sums = selection.of(
        charges.c.tier,
        is_answer,
        usd_sum(charges.c.cost_usd),
        func.count(),
        func.count().filter(charges.c.cost_usd.is_(None)),
    )
    sums = sums.join_from(charges, calls, calls.c.seq == charges.c.call_seq).where(selection.top)
    rows = reader.rows(sums.group_by(charges.c.tier, is_answer))
    answers = [(tier, Bill.of_charges(*row)) for tier, answers, *row in rows if answers]
    judges = [(tier, Bill.of_charges(*row)) for tier, answers, *row in rows if not answers]
    return _dearest_first(answers), _dearest_first(judges)


def spend_by_tenant(
    reader: Reader, selection: Selection
) -> tuple[tuple[tuple[str | None, Bill], ...], tuple[int, Bill] | None]:
    """What the dearest tenants cost, and how many others there are with what they cost."""
    counts = selection.of(
        calls.c.tenant,
        usd_sum(calls.c.cost_usd),
        func.count(),
        func.count().filter(calls.c.cost_usd.is_(None)),
    )
    usd = {row[0]: row[1] for row in reader.rows(spent(selection, calls.c.tenant))}
    rows = reader.rows(counts.where(selection.top).group_by(calls.c.tenant))
    bills = _dearest_first(
        [(tenant, Bill.of_calls(usd.get(tenant), *row)) for tenant, *row in rows]
    )
    rest = [bill for _, bill in bills[_MOST_TENANTS:]]
    if not rest:
        return bills, None
    return bills[:_MOST_TENANTS], (len(rest), _together(rest))


def spent(selection: Selection, *keys: ColumnElement[Any]) -> Query:
    """For each value of the keys: those, and the exact sum of all known charges of its requests."""
    query = selection.of(*keys, usd_sum(charges.c.cost_usd))
    query = query.join_from(charges, calls, calls.c.seq == charges.c.call_seq)
    return query.where(selection.top).group_by(*keys)


def _together(bills: list[Bill]) -> Bill:
    """What several bills come to; of the mean, nothing is said."""
    return Bill(
        add_exactly(bill.cost_usd for bill in bills) or Decimal(0),
        sum(bill.count for bill in bills),
        sum(bill.unknown for bill in bills),
        None,
    )


def _dearest_first(bills: list[tuple[Any, Bill]]) -> tuple[tuple[Any, Bill], ...]:
    return tuple(sorted(bills, key=lambda one: (-one[1].cost_usd, -one[1].count, one[0] or "")))
