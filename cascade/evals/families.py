"""The kinds of policy that tuning chooses from, and what they do with queries not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from cascade.evals.answers import fit_answers, folds_of
from cascade.evals.frontier import Point, hull, quality_at
from cascade.evals.induction import Fitted, induced, own_slices
from cascade.evals.ladders import fit_ladders
from cascade.evals.replay import Known, replay
from cascade.evals.runs import Floats, Ints, Runs
from cascade.policy import Policy

__all__ = [
    "PLAIN",
    "ROUTED",
    "Curve",
    "Family",
    "Ladder",
    "cross_validated",
    "families",
    "improves",
    "price_grid",
    "rising",
    "useful_tiers",
]

MOST_TIERS: Final = 6
"""How many tiers policies are made of at most: states grow with the cube of it."""
PRICES: Final = 96
"""How many prices are tried."""
_DEAREST, _CHEAPEST = 4.0, 0.01  # in probability per the strong tier's mean cost


_SAME_COST: Final = 1.02

PLAIN: Final = "expected gain, best of the asked"
ROUTED: Final = "expected gain, a learned router first"
"""The same with a learned router as tier 0."""


class Family(Protocol):
    """Policies for a whole range of prices."""

    def policy(self, price: int) -> Policy:
        """The policy of the price with this index."""
        ...


@dataclass(frozen=True, slots=True)
class Ladder:
    """What policies may do.

    Attributes:
        tiers: cheapest first.
        strong: what quality and cost are measured against.
        max_asks: how many tiers one query may ask.
    """

    tiers: tuple[str, ...]
    strong: str
    max_asks: int


@dataclass(frozen=True, slots=True)
class Curve:
    """What the policies of all prices did with queries that they were not fitted on.

    Attributes:
        correct: a row a query, a column a price.
        cost_usd: the same.
    """

    correct: Floats
    cost_usd: Floats

    def quality(self, weights: Floats) -> Floats:
        """The weighted mean by price, which never falls as the price of a dollar does."""
        return rising(weights @ self.correct / weights.sum())

    def cost(self, weights: Floats) -> Floats:
        """The weighted mean by price in USD, which never falls either."""
        return rising(weights @ self.cost_usd / weights.sum())


def improves(runs: Runs, curves: Mapping[str, Curve], strong: str) -> bool:
    """Whether a learned router as tier 0 betters the cross-validated curve.

    It does where what its policies are worth, correctness less priced cost and the mean over all
    prices, is above what they are worth without it by more than a standard error.
    """
    w = runs.weights / runs.weights.sum()
    mine, other = curves[ROUTED], curves[PLAIN]
    strong_cost_usd = float(w @ runs.cost_usd[:, runs.column(strong)])
    prices = price_grid(strong_cost_usd, mine.correct.shape[1])
    more_right, dearer = mine.correct - other.correct, mine.cost_usd - other.cost_usd
    gains = (more_right - prices[None, :] * dearer).mean(axis=1)
    mean = float(w @ gains)
    return mean > float(np.sqrt(w**2 @ (gains - mean) ** 2))


def useful_tiers(runs: Runs, strong: str) -> tuple[str, ...]:
    """The tiers by rising cost, without those that another one plainly beats at their own price.

    Fewer states to choose from are fewer to choose wrongly. A tier goes when one that costs no
    more is better by two standard errors, and in no slice with queries enough is worse. Of more
    than `MOST_TIERS`, those are left that fall least short of the best random mixture of single
    tiers at their own cost. The strong tier stays.
    """
    cost = np.average(runs.cost_usd, axis=0, weights=runs.weights)
    order = sorted(runs.tiers, key=lambda tier: float(cost[runs.column(tier)]))
    kept: list[str] = []
    for tier in order:
        mine = runs.column(tier)
        rivals = [
            runs.column(other)
            for other in order
            if other != tier and cost[runs.column(other)] <= cost[mine] * _SAME_COST
        ]
        if tier == strong or not any(_beats(runs, other, mine) for other in rivals):
            kept.append(tier)
    nearest = sorted(kept, key=lambda tier: (tier != strong, _short(runs, cost, tier)))
    return tuple(tier for tier in kept if tier in nearest[:MOST_TIERS])


def _short(runs: Runs, cost: Floats, tier: str) -> float:
    """How much accuracy a tier lacks against a mixture of tiers that costs as much."""
    quality = np.average(runs.correct, axis=0, weights=runs.weights)
    points = [Point(*pair) for pair in zip(cost.tolist(), quality.tolist(), strict=True)]
    own = points[runs.column(tier)]
    return (quality_at(hull(points), own.cost) or 0.0) - own.quality


def _beats(runs: Runs, one: int, other: int) -> bool:
    lead = runs.correct[:, one] - runs.correct[:, other]
    w = runs.weights / runs.weights.sum()
    mean = float(w @ lead)
    if mean <= 2 * float(np.sqrt(w**2 @ (lead - mean) ** 2)):
        return False
    return all(float(w[rows] @ lead[rows]) >= 0 for rows in own_slices(runs).values())


def price_grid(strong_cost_usd: float, count: int = PRICES) -> Floats:
    """The prices that are tried, in probability per USD, falling: from thrift to no care."""
    relative = np.append(np.geomspace(_DEAREST, _CHEAPEST, count - 1), 0.0)
    prices: Floats = relative / strong_cost_usd
    return prices


def families(
    runs: Runs, ladder: Ladder, prices: Floats, folds: Ints, seed: int = 0
) -> dict[str, Family]:
    """Every kind of policy, fitted on these runs."""
    answered = fit_answers(runs, ladder.tiers, ladder.strong, ladder.max_asks, folds)
    best = induced(answered, prices)
    last = induced(answered, prices, last_only=True)
    return {
        PLAIN: best,
        "expected gain, last asked": last,
        "thresholds, best of the asked": fit_ladders(best),
        "thresholds, last asked": fit_ladders(last),
        **_begun(best, seed),
    }


def _begun(best: Fitted, seed: int) -> dict[str, Family]:
    """The kind with a learned router as tier 0, where it is known what the queries say."""
    if not best.answered.runs.texts:
        return {}
    from cascade.evals.tier_zero import begin_by_text

    return {ROUTED: begin_by_text(best, seed)}


def cross_validated(
    runs: Runs, ladder: Ladder, prices: Floats, folds: int, seed: int, repeats: int = 1
) -> Mapping[str, Curve]:
    """Every query through policies of each family that were tuned on the other folds.

    With several `repeats` each query's figures are means over as many ways to fold.
    """
    found = [_cross_validated(runs, ladder, prices, folds, seed + 7 * i) for i in range(repeats)]
    return {
        name: Curve(
            np.asarray(np.mean([curves[name].correct for curves in found], axis=0), np.float64),
            np.asarray(np.mean([curves[name].cost_usd for curves in found], axis=0), np.float64),
        )
        for name in found[0]
    }


def _cross_validated(
    runs: Runs, ladder: Ladder, prices: Floats, folds: int, seed: int
) -> Mapping[str, Curve]:
    outer = folds_of(runs, folds, seed)
    curves: dict[str, Curve] = {}
    for fold in range(folds):
        held = np.flatnonzero(outer == fold)
        train = runs.take(np.flatnonzero(outer != fold))
        test = runs.take(held)
        fitted = families(train, ladder, prices, folds_of(train, folds, seed + 1), seed)
        known = Known()
        for name, family in fitted.items():
            empty = np.zeros((len(runs), len(prices)))
            curve = curves.setdefault(name, Curve(empty, empty.copy()))
            for i in range(len(prices)):
                outcomes = replay(family.policy(i), test, known=known)
                curve.correct[held, i] = outcomes.correct
                curve.cost_usd[held, i] = outcomes.cost_usd
    return curves


def rising(values: Floats) -> Floats:
    """The closest values that never fall: the mean of each stretch that does."""
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        block = (float(value), 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, count = blocks.pop()
            total = count + block[1]
            block = ((mean * count + block[0] * block[1]) / total, total)
        blocks.append(block)
    found: Floats = np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])
    return found
