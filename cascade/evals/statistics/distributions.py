"""The distribution functions the tests need, typed. All of scipy that this package uses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from cascade.evals.statistics.arrays import Floats


def normal_upper(z: float) -> float:
    """P(Z >= z) of a standard normal variable, accurate in the far tail too."""
    return float(special.ndtr(-z))


def normal_quantile(p: float) -> float:
    """The z with P(Z <= z) = p."""
    return float(special.ndtri(p))


def normal_quantiles(p: ArrayLike) -> Floats:
    """`normal_quantile` of each of the values."""
    return np.asarray(special.ndtri(np.asarray(p, np.float64)), np.float64)


def t_upper(t: float, degrees: float) -> float:
    """P(T >= t) of Student's t with `degrees` degrees of freedom."""
    return float(special.stdtr(degrees, -t))


def t_quantile(p: float, degrees: float) -> float:
    """The t with P(T <= t) = p for Student's t with `degrees` degrees of freedom."""
    return float(special.stdtrit(degrees, p))


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with P(X <= x) = p for Beta(a, b)."""
    return float(special.betaincinv(a, b, p))


def binomial_cdf(k: float, n: float, p: float) -> float:
    """P(X <= k) for X ~ Binomial(n, p), k >= 0.

    Through the incomplete beta function, so that n and k may be effective (fractional) counts.
    """
    if k >= n:
        return 1.0
    return float(special.betainc(n - k, k + 1, 1 - p))


def binomial_pmf(k: int, n: int, p: float) -> float:
    """P(X = k) for X ~ Binomial(n, p)."""
    log_choose = -special.betaln(n - k + 1, k + 1) - np.log(n + 1)
    return float(np.exp(log_choose + special.xlogy(k, p) + special.xlog1py(n - k, -p)))
