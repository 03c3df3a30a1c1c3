"""The page's part on escalation."""

from __future__ import annotations

from cascade.report.charts import Line, bar, trend
from cascade.report.claims import rejections
from cascade.report.figures import Figures, Share, Step
from cascade.report.markup import Html, el
from cascade.report.page_cost import axis_of
from cascade.report.parts import Column, Key, chart, note, section, table, who
from cascade.report.words import (
    count,
    duration,
    interval,
    moment,
    of_cascade,
    of_path,
    percent,
    plural,
    rate,
)

__all__ = ["routes"]

_MOST_STEPS = 12
_MOST_REASONS = 10


def routes(figures: Figures) -> Html:
    """How often calls went up the ladder, from where, and why."""
    return section(
        "escalation",
        "Escalation",
        _trend(figures),
        _tiers(figures),
        _steps(figures),
        _reasons(figures),
    )


def _trend(figures: Figures) -> Html:
    each = duration(figures.width_s)
    shares = [one.escalated / one.requests if one.requests else None for one in figures.trend]
    drawing = trend(
        "Share of requests that were escalated, over time",
        f"In percent, a value for each {each}.",
        axis_of(figures),
        [Line("escalated", shares, "accent")],
        lambda share: f"{share:.0%}",
    )
    rows = [
        (moment(one.start_at), count(one.requests), count(one.escalated), percent(share))
        for one, share in zip(figures.trend, shares, strict=True)
        if one.requests
    ]
    columns = [Column("from (UTC)"), Column("requests", "n"), Column("escalated", "n"),
               Column("share", "n")]  # fmt: skip
    data = table(f"Escalated requests, each {each}", columns, rows)
    return chart(f"Requests escalated, each {each}", [Key("escalated", "accent")], drawing, data)


def _tiers(figures: Figures) -> Html:
    columns = [Column("cascade / path / tier"), Column("asked", "n"), Column("accepted", "n"),
               Column("escalated", "n"), Column("interval", "n"), Column("", "wide")]  # fmt: skip
    rows = [
        (
            who(of_cascade(one.cascade), of_path(one.path), one.tier),
            count(one.asked),
            count(one.accepted),
            rate(one.escalated),
            interval(one.escalated),
            bar(one.escalated.rate),
        )
        for one in figures.tiers
    ]
    return table("How often calls went on from each tier", columns, rows)


def _steps(figures: Figures) -> Html | None:
    if not figures.steps:
        return None
    total = sum(step.count for step in figures.steps)
    columns = [Column("cascade / tier"), Column("went on to"), Column("because"),
               Column("count", "n"), Column("share", "n"), Column("", "wide")]  # fmt: skip
    shown = figures.steps[:_MOST_STEPS]
    rows = [_step(step, Share.made(step.count, total)) for step in shown]
    left = len(figures.steps) - len(shown)
    more = note(f"And {plural(left, 'rarer reason')}.") if left else None
    return el("div", table("Why answers were not accepted", columns, rows), more)


def _step(step: Step, share: Share) -> tuple[Html | str, ...]:
    return (
        who(of_cascade(step.cascade), step.tier),
        el("span", "nowhere", class_="weak") if step.to is None
        else "itself" if step.to == step.tier else who(step.to),
        who(f"{step.outcome.replace('_', ' ')}: {step.reason}"),
        count(step.count),
        rate(share),
        bar(share.rate, "accent" if step.outcome == "rejected" else "bad"),
    )  # fmt: skip


def _reasons(figures: Figures) -> Html | None:
    found = rejections(figures)[:_MOST_REASONS]
    columns = [Column("validator: reason"), Column("rejections", "n"), Column("share", "n"),
               Column("", "wide")]  # fmt: skip
    rows = [
        (who(reason), count(share.count), rate(share), bar(share.rate)) for reason, share in found
    ]
    return table("What rejected answers", columns, rows) if rows else None
