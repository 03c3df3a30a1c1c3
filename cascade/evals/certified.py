"""Tune a policy that is proven: not worse than the strong tier by more than a margin.

Policies are tried from the strictest to the loosest, in an order that the labels of the test have
no part in. One pair of tiers with one signal needs no fitting: its thresholds are quantiles of the
signal, and every query counts in the test. Anything else is fitted on one half of the queries and
certified on the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cascade.errors import ConfigError
from cascade.evals.answers import folds_of
from cascade.evals.certificates import Candidate, Certificate, Method, certify, thresholds_of
from cascade.evals.explicit import ladder_policy
from cascade.evals.families import Ladder, cross_validated, families, price_grid, useful_tiers
from cascade.evals.replay import replay, single
from cascade.evals.runs import Runs
from cascade.evals.tune import MIN_QUERIES, SINGLE, Settings, alone, cheapest, evidence_of
from cascade.policy import Policy

__all__ = ["Promise", "certified"]


@dataclass(frozen=True, slots=True)
class Promise:
    """What is to be proven.

    Attributes:
        eps: how much worse than the strong tier the policy may be, in accuracy.
        delta: the chance that a certified policy is worse than that.
        strict: by a bound that holds at any number of queries.
    """

    eps: float
    delta: float
    strict: bool = False


def certified(runs: Runs, strong: str, settings: Settings, promise: Promise) -> Policy:
    """The cheapest policy that passes; the strong tier alone where none does.

    Raises:
        ConfigError: there are too few queries, or no tier of that name.
    """
    if strong not in runs.tiers:
        raise ConfigError(f"the strong tier {strong!r} is none of {', '.join(runs.tiers)}")
    if len(runs) < 2 * MIN_QUERIES:
        raise ConfigError(
            f"{len(runs)} queries are too few to prove anything: record "
            f"{2 * MIN_QUERIES - len(runs)} more at the least"
        )
    if len(runs.tiers) == 2 and len(runs.signals) == 1:
        policies, test = list(_pair(runs, strong)), runs
    else:
        policies, test = _fitted_on_half(runs, strong, settings, promise)
    certificate = certify(
        _candidates(policies, test, strong),
        promise.eps,
        promise.delta,
        _method(test, promise),
        None if test.clusters is None else list(test.clusters),
        weights=test.weights,
        strong_cost_usd=_mean(test, test.cost_usd[:, test.column(strong)]),
    )
    step = certificate.chosen
    policy = alone(policies[0], strong) if step is None else policies[step.index]
    outcomes = single(test, strong) if step is None else replay(policy, test)
    evidence = evidence_of(test, outcomes.correct, outcomes.cost_usd, strong, settings)
    return replace(policy, evidence={**evidence, "certificate": _facts(certificate)})


def _pair(runs: Runs, strong: str) -> Iterator[Policy]:
    """The cheap tier's signal against each quantile of it, the strictest first."""
    cheap = next(tier for tier in runs.tiers if tier != strong)
    signal = next(iter(runs.signals))
    for threshold in thresholds_of(runs.signals[signal][:, runs.column(cheap)]).tolist():
        yield ladder_policy(runs, (cheap, strong), {cheap: (signal, threshold)})


def _fitted_on_half(
    runs: Runs, strong: str, settings: Settings, promise: Promise
) -> tuple[list[Policy], Runs]:
    """Policies of one family for all prices, the lowest first, and the queries they did not see."""
    half = folds_of(runs, 2, settings.seed)
    train, test = (runs.take(np.flatnonzero(half == side)) for side in (0, 1))
    unit = _mean(train, train.cost_usd[:, train.column(strong)])
    ladder = Ladder(useful_tiers(train, strong), strong, settings.max_asks)
    prices = price_grid(unit)
    folds = settings.folds_for(len(train))
    curves = cross_validated(train, ladder, prices, folds, settings.seed)
    best = _mean(train, train.correct[:, train.column(strong)])
    wanted = replace(settings, target=1 - promise.eps / best if best else 1.0)
    family = cheapest(train, curves, strong, wanted).family
    fitted = families(train, ladder, prices, folds_of(train, folds, settings.seed + 1))
    chosen = fitted[family if family != SINGLE else next(iter(fitted))]
    return [chosen.policy(i) for i in reversed(range(len(prices)))], test


def _candidates(policies: Sequence[Policy], test: Runs, strong: str) -> Iterator[Candidate]:
    reference = test.correct[:, test.column(strong)]
    for i, policy in enumerate(policies, 1):
        outcomes = replay(policy, test)
        cost = _mean(test, outcomes.cost_usd)
        yield Candidate(outcomes.correct - reference, cost, f"policy {i} of {len(policies)}")


def _method(test: Runs, promise: Promise) -> Method:
    if promise.strict:
        return "betting"
    return "tango" if np.isin(test.correct, (0.0, 1.0)).all() else "t"


def _mean(runs: Runs, values: Any) -> float:
    return float(np.average(values, weights=runs.weights))


def _facts(certificate: Certificate) -> dict[str, Any]:
    """The certificate as plain values."""
    step = certificate.chosen
    return {
        "passed": step is not None,
        "text": str(certificate),
        "method": certificate.method,
        "eps": certificate.eps,
        "delta": certificate.delta,
        "n": certificate.queries,
        "tested": len(certificate.steps),
        "lower": certificate.lower,
        "better": None if step is None else step.b,
        "worse": None if step is None else step.c,
        "queries_needed": certificate.queries_needed(),
    }
