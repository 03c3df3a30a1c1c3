"""Intervals for a proportion, and the harm-only test.

Clopper and Pearson, Biometrika 26 (1934) 404-413; Wilson, JASA 22 (1927) 209-212.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from cascade.evals.statistics.arrays import Labels, column, share
from cascade.evals.statistics.clusters import effective_size, weighted_mean
from cascade.evals.statistics.distributions import beta_quantile, binomial_cdf, normal_quantile
from cascade.evals.statistics.results import NonInferiority


def clopper_pearson(k: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a proportion after `k` successes in `n` trials."""
    _check(k, n)
    tail = (1 - share(confidence, "confidence")) / 2
    return proportion_lower(k, n, tail), proportion_upper(k, n, tail)


def proportion_lower(k: float, n: float, alpha: float) -> float:
    """The exact one-sided lower bound: the p at which `k` or more successes have chance alpha."""
    return 0.0 if k <= 0 else beta_quantile(alpha, k, n - k + 1)


def proportion_upper(k: float, n: float, alpha: float) -> float:
    """The exact one-sided upper bound: the p at which `k` or fewer successes have chance alpha."""
    return 1.0 if k >= n else beta_quantile(1 - alpha, k + 1, n - k)


def wilson(k: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion: shorter than the exact one, right on average."""
    _check(k, n)
    z = normal_quantile(0.5 + share(confidence, "confidence") / 2)
    p, scale = k / n, 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if k <= 0 else max(0.0, centre - half)
    high = 1.0 if k >= n else min(1.0, centre + half)
    return low, high


def harm(
    differences: ArrayLike,
    eps: float,
    alpha: float,
    clusters: Labels | None = None,
    weights: ArrayLike | None = None,
) -> NonInferiority:
    """Tests H0: the share of queries the candidate answers worse is at least `eps`.

    The binomial test of Clopper and Pearson on the losses alone. Gains do not count, so a pass
    promises more than non-inferiority: at most `eps` of the queries are harmed, whatever others
    gain. Exact for independent queries; clusters and weights enter as effective counts.
    """
    worse = (column(differences, "differences") < 0).astype(np.float64)
    n = effective_size(worse, clusters, weights)
    losses = weighted_mean(worse, weights) * n
    return NonInferiority(
        method="harm",
        n=n,
        difference=-losses / n,
        lower=-proportion_upper(losses, n, share(alpha, "alpha")),
        statistic=losses,
        p_value=binomial_cdf(losses, n, share(eps, "eps")),
        eps=eps,
        alpha=alpha,
    )


def _check(k: float, n: float) -> None:
    if not 0 <= k <= n or n <= 0:
        raise ValueError(f"{n:g} trials cannot hold {k:g} successes")
