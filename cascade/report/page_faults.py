"""The page's part on what broke."""

from __future__ import annotations

from cascade.report.charts import Line, bar, trend
from cascade.report.figures import Figures, Share
from cascade.report.markup import Html, el
from cascade.report.page_cost import axis_of
from cascade.report.parts import Column, Key, chart, note, section, table, tag, who
from cascade.report.words import count, day_time, duration, moment, rate

__all__ = ["faults"]


def faults(figures: Figures) -> Html:
    """Attempts that failed, those that were not sent, and how requests ended."""
    parts = (
        [_trend(figures), _by_tier(figures)]
        if figures.faults
        else [note("No attempt of this period failed.")]
    )
    return section("faults", "Faults", *parts, _endings(figures))


def _trend(figures: Figures) -> Html:
    each = duration(figures.width_s)
    failed = [float(one.failed) for one in figures.trend]
    refused = [float(one.refused) for one in figures.trend]
    lines, keys = [Line("failed", failed, "bad")], [Key("failed or timed out", "bad")]
    if any(refused):
        lines.append(Line("not sent", refused, "ghost"))
        keys.append(Key("not sent: circuit open, or queue too long", "ghost", "dashed"))
    drawing = trend(
        "Attempts that failed, over time",
        f"How many, for each {each}; and how many were not sent.",
        axis_of(figures),
        lines,
        lambda number: f"{number:,.0f}" if number == int(number) else "",
    )
    rows = [(moment(one.start_at), count(one.failed), count(one.refused)) for one in figures.trend]
    columns = [Column("from (UTC)"), Column("failed", "n"), Column("not sent", "n")]
    data = table(f"Attempts that failed, each {each}", columns, rows)
    return chart(f"Attempts that failed, each {each}", keys, drawing, data)


def _by_tier(figures: Figures) -> Html:
    now = figures.totals.last_at or 0.0
    columns = [
        Column("tier"), Column("what"), Column("attempts", "n"), Column("of those asked", "n"),
        Column("", "wide"), Column("first (UTC)", "when"), Column("last (UTC)", "when"),
    ]  # fmt: skip
    rows = [
        (
            who(one.tier),
            el("span", who(one.error), " ", tag("refusal", "not sent") if one.is_refusal else None),
            count(one.attempts.count),
            rate(one.attempts),
            bar(one.attempts.rate, "ghost" if one.is_refusal else "bad"),
            day_time(one.first_at, now),
            day_time(one.last_at, now),
        )
        for one in figures.faults
    ]
    return table("What failed, by tier", columns, rows)


def _endings(figures: Figures) -> Html:
    total = figures.totals.requests
    columns = [Column("reason"), Column("requests", "n"), Column("share", "n"), Column("", "wide")]
    rows: list[tuple[Html | str, ...]] = []
    for reason, number in figures.totals.endings:
        share = Share.made(number, total)
        look = "accent" if reason == "accepted" else "bad"
        rows.append((who(reason), count(number), rate(share), bar(share.rate, look)))
    return table("How requests ended", columns, rows)
