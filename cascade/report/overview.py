"""The whole selection in one line, and how it went over time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from cascade.ledger.read import Reader
from cascade.ledger.tables import attempts, calls, outcomes, usd_sum
from cascade.report.faults import IS_REFUSAL, WENT_WRONG
from cascade.report.figures import Bill, Bucket, Gaps, Latency, Share, Totals
from cascade.report.frontier import PerRequest
from cascade.report.money import spent
from cascade.report.selection import Selection, latencies, latency_of

__all__ = ["gaps_of", "totals_of", "trend_of"]


def totals_of(reader: Reader, selection: Selection, correct: Share) -> Totals:
    """The headline. `correct`: of the accepted requests that have a label."""
    everything = selection.of(
        func.count(),
        func.count().filter(selection.top),
        func.count().filter(selection.top, calls.c.accepted),
        func.count().filter(selection.top, calls.c.escalations > 0),
        usd_sum(calls.c.cost_usd).filter(selection.top),
        func.count().filter(selection.top, calls.c.cost_usd.is_(None)),
    )
    ((all_calls, requests, accepted, escalated, cost_usd, unknown),) = reader.rows(everything)
    endings = selection.of(calls.c.reason, func.count().label("n")).where(selection.top)
    endings = endings.group_by(calls.c.reason).order_by(func.count().desc(), calls.c.reason)
    times = latencies(selection.of(calls.c.latency_s).where(selection.top))
    ((spent_usd,),) = reader.rows(spent(selection))
    return Totals(
        requests=requests,
        nested=all_calls - requests,
        first_at=selection.first_at,
        last_at=selection.last_at,
        bill=Bill.of_calls(spent_usd, cost_usd, requests, unknown),
        accepted=Share.made(accepted, requests),
        escalated=Share.made(escalated, requests),
        endings=tuple((reason, n) for reason, n in reader.rows(endings)),
        latency=latency_of(next(iter(reader.rows(times)), None)) if requests else Latency(0),
        correct=correct,
    )


def trend_of(
    reader: Reader, selection: Selection, frontier: dict[int, PerRequest]
) -> tuple[Bucket, ...]:
    """All buckets from the first call to the last, the empty ones too."""
    counted = selection.of(
        selection.bucket,
        func.count(),
        func.count().filter(calls.c.escalations > 0),
        usd_sum(calls.c.cost_usd),
        func.count().filter(calls.c.cost_usd.is_(None)),
    )
    rows = {row[0]: row for row in reader.rows(counted.where(selection.top).group_by("bucket"))}
    times = selection.of(selection.bucket, calls.c.latency_s).where(selection.top)
    latency = {row[0]: row for row in reader.rows(latencies(times, "bucket"))}
    broken = _broken(reader, selection)
    return tuple(
        _bucket(
            selection.start_at + number * selection.width_s,
            rows.get(number, (number, 0, 0, None, 0)),
            latency_of(latency.get(number)),
            frontier.get(number),
            broken.get(number, (0, 0)),
        )
        for number in range(selection.buckets)
    )


def _bucket(
    start_at: float,
    row: Any,
    latency: Latency,
    frontier: PerRequest | None,
    broken: tuple[int, int],
) -> Bucket:
    _, requests, escalated, cost_usd, unknown = row
    low, high = (None, None) if frontier is None else frontier
    return Bucket(
        start_at=start_at,
        requests=requests,
        cost_per_request_usd=Bill.of_charges(cost_usd, requests, unknown).mean_usd,
        frontier_low_usd=low,
        frontier_high_usd=high,
        escalated=escalated,
        p95_s=latency.p95_s,
        failed=broken[0],
        refused=broken[1],
    )


def _broken(reader: Reader, selection: Selection) -> dict[int, tuple[int, int]]:
    """For each bucket: attempts that failed, and attempts that were refused."""
    failed = selection.of(
        selection.bucket,
        func.count().filter(WENT_WRONG, ~IS_REFUSAL),
        func.count().filter(IS_REFUSAL),
    )
    joined = failed.join_from(attempts, calls, calls.c.seq == attempts.c.call_seq)
    return {row[0]: (row[1], row[2]) for row in reader.rows(joined.group_by("bucket"))}


def gaps_of(reader: Reader, selection: Selection, totals: Totals) -> Gaps:
    """What the ledger does not know."""
    outer = calls.alias("outer_calls")
    has_outer = select(outer.c.seq).where(outer.c.id == calls.c.parent).correlate(calls).exists()
    orphans = selection.of(func.count()).where(calls.c.parent.is_not(None), ~has_outer)
    known = select(calls.c.seq).where(calls.c.id == outcomes.c.call_id).correlate(outcomes)
    lost = select(func.count()).select_from(outcomes).where(~known.exists())
    if selection.since is not None:
        lost = lost.where(outcomes.c.at >= selection.since)
    ((orphan_calls,),) = reader.rows(orphans)
    ((orphan_labels,),) = reader.rows(lost)
    accepted = totals.accepted.count
    return Gaps(
        unknown_costs=Share.made(totals.bill.unknown, totals.requests),
        unlabelled=Share.made(accepted - totals.correct.of, accepted),
        orphan_labels=orphan_labels,
        orphan_calls=orphan_calls,
    )
