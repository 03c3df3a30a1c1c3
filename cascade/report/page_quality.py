"""The page's part on quality, as far as labels tell."""

from __future__ import annotations

from cascade.report.charts import dot_range
from cascade.report.claims import FINDINGS, about_threshold
from cascade.report.figures import MIN_LABELS, Figures, Labelled
from cascade.report.markup import Html, el, name
from cascade.report.parts import Column, note, section, table, tag, who
from cascade.report.words import count, interval, of_cascade, of_path, rate

__all__ = ["quality"]

_COLUMNS = (
    Column("right", "n"),
    Column("interval", "n"),
    Column("", "wide"),
    Column("labels", "n"),
    Column("accepted", "n"),
)


def quality(figures: Figures) -> Html:
    """How often accepted answers were right, and what labels say of thresholds."""
    if not any(one.correct.of for one in figures.tier_quality):
        parts: list[Html | None] = [
            note("No answer of this period has a label: record_outcome(id, correct=...) adds one.")
        ]
    else:
        parts = [
            _labelled(
                "Right answers by tier", "cascade / tier", figures.tier_quality, is_path=False
            ),
            _labelled(
                "Right answers by path", "cascade / path", figures.path_quality, is_path=True
            ),
            note("Of accepted answers with a label."),
            note("From 0 to 100 %, the dot in its 95 % interval.", of_drawings=True),
        ]
    return section("quality", "Quality", *parts, _thresholds(figures))


def _labelled(caption: str, what: str, found: tuple[Labelled, ...], *, is_path: bool) -> Html:
    rows = [
        (
            who(of_cascade(one.cascade), of_path(one.name) if is_path else one.name or "?"),
            rate(one.correct),
            interval(one.correct),
            dot_range(one.correct),
            count(one.correct.of),
            count(one.calls),
        )
        for one in found
    ]
    return table(caption, [Column(what), *_COLUMNS], rows)


def _thresholds(figures: Figures) -> Html | None:
    if not figures.thresholds:
        return None
    columns = [Column("cascade / tier"), Column("validator"), Column("at", "n"),
               Column("rejects", "n"), Column("finding"), Column("because", "say")]  # fmt: skip
    rows = [
        (
            who(of_cascade(one.cascade), one.tier),
            name(one.validator),
            f"{one.threshold:g}",
            rate(one.rejected),
            tag(one.finding, FINDINGS[one.finding]),
            about_threshold(one),
        )
        for one in figures.thresholds
    ]
    return el(
        "div",
        table("Thresholds", columns, rows),
        note(
            "Too strict: more than half of the rejected answers that can be judged were right, or "
            "what a later tier said too. Too loose: answers in the lowest quarter above it are "
            "wrong more often than those of later tiers after a rejection. Said only where "
            f"{MIN_LABELS} or more can be judged and the intervals leave no doubt."
        ),
    )
