"""Paired binary outcomes: is the candidate at most `eps` worse than the baseline?

Tango, "Equivalence test and confidence interval for the difference in proportions for the
paired-sample design", Statistics in Medicine 17 (1998) 891-908.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cascade.evals.statistics.arrays import Labels, column, margin, share
from cascade.evals.statistics.clusters import cluster_count, effective_size, weighted_mean
from cascade.evals.statistics.distributions import (
    normal_quantile,
    normal_upper,
    t_quantile,
    t_upper,
)
from cascade.evals.statistics.results import NonInferiority


@dataclass(frozen=True, slots=True)
class Pairs:
    """Counts of paired outcomes; fractional where they are effective counts of clustered data."""

    n: float  # pairs
    b: float  # the candidate right, the baseline wrong
    c: float  # the candidate wrong, the baseline right

    def __post_init__(self) -> None:
        if self.n <= 0 or min(self.b, self.c) < 0 or self.b + self.c > self.n * (1 + 1e-9):
            raise ValueError(f"{self.n:g} pairs cannot hold {self.b:g} gains and {self.c:g} losses")

    @property
    def difference(self) -> float:
        """The candidate's share of right answers less the baseline's, in -1..1."""
        return (self.b - self.c) / self.n


def pairs_of(
    differences: ArrayLike, clusters: Labels | None = None, weights: ArrayLike | None = None
) -> Pairs:
    """The counts of per-query differences -1, 0, 1.

    With clusters or weights they are effective counts: the shares of gains and losses (weighted)
    times the number of independent queries that would be as informative (Rao and Scott,
    Biometrics 48 (1992) 577-585; design effect of the mean difference). Raises ValueError for any
    other value: a graded outcome needs a betting bound.
    """
    d = column(differences, "differences")
    if (d != np.sign(d)).any():
        raise ValueError(
            "paired counts need outcomes that are right or wrong, so differences of -1, 0 or 1; "
            'test graded outcomes by "betting"'
        )
    n = effective_size(d, clusters, weights)
    gains = weighted_mean((d > 0).astype(np.float64), weights)
    losses = weighted_mean((d < 0).astype(np.float64), weights)
    return Pairs(n, gains * n, losses * n)


def tango_z(pairs: Pairs, difference: float) -> float:
    """Tango's score statistic for the null hypothesis that the true difference is `difference`.

    z = (b - c - n D) / sqrt(n (2 q + D (1 - D))), q the most likely share of losses under the null
    hypothesis. Zero where nothing was observed against it; infinite where it is impossible.
    """
    n, b, c = pairs.n, pairs.b, pairs.c
    numerator = b - c - n * difference
    variance = n * (2 * _null_losses(pairs, difference) + difference * (1 - difference))
    if variance <= 1e-12 * n:
        return 0.0 if abs(numerator) <= 1e-9 * n else math.copysign(math.inf, numerator)
    return numerator / math.sqrt(variance)


def _null_losses(pairs: Pairs, d: float) -> float:
    """The larger root of A q^2 + B q + C = 0, without cancellation."""
    n, b, c = pairs.n, pairs.b, pairs.c
    a_, b_, c_ = 2 * n, -b - c + (2 * n - b + c) * d, -c * d * (1 - d)
    root = math.sqrt(max(b_ * b_ - 4 * a_ * c_, 0.0))
    if b_ <= 0:
        return (root - b_) / (2 * a_)
    return -2 * c_ / (root + b_)


def tango_interval(pairs: Pairs, confidence: float = 0.95) -> tuple[float, float]:
    """Tango's two-sided score interval for the difference: every D with |z(D)| within the quantile.

    A one-sided bound at confidence 1 - alpha is an end of the interval at 1 - 2 alpha.
    """
    z = normal_quantile(0.5 + share(confidence, "confidence") / 2)
    return score_bounds(pairs, z)


def score_bounds(pairs: Pairs, z: float) -> tuple[float, float]:
    """The differences at which the score statistic is +z and -z (z > 0)."""
    low = _crossing(lambda d: tango_z(pairs, d) > z, -1.0, pairs.difference)
    high = _crossing(lambda d: tango_z(pairs, d) >= -z, pairs.difference, 1.0)
    return low, high


def tango_p_value(pairs: Pairs, eps: float, clusters: Labels | None = None) -> tuple[float, float]:
    """The score statistic for a difference of -eps, and the p-value of one so high.

    P(Z >= z), Z normal; with clusters, t with one degree of freedom less than there are. Where no
    pair differs it is at least (1 - eps)^n, the exact chance that none does where the candidate
    loses on a share eps: the score test is too sure there, and takes 81 such pairs for proof of 2
    points at 0.1, though a fifth of such proofs would be false.
    """
    z = tango_z(pairs, -eps)
    p = normal_upper(z) if clusters is None else t_upper(z, _degrees(clusters))
    if _is_even(pairs):
        p = max(p, (1 - eps) ** pairs.n)
    return z, p


def _is_even(pairs: Pairs) -> bool:
    """Whether no pair differs."""
    return pairs.b == pairs.c == 0


def _degrees(clusters: Labels) -> int:
    return max(cluster_count(clusters) - 1, 1)


def _crossing(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where `holds` turns from true to false between `low` and `high`, by bisection."""
    if not holds(low):
        return low
    if holds(high):
        return high
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return (low + high) / 2


def tango(
    differences: ArrayLike,
    eps: float,
    alpha: float,
    clusters: Labels | None = None,
    weights: ArrayLike | None = None,
) -> NonInferiority:
    """Tests H0: the candidate is at least `eps` worse, on differences -1, 0, 1 (`pairs_of`).

    With clusters the reference distribution is Student's t with one degree of freedom less than
    there are clusters; where no pair differs the exact binomial one has to agree
    (`tango_p_value`). `eps` 0 tests superiority.
    """
    pairs = pairs_of(differences, clusters, weights)
    z, p_value = tango_p_value(pairs, margin(eps), clusters)
    level = 1 - share(alpha, "alpha")
    quantile = normal_quantile(level) if clusters is None else t_quantile(level, _degrees(clusters))
    lower = score_bounds(pairs, quantile)[0]
    if _is_even(pairs):
        lower = min(lower, alpha ** (1 / pairs.n) - 1)
    return NonInferiority(
        method="tango",
        n=pairs.n,
        difference=pairs.difference,
        lower=lower,
        statistic=z,
        p_value=p_value,
        eps=eps,
        alpha=alpha,
    )
