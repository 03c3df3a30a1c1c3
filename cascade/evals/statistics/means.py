"""Graded outcomes: is the candidate's mean at most `eps` below the baseline's?"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from cascade.evals.statistics.arrays import Labels, column, margin, share
from cascade.evals.statistics.bootstrap import bootstrap_means
from cascade.evals.statistics.clusters import (
    cluster_count,
    effective_size,
    robust_variance,
    weighted_mean,
)
from cascade.evals.statistics.distributions import t_quantile, t_upper
from cascade.evals.statistics.results import NonInferiority

_ROUNDING = 1e-9  # grades differ by more, where they differ


def mean_non_inferiority(
    differences: ArrayLike,
    eps: float,
    alpha: float,
    clusters: Labels | None = None,
    weights: ArrayLike | None = None,
) -> NonInferiority:
    """Tests H0: the mean difference is at most -eps, by Student's paired t test.

    Clusters and weights enter through the sandwich variance of the mean (`robust_variance`), with
    one degree of freedom less than there are clusters. It is asymptotic: of a candidate that loses
    much in few cases it passes too many, at alpha 0.1 twice as many with 200 cases. Differences
    without any spread decide nothing (p-value 1, no bound): they show nothing of the cases that are
    not there. Raises ValueError for fewer than two queries or clusters.
    """
    d = column(differences, "differences")
    groups = d.size if clusters is None else cluster_count(clusters)
    if groups < 2:
        raise ValueError("a t test needs at least two queries (two clusters): it has one")
    mean = weighted_mean(d, weights)
    error = math.sqrt(robust_variance(d, clusters, weights))
    distance = mean + margin(eps)
    has_spread = error > _ROUNDING
    t = distance / error if has_spread else 0.0
    lower = mean - t_quantile(1 - share(alpha, "alpha"), groups - 1) * error
    return NonInferiority(
        method="t",
        n=effective_size(d, clusters, weights),
        difference=mean,
        lower=lower if has_spread else -math.inf,
        statistic=t,
        p_value=t_upper(t, groups - 1) if has_spread else 1.0,
        eps=eps,
        alpha=alpha,
    )


def bootstrap_non_inferiority(
    differences: ArrayLike,
    eps: float,
    alpha: float,
    clusters: Labels | None = None,
    weights: ArrayLike | None = None,
    *,
    resamples: int = 4000,
    seed: int = 0,
) -> NonInferiority:
    """The same hypothesis by the cluster bootstrap.

    It knows of no loss that the sample does not hold, so it takes many queries or clusters, and
    differences without any spread decide nothing here either. The p-value is the share of resampled
    means at or below -eps, the resample that was observed counted in: (1 + k) / (1 + resamples);
    the bound is the percentile at alpha.
    """
    d = column(differences, "differences")
    means = bootstrap_means(d, clusters, weights, resamples=resamples, seed=seed)[:, 0]
    means.sort()
    below = int((means <= -margin(eps)).sum())
    has_spread = float(means[-1] - means[0]) > _ROUNDING
    return NonInferiority(
        method="bootstrap",
        n=effective_size(d, clusters, weights),
        difference=weighted_mean(d, weights),
        lower=float(means[max(math.ceil(share(alpha, "alpha") * resamples) - 1, 0)])
        if has_spread
        else -math.inf,
        statistic=float(below),
        p_value=(1 + below) / (1 + resamples) if has_spread else 1.0,
        eps=eps,
        alpha=alpha,
    )
