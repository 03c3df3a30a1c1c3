"""The figures of a replay: quality, cost, whose answers they were, and the baselines."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from cascade.evals.frontier import Point, hull, quality_at
from cascade.evals.replay import Outcomes, groups, single
from cascade.evals.runs import Floats, Ints, Runs

__all__ = ["bootstrap", "figures", "mixture_quality", "single_tiers"]

RESAMPLES: Final = 400
_ENDS: Final = (0.025, 0.975)


def figures(runs: Runs, outcomes: Outcomes, strong: str, seed: int = 0) -> dict[str, Any]:
    """Everything `cascade replay` reports, as plain numbers for JSON.

    Intervals hold 95 % of bootstrap resamples of the queries, or of their clusters.
    """
    reference = single(runs, strong)
    found = _of(runs, outcomes, reference)
    found["intervals"] = _intervals(runs, outcomes, reference, seed)
    found["by_tier"] = _by_tier(runs, outcomes)
    found["by_slice"] = {
        name: _of(runs.take(rows), _part(outcomes, rows), _part(reference, rows))
        for name, rows in groups(runs.slices).items()
        if name
    }
    found["single_tiers"] = single_tiers(runs, strong)
    found["mixture_accuracy"] = mixture_quality(found["single_tiers"], found["relative_cost"])
    return found


def _part(outcomes: Outcomes, rows: Ints) -> Outcomes:
    return Outcomes(
        outcomes.correct[rows],
        outcomes.cost_usd[rows],
        outcomes.tier[rows],
        outcomes.asked[rows],
        outcomes.latency_s[rows],
    )


def _of(runs: Runs, outcomes: Outcomes, reference: Outcomes) -> dict[str, Any]:
    w = runs.weights / runs.weights.sum()
    accuracy, cost = float(w @ outcomes.correct), float(w @ outcomes.cost_usd)
    strong, strong_cost = float(w @ reference.correct), float(w @ reference.cost_usd)
    asks = outcomes.asked.sum(axis=1)
    return {
        "n": len(runs),
        "accuracy": accuracy,
        "mean_cost_usd": cost,
        "relative_cost": _ratio(cost, strong_cost),
        "quality_vs_strong": _ratio(accuracy, strong),
        "strong_accuracy": strong,
        "strong_mean_cost_usd": strong_cost,
        "escalation_rate": float(w @ (asks > 1)),
        "asks_per_query": float(w @ asks),
        "latency_s": _latency(outcomes.latency_s),
        "wins": int(np.sum(outcomes.correct > reference.correct)),
        "losses": int(np.sum(outcomes.correct < reference.correct)),
    }


def _ratio(part: float, whole: float) -> float | None:
    """None: there is nothing to compare with."""
    return part / whole if whole > 0 else None


def _latency(latency_s: Floats) -> dict[str, float] | None:
    """In seconds. None: a recording lacks it."""
    if np.isnan(latency_s).any():
        return None
    p50, p95, p99 = np.quantile(latency_s, (0.5, 0.95, 0.99), method="inverted_cdf")
    return {
        "mean": float(latency_s.mean()),
        "p50": float(p50),
        "p95": float(p95),
        "p99": float(p99),
    }


def _by_tier(runs: Runs, outcomes: Outcomes) -> dict[str, dict[str, float]]:
    w = runs.weights / runs.weights.sum()
    found: dict[str, dict[str, float]] = {}
    for i, tier in enumerate(runs.tiers):
        returned = outcomes.tier == i
        share = float(w @ returned)
        found[tier] = {
            "asked": float(w @ outcomes.asked[:, i]),
            "answered": share,
            "accuracy": float(w @ (returned * outcomes.correct)) / share if share else 0.0,
            "cost_usd": float(w @ (outcomes.asked[:, i] * runs.cost_usd[:, i])),
        }
    return found


def single_tiers(runs: Runs, strong: str) -> dict[str, dict[str, float | None]]:
    """Each tier on its own."""
    w = runs.weights / runs.weights.sum()
    accuracy, cost = w @ runs.correct, w @ runs.cost_usd
    column = runs.column(strong)
    return {
        tier: {
            "accuracy": float(accuracy[i]),
            "mean_cost_usd": float(cost[i]),
            "relative_cost": _ratio(float(cost[i]), float(cost[column])),
            "quality_vs_strong": _ratio(float(accuracy[i]), float(accuracy[column])),
        }
        for i, tier in enumerate(runs.tiers)
    }


def mixture_quality(
    singles: dict[str, dict[str, float | None]], relative_cost: float | None
) -> float | None:
    """The accuracy of the best random mixture of single tiers that costs no more.

    None: every tier alone costs more, or costs are not known relative to the strong tier's.
    """
    points = [
        Point(one["relative_cost"], one["accuracy"] or 0.0)
        for one in singles.values()
        if one["relative_cost"] is not None
    ]
    return None if relative_cost is None else quality_at(hull(points), relative_cost)


def _intervals(
    runs: Runs, outcomes: Outcomes, reference: Outcomes, seed: int
) -> dict[str, list[float]]:
    columns = np.stack(
        [outcomes.correct, outcomes.cost_usd, reference.correct, reference.cost_usd], axis=1
    )
    drawn = bootstrap(runs, columns, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "accuracy": drawn[:, 0],
            "mean_cost_usd": drawn[:, 1],
            "relative_cost": drawn[:, 1] / drawn[:, 3],
            "quality_vs_strong": drawn[:, 0] / drawn[:, 2],
        }
    return {
        name: [float(end) for end in np.quantile(values, _ENDS)]
        for name, values in found.items()
        if np.isfinite(values).all()
    }


def bootstrap(runs: Runs, columns: Floats, seed: int) -> Floats:
    """Weighted means of the columns over resampled queries or clusters; a row a resample."""
    units = np.arange(len(runs)) if runs.clusters is None else runs.clusters
    _, unit = np.unique(units, return_inverse=True)
    count = int(unit.max()) + 1
    sums: Floats = np.zeros((count, columns.shape[1] + 1))
    np.add.at(sums, unit, np.column_stack([columns, np.ones(len(runs))]) * runs.weights[:, None])
    random = np.random.default_rng(seed)
    drawn: Floats = np.stack(
        [
            np.bincount(random.integers(0, count, count), minlength=count) @ sums
            for _ in range(RESAMPLES)
        ]
    )
    means: Floats = drawn[:, :-1] / drawn[:, -1:]
    return means
