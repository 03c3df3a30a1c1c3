"""Finite-sample tests and lower bounds for the mean of bounded values, by betting.

A stake of 1 is bet, query after query, on the mean lying above m. If it does not, the capital is a
non-negative supermartingale, so it ever reaches 1/alpha with chance at most alpha, for any
distribution and any n: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting", JRSS B 86 (2024) 1-27. Any bet fixed before the query's outcome keeps that promise; the
bet only decides the power.

The bets here aim at reaching 1/alpha exactly when the sample ends. With r queries left, variance
s^2 and capital W, the stake is the inverse Mills ratio phi(z) / (p s sqrt(r)) of z = quantile(p),
p = alpha W: in the normal limit it replicates the one-sided z test, as an option that pays 1/alpha
is replicated by trading. The idea of recalculating the target is that of Voracek and Orabona,
"STaR-Bets" (2025), whose sqrt(2 log(1/p) / r) / s it approaches for small p.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from cascade.evals.statistics.arrays import (
    Floats,
    Indices,
    Labels,
    cluster_codes,
    column,
    margin,
    share,
    weights_like,
)
from cascade.evals.statistics.clusters import effective_size, weighted_mean
from cascade.evals.statistics.distributions import normal_quantiles
from cascade.evals.statistics.results import NonInferiority

_BOLDEST = 0.9  # the largest share of the capital that one query may lose
_BEYOND = 1.1  # aim past the target: bets are discrete, and 99 % of it is a failure
_ORDER_SEED = 20
_ROUND = 32  # rows between looks at the capital, where nothing is won
_LOST = 1e-6  # below this capital betting stops
_PRIOR_COUNT, _PRIOR_VARIANCE = 4.0, 0.05  # of values in 0..1, before any was seen

# Null means for differences, on the scale of 0..1: steps of 0.001 near no difference, of 0.02 far.
_MEANS = np.unique(np.concatenate((np.arange(0, 1, 0.01), 0.5 + np.arange(-200, 200) / 2000)))


def highest_capital(
    values: Floats, means: ArrayLike, alpha: float, weights: Floats | None = None
) -> Floats:
    """The highest capital seen betting that the mean of each column is above its null mean.

    Args:
        values: n x k, in 0..1, in an order that does not depend on them.
        means: the k null means (or one for all), in 0 to below 1. The true mean is above it at
            level alpha where the capital reaches 1/alpha; there betting stops.
        alpha: the level, which the bets aim at.
        weights: of the n rows, in 0 to 1; null hypothesis E[w (x - m)] <= 0. No bet looks at its
            own row's weight, which may go with its value.
    """
    n, width = values.shape
    m = np.broadcast_to(np.asarray(means, np.float64), (width,)).copy()
    w = np.ones(n) if weights is None else weights
    best = np.ones(width)
    active: Indices = np.arange(width, dtype=np.intp)
    capital, squares = np.ones(width), np.full(width, _PRIOR_COUNT * _PRIOR_VARIANCE)
    for row in range(n):
        gain = w[row] * (values[row, active] - m[active])
        variance_left = squares / (_PRIOR_COUNT + row) * (n - row)
        bet = _bet(np.minimum(capital * alpha / _BEYOND, 1 - 1e-9), variance_left)
        capital *= 1 + np.minimum(bet, _BOLDEST / np.maximum(m[active], 1e-12)) * gain
        squares += gain * gain
        won = capital >= 1 / alpha
        if row % _ROUND == _ROUND - 1 or row == n - 1 or won.any():
            best[active] = np.maximum(best[active], capital)
            going = ~won & (capital > _LOST)
            active, capital, squares = active[going], capital[going], squares[going]
            if not active.size:
                break
    return best


def _bet(p: Floats, variance_left: Floats) -> Floats:
    """phi(z) / (p sd): the share of capital per unit of gain that replicates the z test."""
    p = np.maximum(p, 1e-12)
    z = normal_quantiles(p)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return np.asarray(density / (p * np.sqrt(variance_left)), np.float64)


def betting_rows(
    values: Floats, clusters: Labels | None, weights: ArrayLike | None
) -> tuple[Floats, Floats | None]:
    """One row a cluster (its weighted mean), in a seeded order, and the rows' weights up to 1.

    Betting on whole clusters is exact for independent clusters of any make-up, given the weight of
    the heaviest. The order is drawn, so that a file sorted by topic does not mislead the bets.
    """
    n = values.shape[0]
    if clusters is None and weights is None:
        return values[_order(n)], None
    w = weights_like(values[:, 0], weights)
    codes = cluster_codes(clusters, n)
    totals = np.bincount(codes, w)
    sums = np.stack([np.bincount(codes, w * values) for values in values.T], axis=1)
    order = _order(totals.size)
    return (sums / totals[:, None])[order], (totals / totals.max())[order]


def _order(n: int) -> Indices:
    return np.random.default_rng(_ORDER_SEED).permutation(n)


def mean_lower_bound(
    values: ArrayLike,
    alpha: float,
    clusters: Labels | None = None,
    weights: ArrayLike | None = None,
    *,
    resolution: int = 2000,
) -> float:
    """A lower bound of the mean of values in 0..1 that is too high with chance at most alpha.

    The null means k / resolution are tested upwards in a fixed sequence, so the bound is exact
    and a multiple of 1 / resolution.
    """
    x = column(values)
    if x.min() < 0 or x.max() > 1:
        raise ValueError("a betting bound needs values between 0 and 1: scale them first")
    means = np.arange(resolution) / resolution
    return _bound(*betting_rows(x[:, None], clusters, weights), means, share(alpha, "alpha"))


def _bound(rows: Floats, weights: Floats | None, means: Floats, alpha: float) -> float:
    """The last of the rising null means before the first that is not rejected; 0 if none is."""
    table = np.broadcast_to(rows, (rows.shape[0], means.size))
    rejected = highest_capital(table, means, alpha, weights) >= 1 / alpha
    count = means.size if rejected.all() else int(rejected.argmin())
    return float(means[count - 1]) if count else 0.0


def betting_capital(
    columns: Floats,
    eps: float,
    alpha: float,
    clusters: Labels | None = None,
    weights: ArrayLike | None = None,
) -> Floats:
    """The highest capital of `betting` on each column of differences: many tests in one pass.

    `columns` has a row a query. 1 / capital is a p-value: at any level a, under the null hypothesis
    the capital reaches 1/a with chance at most a. It stops at 1/alpha.
    """
    rows, row_weights = betting_rows(unit_scale(columns), clusters, weights)
    border = (1 - margin(eps)) / 2
    return highest_capital(rows, border, share(alpha, "alpha"), row_weights)


def betting(
    differences: ArrayLike,
    eps: float,
    alpha: float,
    clusters: Labels | None = None,
    weights: ArrayLike | None = None,
) -> NonInferiority:
    """Tests H0: the mean difference is at most -eps, for differences anywhere in -1..1.

    Valid at any n and for any distribution; bets on x = (d + 1) / 2. The p-value is 1 / the highest
    capital: it is made for the one decision at level alpha and says little beside it.
    """
    d = column(differences, "differences")
    capital = float(betting_capital(d[:, None], eps, alpha, clusters, weights)[0])
    x, border = unit_scale(d), (1 - eps) / 2
    rows, row_weights = betting_rows(x[:, None], clusters, weights)
    lower = _bound(rows, row_weights, np.unique([*_MEANS, border]), alpha)
    return NonInferiority(
        method="betting",
        n=effective_size(x, clusters, weights),
        difference=2 * weighted_mean(x, weights) - 1,
        lower=2 * lower - 1,
        statistic=capital,
        p_value=min(1.0, 1 / capital),
        eps=eps,
        alpha=alpha,
    )


def unit_scale(differences: Floats) -> Floats:
    """(d + 1) / 2: differences in -1..1 as values in 0..1; ValueError outside."""
    if np.abs(differences).max() > 1:
        raise ValueError("a betting bound needs differences between -1 and 1: scale them first")
    return (differences + 1) / 2
