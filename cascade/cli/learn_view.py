"""What `cascade learn` shows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade.learn.assess import Assessment, Route

__all__ = ["assessment_row", "shown"]


def assessment_row(found: Assessment) -> dict[str, Any]:
    """An assessment as JSON; docs/learn.md says what each key means."""
    return {
        "worth_it": found.is_worth_it,
        "against": list(found.against),
        "queries": found.queries,
        "apgr": found.measures.apgr,
        "apgr_low": found.apgr_low,
        "cpt50": found.measures.cpt50,
        "cpt80": found.measures.cpt80,
        "value_usd": found.value_usd,
        "saving_usd": found.saving_usd,
        "abstained": found.abstained,
        "calibration_error": dict(found.calibration_error),
        "routes": [_row(route) for route in (found.router, *found.others)],
        "curve": [_row(route) for route in found.curve],
    }


def _row(route: Route) -> dict[str, Any]:
    return {
        "name": route.name,
        "accuracy": route.accuracy,
        "cost_usd": route.cost_usd,
        "shares": dict(route.shares),
        "random_mix": None if math.isnan(route.mixture) else route.mixture,
    }


def shown(found: Assessment) -> str:
    """The same for people."""
    tiers = list(found.router.shares)
    cpt50, cpt80 = found.measures.cpt50, found.measures.cpt80
    ranking = (
        f"APGR {found.measures.apgr:.3f} (at least {found.apgr_low:.3f}; random mixing 0.5). "
        f"Half of {tiers[-1]}'s lead takes {cpt50:.1%} of the calls, 80 % of it {cpt80:.1%}."
    )
    saves = "saves" if found.saving_usd >= 0 else "costs"
    money = (
        f"A right answer is worth ${found.value_usd:.6g}. Against a random mix that is right as "
        f"often it {saves} ${abs(found.saving_usd):.6f} a call."
    )
    parts = [
        f"On {found.queries} queries, each judged by a router that did not see it:",
        _table([found.router, *found.others]),
        f"From {tiers[0]} alone to {tiers[-1]} alone:",
        _table(found.curve),
        ranking,
        money,
        _verdict(found),
    ]
    return "\n\n".join(parts)


def _verdict(found: Assessment) -> str:
    if found.is_worth_it:
        return "Worth it."
    return "Not worth it: " + "; ".join(found.against) + "."


def _table(routes: list[Route] | tuple[Route, ...]) -> str:
    head = ("route", "right", "cost a call", "random mix for that", "begins with")
    rows = [head, *(_line(route) for route in routes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    lines: list[str] = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)


def _line(route: Route) -> tuple[str, ...]:
    shares = ", ".join(f"{tier} {share:.0%}" for tier, share in route.shares.items() if share)
    mix = "" if math.isnan(route.mixture) else f"{route.mixture:.1%}"
    return (route.name, f"{route.accuracy:.1%}", f"${route.cost_usd:.6f}", mix, shares)
