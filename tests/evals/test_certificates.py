"""Certificates: the way through the candidates, what is chosen, and that the promise holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest

from cascade.evals.certificates import (
    THRESHOLDS,
    Candidate,
    Certificate,
    Method,
    certify,
    threshold_candidates,
    thresholds_of,
)
from cascade.evals.statistics import NonInferiority, betting, harm, tango

METHODS: tuple[Method, ...] = get_args(Method)


def candidate(gains: int, losses: int, cost_usd: float, n: int = 1000, name: str = "") -> Candidate:
    d = np.zeros(n)
    d[:gains] = 1
    d[gains : gains + losses] = -1
    return Candidate(np.random.default_rng(losses).permutation(d), cost_usd, name)


LADDER = [
    candidate(0, 0, 0.9),
    candidate(4, 6, 0.6),
    candidate(10, 13, 0.5, name="score >= 0.7"),
    candidate(20, 60, 0.3),
    candidate(60, 60, 0.1),
]


def test_it_takes_the_cheapest_of_those_before_the_first_failure() -> None:
    certificate = certify(LADDER, eps=0.02, delta=0.1)
    assert [step.passed for step in certificate.steps] == [True, True, True, False]
    assert certificate.chosen is certificate.steps[2]
    assert certificate.failed is certificate.steps[3]
    assert (certificate.queries, certificate.clusters) == (1000, None)
    step = certificate.steps[2]
    assert (step.index, step.n, step.b, step.c) == (2, 1000, 10, 13)
    assert step.difference == pytest.approx(-0.003)
    expected = tango(LADDER[2].differences, 0.02, 0.1)
    assert (step.statistic, step.p_value) == (expected.statistic, expected.p_value)
    assert certificate.lower == expected.lower


def test_the_sentence() -> None:
    assert str(certify(LADDER, eps=0.02, delta=0.1)) == (
        "Certified at most 0.02 worse than the strongest tier with confidence 0.9: "
        "score >= 0.7, by Tango's paired score test on 1000 queries "
        "(10 better, 13 worse, lower bound -0.0094)."
    )
    refused = certify(LADDER[3:], 0.02, 0.1, "harm", clusters=np.repeat(np.arange(500), 2))
    assert str(refused) == (
        "No policy is certified at most 0.02 worse than the strongest tier with confidence 0.9: "
        "the exact harm-only test on 1000 queries in 500 clusters."
    )


def test_all_may_pass() -> None:
    certificate = certify(LADDER[:3], eps=0.02, delta=0.1)
    assert certificate.failed is None
    assert certificate.queries_needed() is None
    assert certificate.chosen is certificate.steps[-1]


def test_none_may_pass() -> None:
    certificate = certify(LADDER[3:], eps=0.02, delta=0.1)
    assert (certificate.chosen, certificate.lower) == (None, None)
    assert len(certificate.steps) == 1


def test_a_policy_that_costs_more_than_the_strongest_tier_is_not_chosen() -> None:
    def chosen(strong_cost_usd: float | None) -> int | None:
        step = certify(LADDER, 0.02, 0.1, strong_cost_usd=strong_cost_usd).chosen
        return None if step is None else step.index

    assert chosen(None) == 2
    assert chosen(0.55) == 2
    assert chosen(0.5) is None
    dear = [candidate(0, 0, 0.2), candidate(1, 1, 0.4)]
    step = certify(dear, 0.02, 0.1).chosen
    assert step is not None
    assert step.index == 0


def test_candidates_are_made_as_they_are_tested() -> None:
    made: list[int] = []

    def generated() -> Iterator[Candidate]:
        for losses in range(1000):
            made.append(losses)
            yield candidate(0, losses, 1.0)

    certificate = certify(generated(), 0.02, 0.1)
    assert 5 < len(certificate.steps) < 20
    assert len(made) == len(certificate.steps)


@pytest.mark.parametrize("method", ["tango", "betting"])
def test_the_way_goes_on_over_many_blocks(method: Method) -> None:
    policies = (candidate(0, 1, 1 - i / 100) for i in range(100))
    certificate = certify(policies, 0.02, 0.1, method)
    assert len(certificate.steps) == 100
    assert certificate.chosen is certificate.steps[-1]


def test_how_many_queries_would_settle_it() -> None:
    certificate = certify([candidate(30, 45, 0.5)], 0.02, 0.1)
    needed = certificate.queries_needed()
    assert needed is not None
    rate = needed / 1000
    more = certify([candidate(round(30 * rate), round(45 * rate), 0.5, needed)], 0.02, 0.1)
    assert more.failed is None
    assert certify([candidate(30, 52, 0.5)], 0.02, 0.1).queries_needed() is None
    assert certify([candidate(100, 15, 0.5)], 0.02, 0.1, "harm").queries_needed() == pytest.approx(
        2700, rel=0.1
    )


@pytest.mark.parametrize(
    ("method", "function"),
    [("tango", tango), ("betting", betting), ("harm", harm)],
)
@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_each_step_is_the_test_of_that_name(
    method: Method, function: object, clustered: bool, weighted: bool
) -> None:
    assert callable(function)
    clusters = [f"document {i // 3}" for i in range(1000)] if clustered else None
    weights = np.linspace(1, 3, 1000) if weighted else None
    certificate = certify(LADDER[:3], 0.03, 0.1, method, clusters, weights=weights)
    assert certificate.clusters == (334 if clustered else None)
    for step, policy in zip(certificate.steps, LADDER, strict=False):
        result = function(policy.differences, 0.03, 0.1, clusters, weights)
        assert isinstance(result, NonInferiority)
        assert step.p_value == pytest.approx(result.p_value)
        assert step.passed == result.passed
        assert step.difference == pytest.approx(
            float(np.average(policy.differences, weights=weights))
        )
    assert certificate.chosen is not None
    assert certificate.lower is not None
    assert -0.031 < certificate.lower < certificate.chosen.difference


def test_graded_answers() -> None:
    d = np.random.default_rng(1).uniform(-0.1, 0.1, 1000)
    graded = [Candidate(d, 0.1)]
    for method in METHODS[1:]:
        chosen = certify(graded, 0.05, 0.1, method).chosen
        assert (chosen is not None) == (method == "betting")  # harm counts every loss in full
    with pytest.raises(ValueError, match='graded outcomes by "betting"'):
        certify(graded, 0.02, 0.1, "tango")


def test_what_cannot_be_certified_is_refused() -> None:
    with pytest.raises(ValueError, match="no candidate"):
        certify([], 0.02, 0.1)
    with pytest.raises(ValueError, match=r"choose from tango, betting, harm$"):
        certify(LADDER, 0.02, 0.1, "wald")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the same 1000 queries"):
        certify([LADDER[0], candidate(0, 0, 1.0, n=10)], 0.02, 0.1)
    with pytest.raises(ValueError, match="delta must lie"):
        certify(LADDER, 0.02, 1.0)
    with pytest.raises(ValueError, match="eps is a share"):
        certify(LADDER, 2, 0.1)


def test_thresholds_are_quantiles_of_the_scores_strictest_first() -> None:
    assert thresholds_of(range(100), 4).tolist() == [75, 50, 25, 0]
    assert thresholds_of([0.1, 0.9, 0.5], 10).tolist() == [0.9, 0.5, 0.1]
    assert thresholds_of([0.5] * 80 + [0.9] * 20, 10).tolist() == [0.9, 0.5]
    assert thresholds_of([np.nan, 0.5, -np.inf], 10).tolist() == [0.5]
    assert thresholds_of([np.nan], 10).size == 0
    assert thresholds_of(np.random.default_rng(2).random(5000)).size == THRESHOLDS


def test_the_policies_of_a_threshold() -> None:
    policies = list(
        threshold_candidates(
            scores=[0.9, 0.5, np.nan, 0.1],
            cheap=[1, 0, 1, 0],
            strong=[0, 1, 0, 1],
            cheap_cost_usd=0.1,
            strong_cost_usd=[1, 2, 3, 4],
            thresholds=[0.9, 0.5, 0.1],
        )
    )
    assert [policy.differences.tolist() for policy in policies] == [
        [1, 0, 0, 0],
        [1, -1, 0, 0],
        [1, -1, 0, -1],
    ]
    assert [policy.cost_usd for policy in policies] == pytest.approx(
        [0.1 + 9 / 4, 0.1 + 7 / 4, 0.1 + 3 / 4]
    )
    assert policies[1].name == "score >= 0.5"


class Pair:
    """A cheap and a strong tier of which the true difference at each threshold is known.

    The score s is uniform; the cheap tier loses on a query with chance (1 - s)^2 / 4 and gains with
    chance 0.02, so that the mean difference of the policy at t is 0.02 (1 - t) - (1 - t)^3 / 12.
    """

    def __init__(self, rng: np.random.Generator, n: int) -> None:
        self.scores = rng.random(n)
        u = rng.random(n)
        lost = u < (1 - self.scores) ** 2 / 4
        gained = u > 0.98
        self.cheap = np.where(lost, 0.0, 1.0)
        self.strong = np.where(gained, 0.0, 1.0)

    @staticmethod
    def truth(t: float) -> float:
        return 0.02 * (1 - t) - (1 - t) ** 3 / 12

    def certificate(self, method: Method) -> tuple[Certificate, float | None]:
        thresholds = thresholds_of(self.scores)
        policies = threshold_candidates(self.scores, self.cheap, self.strong, 0.1, 1.0, thresholds)
        certificate = certify(policies, 0.02, 0.1, method, strong_cost_usd=1.0)
        step = certificate.chosen
        return certificate, None if step is None else float(thresholds[step.index])


@pytest.mark.parametrize(("method", "runs", "most"), [("tango", 200, 0.42), ("betting", 20, 0.45)])
def test_the_promise_holds_and_the_price_is_small(method: Method, runs: int, most: float) -> None:
    rng = np.random.default_rng(51)
    found = [Pair(rng, 1000).certificate(method)[1] for _ in range(runs)]
    broken = [t is not None and Pair.truth(t) <= -0.02 for t in found]
    assert np.mean(broken) <= 0.1 + 4 * np.sqrt(0.09 / runs)
    # The cheapest policy within the margin escalates a quarter of the queries.
    escalated = np.mean([1.0 if t is None else t for t in found])
    assert 0.25 < escalated < most
