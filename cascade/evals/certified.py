"""Tune a policy that is proven: not worse than the strong tier by more than a margin.

Policies are tried from the strictest to the loosest, in an order that the labels of the test have
no part in. One pair of tiers with one signal needs no fitting: its thresholds are quantiles of the
signal, and every query counts in the test. Anything else is fitted on one half of the queries and
certified on the other: policies by expected gain, which change little from one price to the next.
(Ladders of plain thresholds come in few steps, and a way of long strides ends far from the edge.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cascade.errors import ConfigError
from cascade.evals.answers import fit_answers, folds_of
from cascade.evals.certificates import Candidate, Certificate, Method, certify, thresholds_of
from cascade.evals.explicit import ladder_policy
from cascade.evals.families import price_grid, useful_tiers
from cascade.evals.induction import induced
from cascade.evals.replay import Known, replay, single
from cascade.evals.runs import Runs
from cascade.evals.tune import MIN_QUERIES, Settings, alone, check_runs, evidence_of
from cascade.learn.one_thread import one_thread
from cascade.policy import Policy

__all__ = ["Promise", "certified", "fitted_policies", "prove", "way"]


@dataclass(frozen=True, slots=True)
class Promise:
    """What is to be proven.

    Attributes:
        eps: how much worse than the strong tier the policy may be, in accuracy.
        delta: the chance that a certified policy is worse than that.
        strict: by a bound that holds at any number of queries, as it is for graded answers anyway.
        harm_only: exactly, by the queries that the policy answers worse alone; those that it
            answers better count nothing.
    """

    eps: float
    delta: float
    strict: bool = False
    harm_only: bool = False


def certified(runs: Runs, strong: str, settings: Settings, promise: Promise) -> Policy:
    """The cheapest policy that passes; the strong tier alone where none does.

    Raises:
        ConfigError: there are too few queries, or no tier of that name.
    """
    policies, test = way(runs, strong, settings)
    certificate = prove(policies, test, strong, promise)
    step = certificate.chosen
    policy = alone(policies[0], strong) if step is None else policies[step.index]
    outcomes = single(test, strong) if step is None else replay(policy, test)
    evidence = evidence_of(test, outcomes.correct, outcomes.cost_usd, strong, settings)
    return replace(policy, evidence={**evidence, "certificate": _facts(certificate)})


def way(runs: Runs, strong: str, settings: Settings) -> tuple[list[Policy], Runs]:
    """The policies to test, from the strictest to the loosest, and the queries to test them on.

    Raises:
        ConfigError: there are too few queries, no tier of that name, or nothing to save.
    """
    check_runs(runs, strong)
    if len(runs) < 2 * MIN_QUERIES:
        raise ConfigError(
            f"{len(runs)} queries are too few to prove anything: record "
            f"{2 * MIN_QUERIES - len(runs)} more at the least"
        )
    if len(runs.tiers) == 2 and len(runs.signals) == 1:
        return list(_pair(runs, strong)), runs
    half = folds_of(runs, 2, settings.seed)
    train, test = (runs.take(np.flatnonzero(half == side)) for side in (0, 1))
    return fitted_policies(train, strong, settings), test


def prove(policies: Sequence[Policy], test: Runs, strong: str, promise: Promise) -> Certificate:
    """Test policies in their order, on queries whose labels had no part in it."""
    return certify(
        _candidates(policies, test, strong),
        promise.eps,
        promise.delta,
        _method(test, promise),
        None if test.clusters is None else list(test.clusters),
        weights=test.weights,
        strong_cost_usd=_mean(test, test.cost_usd[:, test.column(strong)]),
    )


def _pair(runs: Runs, strong: str) -> Iterator[Policy]:
    """The cheap tier's signal against each quantile of it, the strictest first."""
    cheap = next(tier for tier in runs.tiers if tier != strong)
    signal = next(iter(runs.signals))
    thresholds = thresholds_of(runs.signals[signal][:, runs.column(cheap)])
    if not thresholds.size:
        raise ConfigError(
            f"the tier {cheap!r} has no score of the signal {signal!r} that is a finite number, so "
            'there is no threshold to prove; record it, or leave it out: --signals ""'
        )
    for threshold in thresholds.tolist():
        yield ladder_policy(runs, (cheap, strong), {cheap: (signal, threshold)})


def fitted_policies(runs: Runs, strong: str, settings: Settings) -> list[Policy]:
    """Policies by expected gain, from the strictest to the loosest."""
    folds = folds_of(runs, settings.folds_for(len(runs)), settings.seed + 1)
    tiers = useful_tiers(runs, strong)
    prices = price_grid(_mean(runs, runs.cost_usd[:, runs.column(strong)]))
    with one_thread():
        answered = fit_answers(runs, tiers, strong, settings.max_asks, folds)
        fitted = induced(answered, prices)
    return [fitted.policy(i) for i in reversed(range(len(fitted.prices)))]


def _candidates(policies: Sequence[Policy], test: Runs, strong: str) -> Iterator[Candidate]:
    reference = test.correct[:, test.column(strong)]
    known = Known()
    for i, policy in enumerate(policies, 1):
        outcomes = replay(policy, test, known=known)
        cost = _mean(test, outcomes.cost_usd)
        yield Candidate(outcomes.correct - reference, cost, f"policy {i} of {len(policies)}")


def _method(test: Runs, promise: Promise) -> Method:
    if promise.strict:
        return "betting"
    if promise.harm_only:
        return "harm"
    return "tango" if np.isin(test.correct, (0.0, 1.0)).all() else "betting"


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
