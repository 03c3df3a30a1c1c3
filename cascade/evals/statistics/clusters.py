"""Queries that are not independent, or not equally important, and what they are worth.

Queries of one document, user or conversation share their luck. Counting them as independent makes
intervals too short; the design effect says by how much (Kish 1965; Rao and Scott 1992).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cascade.evals.statistics.arrays import Floats, Labels, cluster_codes, weights_like


def cluster_count(clusters: Labels) -> int:
    """How many clusters there are."""
    return int(cluster_codes(clusters, len(clusters)).max()) + 1


def weighted_mean(values: Floats, weights: ArrayLike | None = None) -> float:
    """The mean of the values, each counted by its weight."""
    if weights is None:
        return float(values.mean())
    w = weights_like(values, weights)
    return float((w * values).sum() / w.sum())


def robust_variance(
    values: Floats, clusters: Labels | None = None, weights: ArrayLike | None = None
) -> float:
    """The variance of the weighted mean, from the spread of the clusters' totals.

    The sandwich estimate with the factor G/(G - 1) for G clusters (Liang and Zeger 1986; the CR1
    correction). Infinite for a single cluster: nothing shows how clusters differ.
    """
    w = weights_like(values, weights)
    codes = cluster_codes(clusters, values.size)
    count = int(codes.max()) + 1
    if count < 2:
        return float("inf")
    totals = np.bincount(codes, w * (values - weighted_mean(values, w)), count)
    return float((totals**2).sum() / w.sum() ** 2 * count / (count - 1))


def effective_size(
    values: Floats, clusters: Labels | None = None, weights: ArrayLike | None = None
) -> float:
    """How many independent, equally weighted queries would fix the mean as well as these do.

    Never more than there are queries. Where all values are equal nothing can be estimated, and
    each cluster counts as one query.
    """
    n = values.size
    if clusters is None and weights is None:
        return float(n)
    w = weights_like(values, weights)
    codes = cluster_codes(clusters, n)
    spread = float((w * (values - weighted_mean(values, w)) ** 2).sum() / w.sum())
    if spread <= 0 or n < 2:
        sums = np.bincount(codes, w)
        return float(sums.sum() ** 2 / (sums @ sums))
    variance = robust_variance(values, clusters, weights)
    if variance <= 0:
        return float(n)
    return float(np.clip(spread * n / (n - 1) / variance, 1.0, n))
