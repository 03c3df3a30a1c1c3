"""The page's part on time."""

from __future__ import annotations

from collections.abc import Iterator

from cascade.report.charts import Line, quantile_bar, trend
from cascade.report.figures import Budget, Figures, Latency, PathFigures
from cascade.report.markup import Child, Html, el
from cascade.report.page_cost import axis_of
from cascade.report.parts import Column, Key, chart, note, section, table, who
from cascade.report.words import DASH, count, duration, moment, of_cascade, of_path, rate, seconds

__all__ = ["latency"]

_COLUMNS = (
    Column("cascade / path"),
    Column("calls", "n"),
    Column("p50", "n"),
    Column("p95", "n"),
    Column("p99", "n"),
    Column("", "wide"),
    Column("budget", "n"),
    Column("kept", "n"),
)


def latency(figures: Figures) -> Html:
    """How long calls took, against their budgets, and what escalation costs in time."""
    return section("latency", "Latency", _trend(figures), _paths(figures))


def _trend(figures: Figures) -> Html:
    each = duration(figures.width_s)
    drawing = trend(
        "Latency over time",
        f"The p95 of requests in seconds, a value for each {each}.",
        axis_of(figures),
        [Line("p95", [one.p95_s for one in figures.trend], "accent")],
        lambda value: f"{value:g} s",
    )
    rows = [
        (moment(one.start_at), count(one.requests), seconds(one.p95_s))
        for one in figures.trend
        if one.requests
    ]
    columns = [Column("from (UTC)"), Column("requests", "n"), Column("p95", "n")]
    data = table(f"Latency of requests, each {each}", columns, rows)
    return chart(f"Latency p95, each {each}", [Key("all requests", "accent")], drawing, data)


def _paths(figures: Figures) -> Html:
    rows: list[tuple[Child, ...]] = []
    parts: list[int] = []
    for path in figures.paths:
        longest_s = path.latency.p99_s or 0.0
        for look in (path.direct_calls, path.escalated_calls):
            longest_s = max(longest_s, look.p99_s or 0.0)
        if path.budget is not None:
            longest_s = max(longest_s, path.budget.high_s)
        for is_part, row in _rows(path, longest_s):
            if is_part:
                parts.append(len(rows))
            rows.append(row)
    return el(
        "div",
        table("Latency by path", _COLUMNS, rows, parts=parts),
        note("Kept: calls that ended within the budget, of those that had one."),
        note(
            "The bars of a path share a scale: dark to p50, lighter to p95, thin to p99; the mark "
            "is the budget.",
            of_drawings=True,
        ),
    )


def _rows(path: PathFigures, longest_s: float) -> Iterator[tuple[bool, tuple[Child, ...]]]:
    budget_s = None if path.budget is None else path.budget.high_s
    name = who(of_cascade(path.cascade), of_path(path.path))
    kept = DASH if path.budget is None else rate(path.budget.kept)
    yield False, (*_cells(name, path.latency, longest_s, budget_s), _span(path.budget), kept)
    if path.direct_calls.calls and path.escalated_calls.calls:
        for text, part in (
            ("not escalated", path.direct_calls),
            ("escalated", path.escalated_calls),
        ):
            yield True, (*_cells(text, part, longest_s, budget_s), "", "")


def _cells(
    name: Child, found: Latency, longest_s: float, budget_s: float | None
) -> tuple[Child, ...]:
    return (
        name,
        count(found.calls),
        seconds(found.p50_s),
        seconds(found.p95_s),
        seconds(found.p99_s),
        quantile_bar(found, longest_s, budget_s),
    )


def _span(budget: Budget | None) -> str:
    if budget is None:
        return DASH
    if budget.low_s == budget.high_s:
        return f"{budget.high_s:g} s"
    return f"{budget.low_s:.3g}{DASH}{budget.high_s:.3g} s"
