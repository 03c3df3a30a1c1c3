"""Are stated probabilities honest? Reliability bins and the calibration error.

Naeini, Cooper and Hauskrecht (AAAI 2015); equal-mass bins: Nixon et al. (2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cascade.evals.statistics.arrays import Floats, column, weights_like
from cascade.evals.statistics.proportions import wilson


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers whose stated probability lies in one interval."""

    low: float  # the interval's ends
    high: float
    n: int
    weight: float  # the share of all answers, by weight
    stated: float  # their mean stated probability
    observed: float  # the share that was right
    interval: tuple[float, float]  # Wilson's, of the observed share, at 95 %


def reliability(
    probabilities: ArrayLike,
    outcomes: ArrayLike,
    *,
    bins: int = 10,
    adaptive: bool = False,
    weights: ArrayLike | None = None,
) -> tuple[Bin, ...]:
    """The bins that hold any answer, lowest first: of equal width, or adaptive of equal mass.

    Probabilities in 0..1 and outcomes in 0..1, one an answer. Equal probabilities are never parted.
    """
    p, y = column(probabilities, "probabilities"), column(outcomes, "outcomes")
    if p.size != y.size:
        raise ValueError(f"{p.size} probabilities for {y.size} outcomes")
    if min(p.min(), y.min()) < 0 or max(p.max(), y.max()) > 1:
        raise ValueError("probabilities and outcomes lie between 0 and 1, and one does not")
    w = weights_like(p, weights)
    inner = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(p, inner)) if adaptive else inner
    which = np.searchsorted(edges, p, side="right")
    ends = np.concatenate(([0.0], edges, [1.0]))
    found: list[Bin] = []
    for index in np.unique(which):
        inside = which == index
        found.append(_bin(float(ends[index]), float(ends[index + 1]), p, y, w, inside))
    return tuple(found)


def _bin(
    low: float,
    high: float,
    p: Floats,
    y: Floats,
    w: Floats,
    inside: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> Bin:
    n = int(inside.sum())
    mass = float(w[inside].sum())
    observed = float(w[inside] @ y[inside] / mass)
    return Bin(
        low=low,
        high=high,
        n=n,
        weight=mass / float(w.sum()),
        stated=float(w[inside] @ p[inside] / mass),
        observed=observed,
        interval=wilson(observed * n, n),
    )


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """The mean distance between stated and observed over the bins, by weight, in 0..1.

    The expected calibration error over bins of equal width, the adaptive one over equal mass.
    """
    return sum(bin_.weight * abs(bin_.stated - bin_.observed) for bin_ in bins)


def brier(probabilities: ArrayLike, outcomes: ArrayLike) -> float:
    """The mean squared distance of probabilities from outcomes (Brier 1950); lower is better."""
    p, y = column(probabilities, "probabilities"), column(outcomes, "outcomes")
    return float(np.mean((p - y) ** 2))
