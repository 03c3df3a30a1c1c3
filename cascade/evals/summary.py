"""What recorded runs come to: for each tier its quality, cost, latency and acceptance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Final

__all__ = ["TierSummary", "quality_interval", "summarise"]

_CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class TierSummary:
    """One tier over all cases.

    Attributes:
        tier: its name; of a whole cascade the cascade's.
        n: answers that were graded.
        failed: calls that broke, by reason. They are in no other figure.
        quality: the mean grade, weighted. None: nothing was graded.
        interval: of the quality, at 95 %. None: nothing was graded.
        cost_usd: of all graded answers.
        p50_s, p95_s: latencies in seconds. None: nothing was graded.
        accepted: the share of answers that every validator passed.
        by_validator: the share of answers that each validator passed.
    """

    tier: str
    n: int
    failed: Mapping[str, int]
    quality: float | None
    interval: tuple[float, float] | None
    cost_usd: float
    p50_s: float | None
    p95_s: float | None
    accepted: float | None
    by_validator: Mapping[str, float] = field(default_factory=dict[str, float])

    def as_row(self) -> dict[str, Any]:
        """For machines."""
        return {
            "tier": self.tier,
            "n": self.n,
            "failed": dict(self.failed),
            "quality": self.quality,
            "interval": None if self.interval is None else list(self.interval),
            "cost_usd": self.cost_usd,
            "mean_cost_usd": self.cost_usd / self.n if self.n else None,
            "latency_p50_s": self.p50_s,
            "latency_p95_s": self.p95_s,
            "accepted": self.accepted,
            "by_validator": dict(self.by_validator),
        }


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[TierSummary]:
    """A summary of each tier, in the order in which the tiers come first."""
    by_tier: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_tier.setdefault(str(row["model"]), []).append(row)
    return [_of_tier(tier, found) for tier, found in by_tier.items()]


def _of_tier(tier: str, rows: Sequence[Mapping[str, Any]]) -> TierSummary:
    graded = [row for row in rows if row["outcome"] == "answered"]
    failed: dict[str, int] = {}
    for row in rows:
        if row["outcome"] == "failed":
            failed[row["reason"]] = failed.get(row["reason"], 0) + 1
    scores = [float(row["correct"]) for row in graded]
    weights = [float(row.get("weight", 1)) for row in graded]
    clusters = [str(row.get("cluster", place)) for place, row in enumerate(graded)]
    latencies = sorted(row["latency_ms"] / 1000 for row in graded)
    return TierSummary(
        tier=tier,
        n=len(graded),
        failed=failed,
        quality=_mean(scores, weights) if graded else None,
        interval=quality_interval(scores, weights, clusters) if graded else None,
        cost_usd=math.fsum(row["cost_usd"] for row in graded),
        p50_s=_quantile(latencies, 0.5),
        p95_s=_quantile(latencies, 0.95),
        accepted=_mean([float(row["accepted"]) for row in graded], weights) if graded else None,
        by_validator=_by_validator(graded),
    )


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / math.fsum(weights)


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """By nearest rank."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _by_validator(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    passed: dict[str, list[bool]] = {}
    for row in rows:
        for verdict in row["verdicts"]:
            passed.setdefault(verdict["validator"], []).append(verdict["status"] == "passed")
    return {name: sum(found) / len(found) for name, found in passed.items()}


def quality_interval(
    scores: Sequence[float], weights: Sequence[float], clusters: Sequence[str]
) -> tuple[float, float]:
    """Wilson's interval (JASA 22 (1927) 209) of a mean grade from 0 to 1, at 95 %.

    The number of cases in it is that of the independent, equally weighted ones that would fix the
    mean as well (Kish 1965), by the variance between clusters.
    """
    mean = _mean(scores, weights)
    n = _effective(mean, scores, weights, clusters)
    z = NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2)
    scale = 1 + z * z / n
    centre = (mean + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(max(mean * (1 - mean), 0.0) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def _effective(
    mean: float, scores: Sequence[float], weights: Sequence[float], clusters: Sequence[str]
) -> float:
    sums: dict[str, float] = {}
    sizes: dict[str, float] = {}
    for score, weight, cluster in zip(scores, weights, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + weight * (score - mean)
        sizes[cluster] = sizes.get(cluster, 0.0) + weight
    variance = math.fsum(value * value for value in sums.values()) / math.fsum(weights) ** 2
    if variance <= 0 or not 0 < mean < 1:  # nothing varies: each cluster counts once
        total = math.fsum(sizes.values())
        return total * total / math.fsum(size * size for size in sizes.values())
    return max(mean * (1 - mean) / variance, 1.0)
