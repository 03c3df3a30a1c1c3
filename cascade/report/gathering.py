"""From a ledger to the figures of a report."""

from __future__ import annotations

from cascade.ledger.read import Reader, When
from cascade.report.faults import faults_of
from cascade.report.figures import Figures
from cascade.report.frontier import frontier_of
from cascade.report.money import spend_by_tenant, spend_by_tier
from cascade.report.overview import gaps_of, totals_of, trend_of
from cascade.report.quality import quality_of
from cascade.report.routes import paths_of, steps_of
from cascade.report.selection import Selection
from cascade.report.thresholds import thresholds_of

__all__ = ["figures_of"]


def figures_of(
    reader: Reader,
    *,
    since: When | None = None,
    until: When | None = None,
    cascade: str | None = None,
    frontier: str | None = None,
) -> Figures:
    """Everything a report says of some calls of a ledger.

    Args:
        since, until: only calls that started at or after, and before. None: no bound.
        cascade: only calls of that cascade. None: all.
        frontier: the tier to compare the cost with. None: in each cascade the dearest.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    chosen = Selection(reader, since=since, until=until, cascade=cascade)
    correct, tier_quality, path_quality = quality_of(reader, chosen)
    totals = totals_of(reader, chosen, correct)
    saving, per_request = frontier_of(reader, chosen, frontier)
    tiers, steps = steps_of(reader, chosen)
    tier_bills, judge_bills = spend_by_tier(reader, chosen)
    tenants, other_tenants = spend_by_tenant(reader, chosen)
    return Figures(
        ledger=reader.name,
        cascade=cascade,
        since=chosen.since,
        until=chosen.until,
        totals=totals,
        saving=saving,
        width_s=chosen.width_s,
        trend=trend_of(reader, chosen, per_request),
        paths=paths_of(reader, chosen),
        tiers=tiers,
        steps=steps,
        tier_bills=tier_bills,
        judge_bills=judge_bills,
        tenants=tenants,
        other_tenants=other_tenants,
        tier_quality=tier_quality,
        path_quality=path_quality,
        thresholds=thresholds_of(reader, chosen),
        faults=faults_of(reader, chosen),
        gaps=gaps_of(reader, chosen, totals),
    )
