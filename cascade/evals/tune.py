"""Find the cheapest policy for a quality target, by cross-validation inside the tuning queries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np

from cascade.errors import ConfigError
from cascade.evals.answers import folds_of
from cascade.evals.families import (
    PRICES,
    ROUTED,
    Curve,
    Ladder,
    cross_validated,
    families,
    improves,
    price_grid,
    useful_tiers,
)
from cascade.evals.frontier import Point, auc, cost_at, hull
from cascade.evals.measures import bootstrap, mixture_quality, single_tiers
from cascade.evals.runs import Floats, Runs
from cascade.learn.one_thread import one_thread
from cascade.policy import AnswerModel, Policy, StateModel

__all__ = ["Chosen", "Settings", "alone", "cheapest", "check_runs", "evidence_of", "tune"]

MIN_QUERIES: Final = 50
MIN_CLUSTERS: Final = 10
FEW_QUERIES: Final = 200
"""Queries below which a word of caution goes with the policy."""
FIRM_QUERIES: Final = 3_000
"""Queries from which the figures hardly depend on how they are folded."""
MANY_QUERIES: Final = 20_000
"""Queries from which more folds and prices would cost time and teach little."""
SHARES: Final = (0.95, 0.98, 1.0)
"""Of the strong tier's accuracy, for the costs that are reported."""
SINGLE: Final = "a single tier"
_ENDS: Final = (0.025, 0.975)
_Z90: Final = 1.645


@dataclass(frozen=True, slots=True)
class Settings:
    """How to tune.

    Attributes:
        target: the share of the strong tier's accuracy to reach.
        max_asks: how many tiers one query may ask.
        folds: of the cross-validation. None: 5, or 3 from 20,000 queries on.
        repeats: of the cross-validation, over other folds. None: 3, or 1 from 3,000 queries on.
        margin: how many standard errors to stay above the target, those of the cross-validated
            difference from the strong tier. A quarter makes up for choosing the cheapest of several
            kinds, which flatters the one that is chosen.
        seed: of the folds and the bootstrap.
        created_at: the date on the policy's card, in the caller's words. "": none.
    """

    target: float = 1.0
    max_asks: int = 3
    folds: int | None = None
    repeats: int | None = None
    margin: float = 0.25
    seed: int = 0
    created_at: str = ""

    def folds_for(self, queries: int) -> int:
        """The folds that so many queries get."""
        return self.folds or (3 if queries >= MANY_QUERIES else 5)

    def repeats_for(self, queries: int) -> int:
        """The repeats that so many queries get."""
        return self.repeats or (1 if queries >= FIRM_QUERIES else 3)

    @staticmethod
    def prices_for(queries: int) -> int:
        """How many prices are tried with so many queries."""
        return PRICES // 2 if queries >= MANY_QUERIES else PRICES


class Chosen(NamedTuple):
    """One policy of one family.

    Attributes:
        family: its name, or `SINGLE`.
        price: the index of its price; -1 of a single tier.
        tier: the single tier, else "".
        cost_usd: a query, cross-validated.
    """

    family: str
    price: int
    tier: str
    cost_usd: float


def tune(runs: Runs, strong: str, settings: Settings) -> Policy:
    """The cheapest policy whose cross-validated accuracy is the target, with its evidence.

    The target is met on the average of new sets of queries, so by somewhat more than half of them;
    a larger `margin` makes that more. Where nothing else meets it, the strong tier answers alone.

    Raises:
        ConfigError: there are too few queries to tune on, no tier of that name, or nothing to save.
    """
    check_runs(runs, strong)
    cost = np.average(runs.cost_usd, axis=0, weights=runs.weights)
    ladder = Ladder(useful_tiers(runs, strong), strong, settings.max_asks)
    prices = price_grid(float(cost[runs.column(strong)]), settings.prices_for(len(runs)))
    folds = settings.folds_for(len(runs))
    repeats = settings.repeats_for(len(runs))
    inner = folds_of(runs, folds, settings.seed + 1)
    with one_thread():
        curves = cross_validated(runs, ladder, prices, folds, settings.seed, repeats)
        fitted = families(runs, ladder, prices, inner, settings.seed)
    chosen = cheapest(runs, curves, strong, settings)
    if chosen.tier:
        any_family = next(iter(fitted.values()))
        policy = alone(any_family.policy(chosen.price), chosen.tier)
    else:
        policy = fitted[chosen.family].policy(chosen.price)
    return replace(policy, evidence=_evidence(runs, curves, chosen, strong, settings))


def check_runs(runs: Runs, strong: str) -> None:
    """See that there is something to learn and to save.

    Raises:
        ConfigError: there is not; the message says what to record.
    """
    if len(runs) < MIN_QUERIES:
        raise ConfigError(
            f"{len(runs)} queries are too few to tune on: record {MIN_QUERIES - len(runs)} more at "
            "the least, and some hundreds for thresholds that hold"
        )
    if strong not in runs.tiers:
        raise ConfigError(f"the strong tier {strong!r} is none of {', '.join(runs.tiers)}")
    if runs.clusters is not None and (count := len(set(runs.clusters.tolist()))) < MIN_CLUSTERS:
        raise ConfigError(
            f"the queries come from {count} clusters, and cross-validation needs {MIN_CLUSTERS} at "
            "the least: record more of them, or leave out the field `cluster`"
        )
    if not runs.weights.any():
        raise ConfigError("every query has the weight 0; give those that count a weight above it")
    if not runs.weights @ runs.cost_usd[:, runs.column(strong)]:
        raise ConfigError(
            f"the strong tier {strong} costs nothing in these runs, so nothing can be saved: "
            "record cost_usd, or name another by --strong"
        )


def alone(policy: Policy, tier: str) -> Policy:
    """Ask one tier, and accept what it says."""
    model = StateModel((), {tier: AnswerModel({"": [0.0]})}, {})
    return replace(policy, start={"": tier}, states={tier: model})


def cheapest(runs: Runs, curves: Mapping[str, Curve], strong: str, settings: Settings) -> Chosen:
    """The cheapest policy that reaches the target, single tiers included."""
    w = runs.weights / runs.weights.sum()
    column = runs.column(strong)
    needed = settings.target * runs.correct[:, column]
    found = [Chosen(SINGLE, 0, strong, float(w @ runs.cost_usd[:, column]))]
    for i, tier in enumerate(runs.tiers):
        margin = settings.margin * _standard_error(runs.correct[:, i] - needed, w)
        if w @ (runs.correct[:, i] - needed) >= margin:
            found.append(Chosen(SINGLE, 0, tier, float(w @ runs.cost_usd[:, i])))
    for name, curve in curves.items():
        if name == ROUTED and not improves(runs, curves, strong):
            continue
        quality, cost = curve.quality(w), curve.cost(w)
        for i in range(len(quality)):
            margin = settings.margin * _standard_error(curve.correct[:, i] - needed, w)
            if quality[i] - w @ needed >= margin:
                found.append(Chosen(name, i, "", float(cost[i])))
                break
    return min(found, key=lambda one: one.cost_usd)


def _standard_error(values: Floats, w: Floats) -> float:
    return math.sqrt(float(w**2 @ (values - w @ values) ** 2))


def evidence_of(
    runs: Runs, correct: Floats, cost_usd: Floats, strong: str, settings: Settings
) -> dict[str, Any]:
    """What a policy came to on queries that it was not fitted on, beside the baselines."""
    w = runs.weights / runs.weights.sum()
    column = runs.column(strong)
    reference = np.stack([runs.correct[:, column], runs.cost_usd[:, column]], axis=1)
    drawn = bootstrap(runs, np.column_stack([correct, cost_usd, reference]), settings.seed)
    singles = single_tiers(runs, strong)
    accuracy, strong_accuracy = float(w @ correct), float(w @ reference[:, 0])
    relative = float(w @ cost_usd) / float(w @ reference[:, 1])
    differences = correct - reference[:, 0]
    return {
        "created_at": settings.created_at,
        "seed": settings.seed,
        "folds": settings.folds_for(len(runs)),
        "repeats": settings.repeats_for(len(runs)),
        "max_asks": settings.max_asks,
        "n": len(runs),
        "dropped": runs.dropped,
        "data_sha256": runs.sha256(),
        "cascade": runs.cascade,
        "models": dict(runs.models),
        "validators": dict(runs.versions),
        "accuracy": accuracy,
        "relative_cost": relative,
        "quality_vs_strong": accuracy / strong_accuracy if strong_accuracy else None,
        "intervals": {
            "accuracy": _ends(drawn[:, 0]),
            "relative_cost": _ends(drawn[:, 1] / drawn[:, 3]),
            "difference": _ends(drawn[:, 0] - drawn[:, 2]),
        },
        "strong_accuracy": strong_accuracy,
        "mixture_accuracy": mixture_quality(singles, relative),
        "queries_for_two_points": math.ceil(_Z90**2 * float(differences.var()) / 0.02**2),
        "few_queries": len(runs) < FEW_QUERIES,
        "single_tiers": singles,
    }


def _evidence(
    runs: Runs, curves: Mapping[str, Curve], chosen: Chosen, strong: str, settings: Settings
) -> dict[str, Any]:
    correct, cost_usd = _columns(runs, curves, chosen)
    found = evidence_of(runs, correct, cost_usd, strong, settings)
    return {
        **found,
        "family": chosen.family,
        "target": settings.target,
        "margin": settings.margin,
        "reaches_target": found["accuracy"] >= settings.target * found["strong_accuracy"] - 0.005,
        "families": {name: _summary(runs, curve, strong) for name, curve in curves.items()},
        "frontier": [point._asdict() for point in _frontier(runs, curves, strong)],
        "router": _router_facts(runs, curves, chosen, strong),
    }


def _router_facts(
    runs: Runs, curves: Mapping[str, Curve], chosen: Chosen, strong: str
) -> dict[str, bool] | None:
    """What came of the learned router. None: none was tried, as no prompts were given."""
    if ROUTED not in curves:
        return None
    return {"improves": improves(runs, curves, strong), "used": chosen.family == ROUTED}


def _columns(runs: Runs, curves: Mapping[str, Curve], chosen: Chosen) -> tuple[Floats, Floats]:
    """How right each query was, out of fold, and what it cost."""
    if chosen.tier:
        column = runs.column(chosen.tier)
        return runs.correct[:, column], runs.cost_usd[:, column]
    curve = curves[chosen.family]
    return curve.correct[:, chosen.price], curve.cost_usd[:, chosen.price]


def _ends(values: Floats) -> list[float]:
    return [float(end) for end in np.quantile(values, _ENDS)]


def _summary(runs: Runs, curve: Curve, strong: str) -> dict[str, Any]:
    """AUC and costs at shares of the strong tier's accuracy, cross-validated."""
    cheapest_point, strong_point, points = _points(runs, [curve], strong)
    whole = hull([cheapest_point, strong_point, *points])
    return {
        "auc": auc(points, cheapest_point, strong_point),
        "cost_at": {str(s): cost_at(whole, s * strong_point.quality) for s in SHARES},
    }


def _frontier(runs: Runs, curves: Mapping[str, Curve], strong: str) -> list[Point]:
    cheapest_point, strong_point, points = _points(runs, list(curves.values()), strong)
    return hull([cheapest_point, strong_point, *points])


def _points(runs: Runs, curves: Sequence[Curve], strong: str) -> tuple[Point, Point, list[Point]]:
    """The cheapest tier, the strong one, and the curves' policies."""
    w = runs.weights / runs.weights.sum()
    unit = float(w @ runs.cost_usd[:, runs.column(strong)])
    tiers = [
        Point(float(w @ runs.cost_usd[:, i]) / unit, float(w @ runs.correct[:, i]))
        for i in range(len(runs.tiers))
    ]
    points = [
        Point(float(c) / unit, float(q))
        for curve in curves
        for c, q in zip(w @ curve.cost_usd, w @ curve.correct, strict=True)
    ]
    return min(tiers), tiers[runs.column(strong)], points
