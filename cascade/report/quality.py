"""How often accepted answers were right, as far as somebody said so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import func

from cascade.ledger.read import Reader
from cascade.ledger.tables import calls
from cascade.report.figures import Labelled, Share
from cascade.report.selection import Selection

__all__ = ["quality_of"]

Groups = Counter[tuple[str | None, str | None]]


def quality_of(
    reader: Reader, selection: Selection
) -> tuple[Share, tuple[Labelled, ...], tuple[Labelled, ...]]:
    """Of the accepted answers that have a label, how many were right: all, by tier, and by path.

    The first is of the requests alone; tiers and paths count nested calls too.
    """
    label, top = selection.label, selection.top
    said = label.c.correct.is_not(None)
    keys = (calls.c.cascade, calls.c.path, calls.c.tier)
    query = selection.of(
        *keys,
        func.count(),
        func.count().filter(said),
        func.count().filter(label.c.correct),
        func.count().filter(said, top),
        func.count().filter(label.c.correct, top),
    )
    query = query.join_from(calls, label, label.c.call_id == calls.c.id, isouter=True)
    rows = reader.rows(query.where(calls.c.accepted).group_by(*keys))
    overall = Share.made(sum(row[-1] for row in rows), sum(row[-2] for row in rows))
    return (
        overall,
        _by(rows, lambda row: (row.cascade, row.tier)),
        _by(rows, lambda row: (row.cascade, row.path)),
    )


def _by(rows: Any, key: Callable[[Any], tuple[str | None, str | None]]) -> tuple[Labelled, ...]:
    accepted, labels, right = Groups(), Groups(), Groups()
    for row in rows:
        group = key(row)
        accepted[group] += row[3]
        labels[group] += row[4]
        right[group] += row[5]
    return tuple(
        Labelled(*group, correct=Share.made(right[group], labels[group]), calls=n)
        for group, n in sorted(accepted.items(), key=lambda item: (-item[1], str(item[0])))
    )
