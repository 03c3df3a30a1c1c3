"""Where calls went: paths, tiers, and the steps between them."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, TypeAlias

from sqlalchemy import and_, func, select

from cascade.ledger.read import Reader
from cascade.ledger.tables import attempts, calls, usd_sum
from cascade.report.figures import Bill, Budget, PathFigures, Share, Step, TierFigures
from cascade.report.money import spent
from cascade.report.selection import Selection, latencies, latency_of

__all__ = ["paths_of", "steps_of"]

Name: TypeAlias = str | None
_PATH = (calls.c.cascade, calls.c.path)


def paths_of(reader: Reader, selection: Selection) -> tuple[PathFigures, ...]:
    """Every path of every cascade, the busiest first."""
    has_budget = calls.c.budget_s.is_not(None)
    kept = and_(calls.c.latency_s <= calls.c.budget_s, calls.c.reason != "budget")
    counted = selection.of(
        *_PATH,
        func.count(),
        func.count().filter(calls.c.accepted),
        func.count().filter(calls.c.escalations > 0),
        func.count().filter(selection.top),
        usd_sum(calls.c.cost_usd).filter(selection.top),
        func.count().filter(selection.top, calls.c.cost_usd.is_(None)),
        func.min(calls.c.budget_s),
        func.max(calls.c.budget_s),
        func.count().filter(has_budget),
        func.count().filter(has_budget, kept),
    )
    was_escalated = (calls.c.escalations > 0).label("escalated")
    times = selection.of(*_PATH, was_escalated, calls.c.latency_s)
    whole = {row[:2]: row for row in reader.rows(latencies(times, "cascade", "path"))}
    split = {
        (*row[:2], bool(row[2])): row
        for row in reader.rows(latencies(times, "cascade", "path", "escalated"))
    }
    usd = {row[:2]: row[2] for row in reader.rows(spent(selection, *_PATH))}
    found = [_path(row, usd, whole, split) for row in reader.rows(counted.group_by(*_PATH))]
    return tuple(sorted(found, key=lambda one: (-one.calls, one.cascade or "", one.path or "")))


def _path(
    row: Any, usd: dict[Any, Any], whole: dict[Any, Any], split: dict[Any, Any]
) -> PathFigures:
    cascade, path, n, accepted, escalated, top, cost, unknown, low, high, budgets, kept = row
    key = (cascade, path)
    return PathFigures(
        cascade=cascade,
        path=path,
        calls=n,
        accepted=Share.made(accepted, n),
        escalated=Share.made(escalated, n),
        bill=Bill.of_calls(usd.get(key), cost, top, unknown),
        budget=Budget(low, high, Share.made(kept, budgets)) if budgets else None,
        latency=latency_of(whole.get(key)),
        direct_calls=latency_of(split.get((*key, False))),
        escalated_calls=latency_of(split.get((*key, True))),
    )


def steps_of(
    reader: Reader, selection: Selection
) -> tuple[tuple[TierFigures, ...], tuple[Step, ...]]:
    """What each tier did on each path, and why attempts were not accepted; the most first."""
    following = func.lead(attempts.c.tier).over(
        partition_by=attempts.c.call_seq, order_by=attempts.c.number
    )
    asked = selection.of(
        *_PATH, attempts.c.tier, attempts.c.outcome, attempts.c.reason, following.label("to")
    )
    asked = asked.join_from(attempts, calls, calls.c.seq == attempts.c.call_seq)
    each = asked.where(attempts.c.outcome != "skipped").subquery()
    counted = reader.rows(select(*each.c, func.count()).group_by(*each.c))
    tiers: dict[tuple[Name, Name, str], Counter[str]] = defaultdict(Counter)
    steps: Counter[tuple[Name, str, Name, str, str]] = Counter()
    for cascade, path, tier, outcome, reason, to, n in counted:
        tier_counts = tiers[cascade, path, tier]
        tier_counts["accepted"] += n if outcome == "accepted" else 0
        if to != tier:  # it is not asked again
            tier_counts["asked"] += n
            tier_counts["escalated"] += n if to is not None else 0
        if outcome != "accepted":
            steps[cascade, tier, to, outcome, reason] += n
    return _tiers(tiers), tuple(
        Step(cascade, tier, to, outcome, reason, n)
        for (cascade, tier, to, outcome, reason), n in _most_first(steps)
    )


def _most_first(steps: Counter[Any]) -> list[tuple[Any, int]]:
    return sorted(steps.items(), key=lambda item: (-item[1], *(part or "" for part in item[0])))


def _tiers(counts: dict[tuple[Name, Name, str], Counter[str]]) -> tuple[TierFigures, ...]:
    found = [
        TierFigures(*key, n["asked"], n["accepted"], Share.made(n["escalated"], n["asked"]))
        for key, n in counts.items()
    ]
    return tuple(
        sorted(found, key=lambda one: (one.cascade or "", one.path or "", -one.asked, one.tier))
    )
