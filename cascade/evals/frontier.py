"""Cost against quality: curves, the area under them, and the baselines that need no signal.

Costs are relative: the strong tier's mean cost is 1. Between two points of a curve lies what a
random choice between the two policies would get, so points are joined by straight lines.

*AUC* is the performance gap recovered, averaged over cost: 0 is the quality of the cheapest tier,
1 that of the strong one, and the average runs from the cheapest tier's cost to the strong one's.
A random mixture of the two has 0.5. It may be above 1, where policies beat the strong tier.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

__all__ = ["Point", "auc", "cost_at", "hull", "quality_at"]


class Point(NamedTuple):
    """A policy: what it costs a query, and how right it is."""

    cost: float
    quality: float


def hull(points: Iterable[Point]) -> list[Point]:
    """The upper concave envelope, from the cheapest point to the best one."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.quality)):
        if kept and point.quality <= kept[-1].quality:
            continue
        while len(kept) > 1 and _below(kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return kept


def _below(first: Point, middle: Point, last: Point) -> bool:
    rise = (middle.quality - first.quality) * (last.cost - first.cost)
    return rise <= (last.quality - first.quality) * (middle.cost - first.cost)


def quality_at(curve: Sequence[Point], cost: float) -> float | None:
    """The quality that the curve has at a cost. None: everything on it costs more."""
    if not curve or cost < curve[0].cost:
        return None
    for before, after in pairwise(curve):
        if before.cost <= cost < after.cost:
            share = (cost - before.cost) / (after.cost - before.cost)
            return before.quality + share * (after.quality - before.quality)
    return curve[-1].quality


def cost_at(curve: Sequence[Point], quality: float) -> float | None:
    """The least cost at which the curve has a quality. None: it never has."""
    if not curve:
        return None
    if curve[0].quality >= quality:
        return curve[0].cost
    for before, after in pairwise(curve):
        if before.quality < quality <= after.quality:
            share = (quality - before.quality) / (after.quality - before.quality)
            return before.cost + share * (after.cost - before.cost)
    return None


def auc(points: Iterable[Point], cheapest: Point, strong: Point) -> float | None:
    """The performance gap recovered, averaged over cost. None: there is no gap to recover."""
    gap, width = strong.quality - cheapest.quality, strong.cost - cheapest.cost
    if gap <= 0 or width <= 0:
        return None
    curve = hull([*points, cheapest])
    area = 0.0
    for before, after in pairwise(
        [*curve, Point(max(strong.cost, curve[-1].cost) + 1, curve[-1].quality)]
    ):
        low, high = max(before.cost, cheapest.cost), min(after.cost, strong.cost)
        if high > low:
            middle = quality_at(curve, (low + high) / 2)
            area += (high - low) * ((middle or cheapest.quality) - cheapest.quality)
    return area / (gap * width)
