"""Thresholds that are proven: the cheapest policy that is at most `eps` worse than the strongest.

The policies are ordered from the strictest to the loosest before any label is looked at, tested in
that order at the full level `delta`, and the first failure ends it. With probability 1 - delta
every policy that passed is less than `eps` worse than the strongest tier (`fixed_sequence`), so
the cheapest of them may be taken. A finer order costs no confidence: many thresholds are better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from cascade.evals.statistics.arrays import (
    Floats,
    Labels,
    cluster_codes,
    column,
    margin,
    share,
    weights_like,
)
from cascade.evals.statistics.betting import betting, betting_capital
from cascade.evals.statistics.clusters import cluster_count, effective_size, weighted_mean
from cascade.evals.statistics.paired import pairs_of, tango, tango_p_value
from cascade.evals.statistics.proportions import harm
from cascade.evals.statistics.results import NonInferiority
from cascade.evals.statistics.sizes import queries_needed

Method: TypeAlias = Literal["tango", "betting", "harm"]
THRESHOLDS = 200  # of one pair of tiers: with more of them the cost hardly falls


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy as the tuning set saw it."""

    differences: Floats  # per query: correct with the policy less correct with the strongest tier
    cost_usd: float  # its mean cost a query
    name: str = ""  # what to call it, such as its threshold


@dataclass(frozen=True, slots=True)
class Step:
    """The test of one policy on the way."""

    index: int  # of the candidate
    name: str
    cost_usd: float
    n: float  # queries, or the independent ones that clusters and weights leave
    b: float  # of those: the policy better than the strongest tier
    c: float  # the policy worse
    difference: float  # the mean of the candidate's differences
    statistic: float  # z, the number of losses, or the highest capital, by the method
    p_value: float
    passed: bool  # shown to be less than `eps` worse


@dataclass(frozen=True, slots=True)
class Certificate:
    """Which policy was certified, and the way there."""

    method: Method
    eps: float
    delta: float
    queries: int  # labelled queries
    clusters: int | None  # None: the queries are independent
    steps: tuple[Step, ...]  # those tested; all but the last passed
    chosen: Step | None  # the cheapest that passed; None: none is certified, use the strongest
    lower: float | None  # its lower bound of the true difference, at 1 - delta; None without one

    @property
    def failed(self) -> Step | None:
        """The policy at which the way ended; None if every one passed."""
        return None if self.steps[-1].passed else self.steps[-1]

    def queries_needed(self, power: float = 0.8) -> int | None:
        """About how many labelled queries would pass the policy at which the way ended.

        In all, not in addition, and if its true difference is the one measured; by the normal
        approximation, so rather few for "betting". None: no number would do, or none failed.
        """
        step = self.failed
        if step is None:
            return None
        gains = 0.0 if self.method == "harm" else step.b / step.n
        losses = step.c / step.n
        needed = queries_needed(
            gains + losses, self.eps, self.delta, power=power, difference=gains - losses
        )
        if needed is None:
            return None
        return max(round(needed * self.queries / step.n), self.queries + 1)

    def __str__(self) -> str:
        """The certificate as a sentence."""
        promise = f"at most {self.eps:.3g} worse than the strongest tier"
        basis = f"{_METHODS[self.method].title} on {self.queries} queries"
        if self.clusters is not None:
            basis += f" in {self.clusters} clusters"
        if self.chosen is None or self.lower is None:
            return f"No policy is certified {promise} with confidence {1 - self.delta:g}: {basis}."
        step = self.chosen
        return (
            f"Certified {promise} with confidence {1 - self.delta:g}: "
            f"{step.name or f'policy {step.index}'}, by {basis} "
            f"({step.b:.4g} better, {step.c:.4g} worse, lower bound {self.lower:+.4f})."
        )


def certify(
    candidates: Iterable[Candidate],
    eps: float,
    delta: float,
    method: Method = "tango",
    clusters: Labels | None = None,
    *,
    weights: ArrayLike | None = None,
    strong_cost_usd: float | None = None,
) -> Certificate:
    """The cheapest candidate shown to be less than `eps` worse than the strongest tier.

    Args:
        candidates: from the strictest to the loosest, in an order fixed without these labels.
            Taken as they are tested, so they may be generated.
        eps: the margin in accuracy, such as 0.02.
        delta: the chance that a certified policy is worse than that.
        method: "tango" (asymptotic; right or wrong answers), "betting" (holds at any n, for graded
            answers too) or "harm" (exact; counts losses only). There is no t test: of a cheap tier
            that is worthless once in a while it is sure too soon.
        clusters: of the queries, where some belong together. Every method then counts clusters.
        weights: of the queries, above 0.
        strong_cost_usd: the strongest tier's mean cost a query: a candidate that is not cheaper
            is not chosen. None: the cheapest is chosen whatever the strongest tier costs.

    Raises ValueError for no candidate, an unknown method or values the method cannot take.
    """
    if method not in _METHODS:
        raise ValueError(f"no method {method!r}: choose from {', '.join(_METHODS)}")
    remaining, how = enumerate(candidates), _METHODS[method]
    block = list(islice(remaining, how.block))
    if not block:
        raise ValueError("nothing to certify: there is no candidate")
    test = _test(block[0][1].differences.size, eps, delta, clusters, weights)
    steps: list[Step] = []
    best: tuple[Candidate, Step] | None = None
    while block:
        for step, candidate in _tested(block, how, test):
            steps.append(step)
            price = strong_cost_usd if best is None else best[1].cost_usd
            if step.passed and (price is None or step.cost_usd < price):
                best = candidate, step
        block = list(islice(remaining, how.block)) if steps[-1].passed else []
    return Certificate(
        method=method,
        eps=eps,
        delta=delta,
        queries=test.queries,
        clusters=None if clusters is None else cluster_count(clusters),
        steps=tuple(steps),
        chosen=best and best[1],
        lower=best and _once(how.function, best[0].differences, test).lower,
    )


class _Test(NamedTuple):
    """What the tests of one certificate have in common."""

    queries: int
    eps: float
    delta: float
    clusters: Labels | None
    weights: Floats | None


class _Method(NamedTuple):
    title: str
    function: Callable[..., NonInferiority]
    evidence: Callable[[list[Floats], _Test], Iterator[tuple[float, float]]]  # statistic, p-value
    block: int = 1  # policies tested together


def _test(
    n: int, eps: float, delta: float, clusters: Labels | None, weights: ArrayLike | None
) -> _Test:
    """Everything checked once, the clusters as numbers."""
    codes = None if clusters is None else cluster_codes(clusters, n)
    checked = None if weights is None else weights_like(np.ones(n), weights)
    return _Test(n, margin(eps), share(delta, "delta"), codes, checked)


def _tested(
    block: list[tuple[int, Candidate]], method: _Method, test: _Test
) -> Iterator[tuple[Step, Candidate]]:
    """The block's candidates with their tests, up to and with the first failure."""
    columns = [column(candidate.differences, "differences") for _, candidate in block]
    if any(d.size != test.queries for d in columns):
        raise ValueError(f"every candidate needs the same {test.queries} queries")
    for (index, candidate), d, (statistic, p_value) in zip(
        block, columns, method.evidence(columns, test), strict=True
    ):
        n = effective_size(d, test.clusters, test.weights)
        step = Step(
            index=index,
            name=candidate.name,
            cost_usd=candidate.cost_usd,
            n=n,
            b=n * weighted_mean((d > 0).astype(np.float64), test.weights),
            c=n * weighted_mean((d < 0).astype(np.float64), test.weights),
            difference=weighted_mean(d, test.weights),
            statistic=statistic,
            p_value=p_value,
            passed=p_value <= test.delta,
        )
        yield step, candidate
        if not step.passed:
            return


def _once(function: Callable[..., NonInferiority], d: Floats, test: _Test) -> NonInferiority:
    return function(d, test.eps, test.delta, test.clusters, test.weights)


def _tango(columns: list[Floats], test: _Test) -> Iterator[tuple[float, float]]:
    """Tango's test without its interval, which takes ten times as long."""
    for d in columns:
        yield tango_p_value(pairs_of(d, test.clusters, test.weights), test.eps, test.clusters)


def _betting(columns: list[Floats], test: _Test) -> Iterator[tuple[float, float]]:
    """All policies of a block bet on at once."""
    table = np.stack(columns, axis=1)
    for capital in betting_capital(
        table, test.eps, test.delta, test.clusters, test.weights
    ).tolist():
        yield capital, 1 / capital


def _harm(columns: list[Floats], test: _Test) -> Iterator[tuple[float, float]]:
    for d in columns:
        result = _once(harm, d, test)
        yield result.statistic, result.p_value


_METHODS: dict[str, _Method] = {
    "tango": _Method("Tango's paired score test", tango, _tango),
    # One pass over the queries bets on many policies in hardly more time than on one.
    "betting": _Method("the finite-sample betting bound", betting, _betting, 32),
    "harm": _Method("the exact harm-only test", harm, _harm),
}


def thresholds_of(scores: ArrayLike, count: int = THRESHOLDS) -> Floats:
    """At most `count` thresholds on a score, strictest first: its quantiles, no label involved.

    Scores that are not finite numbers (no signal) accept nothing. Empty if there is none else.
    """
    array = np.asarray(scores, np.float64)
    ranked = np.sort(array[np.isfinite(array)])[::-1]
    ranks = np.arange(1, count + 1) * ranked.size // count - 1
    return np.unique(ranked[ranks[ranks >= 0]])[::-1]


def threshold_candidates(
    scores: ArrayLike,
    cheap: ArrayLike,
    strong: ArrayLike,
    cheap_cost_usd: ArrayLike,
    strong_cost_usd: ArrayLike,
    thresholds: ArrayLike,
) -> Iterator[Candidate]:
    """For each threshold the policy that keeps the cheap tier's answer from that score on.

    Args:
        scores: of the cheap tier's answers; NaN where it has none, which escalates.
        cheap, strong: how correct each tier's answer is, 0..1, one a query.
        cheap_cost_usd, strong_cost_usd: one a query, or one for all; an escalated query costs both.
        thresholds: from the strictest to the loosest, such as `thresholds_of`.
    """
    score = np.asarray(scores, np.float64)
    difference = column(cheap, "cheap") - column(strong, "strong")
    cheap_usd = np.broadcast_to(np.asarray(cheap_cost_usd, np.float64), score.shape)
    strong_usd = np.broadcast_to(np.asarray(strong_cost_usd, np.float64), score.shape)
    for threshold in np.asarray(thresholds, np.float64).tolist():
        accepted = score >= threshold
        cost = cheap_usd.mean() + np.where(accepted, 0.0, strong_usd).mean()
        yield Candidate(
            np.where(accepted, difference, 0.0), float(cost), f"score >= {threshold:.6g}"
        )
