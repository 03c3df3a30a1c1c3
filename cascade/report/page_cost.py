"""The page's part on money."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from cascade.report.charts import Axis, Line, bar, trend
from cascade.report.claims import assumption
from cascade.report.figures import Bill, Figures
from cascade.report.markup import Child, Html, el
from cascade.report.parts import Column, Key, chart, note, section, table, who
from cascade.report.words import (
    DASH,
    count,
    duration,
    moment,
    money,
    of_cascade,
    of_path,
    percent,
    spent,
)

__all__ = ["axis_of", "cost"]


def cost(figures: Figures) -> Html:
    """What requests cost, against the strongest tier alone, and who spent it on what."""
    sentences = [note(sentence) for sentence in assumption(figures.saving)]
    return section(
        "cost", "Cost", _trend(figures), *sentences, _by_cascade(figures), *_spend(figures)
    )


def axis_of(figures: Figures) -> Axis:
    """The time that all trends share."""
    return Axis(figures.trend[0].start_at, figures.width_s, len(figures.trend))


def _trend(figures: Figures) -> Html:
    buckets = figures.trend
    low = [one.frontier_low_usd for one in buckets]
    high = [one.frontier_high_usd for one in buckets]
    keys = [Key("as billed", "accent")]
    lines = [Line("as billed", [one.cost_per_request_usd for one in buckets], "accent")]
    if any(value is not None for value in high):
        keys.append(Key("strongest tier alone, estimated", "band", "area"))
    each = duration(figures.width_s)
    drawing = trend(
        "Cost per request over time",
        f"In USD, a value for each {each}; the area is the estimate for the strongest tier alone.",
        axis_of(figures),
        lines,
        money,
        band=(low, high),
    )
    rows = [
        (moment(one.start_at), count(one.requests), money(one.cost_per_request_usd),
         money(one.frontier_low_usd), money(one.frontier_high_usd))
        for one in buckets
    ]  # fmt: skip
    columns = [Column("from (UTC)"), Column("requests", "n"), Column("USD per request", "n"),
               Column("strongest tier, least", "n"), Column("most", "n")]  # fmt: skip
    data = table(f"Cost per request, each {each}", columns, rows)
    return chart(f"Cost per request, each {each}", keys, drawing, data)


def _by_cascade(figures: Figures) -> Html | None:
    compared = [one for one in figures.saving.cascades if one.tier is not None]
    if not compared:
        return None
    columns = [
        Column("cascade"), Column("strongest tier"), Column("its answers", "n"),
        Column("requests compared", "n"), Column("as billed", "n"),
        Column("its price", "n"), Column("its mean cost", "n"),
    ]  # fmt: skip
    rows = [
        (who(of_cascade(one.cascade)), who(one.tier or DASH), count(one.answers),
         count(one.requests), money(one.actual_usd), money(one.repriced_usd), money(one.mean_usd))
        for one in compared
    ]  # fmt: skip
    return el(
        "details",
        el("summary", "The estimate, cascade by cascade"),
        table("The strongest tier alone, estimated in both ways", columns, rows),
    )


def _spend(figures: Figures) -> Iterator[Html]:
    tiers = [(who(tier), bill) for tier, bill in figures.tier_bills]
    tiers += [(who(tier, "as a judge"), bill) for tier, bill in figures.judge_bills]
    yield _bills("Spend by tier", "tier", "calls", tiers)
    paths = [(who(of_cascade(one.cascade), of_path(one.path)), one.bill) for one in figures.paths]
    yield _bills("Spend by path", "cascade / path", "requests", paths)
    tenants: list[tuple[Child, Bill]] = [
        ("(nobody named)" if tenant is None else who(tenant), bill)
        for tenant, bill in figures.tenants
    ]
    if figures.other_tenants is not None:
        number, bill = figures.other_tenants
        tenants.append((f"{number:,} others", bill))
    yield _bills("Spend by tenant", "tenant", "requests", tenants)


def _bills(caption: str, what: str, of: str, bills: Sequence[tuple[Child, Bill]]) -> Html:
    ordered = sorted(bills, key=lambda one: -one[1].cost_usd)
    total = sum((bill.cost_usd for _, bill in bills), Decimal(0))
    columns = [Column(what), Column("USD", "n"), Column("share", "n"), Column("", "wide"),
               Column(of, "n"), Column("mean", "n")]  # fmt: skip
    return table(caption, columns, [_bill(name, bill, total) for name, bill in ordered])


def _bill(name: Child, bill: Bill, total: Decimal) -> tuple[Child, ...]:
    share = float(bill.cost_usd / total) if total else None
    return (
        name,
        spent(bill),
        DASH if share is None else percent(share),
        bar(share),
        count(bill.count),
        DASH if bill.mean_usd is None else money(bill.mean_usd),
    )
