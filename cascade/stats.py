"""Small statistics for reports: intervals for shares, quantiles of measured values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

__all__ = ["Interval", "quantile", "wilson"]


class Interval(NamedTuple):
    """A confidence interval, both ends included."""

    low: float
    high: float


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """The score interval for a share (Wilson, Probable Inference, JASA 22, 1927).

    It stays within 0..1 and is sound for small counts and for shares near 0 or 1. Without trials
    it is 0..1: nothing is known.

    Raises:
        ValueError: the counts are no counts, or `confidence` is not between 0 and 1.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials is no share")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must be between 0 and 1")
    if trials == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / trials
    spread = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / spread
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / spread
    # Rounding would leave the ends a hair off 0 and 1 where they are exactly that.
    return Interval(
        0.0 if successes == 0 else max(0.0, centre - half),
        1.0 if successes == trials else min(1.0, centre + half),
    )


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest of `values` that at least a share `q` of them does not exceed.

    The nearest rank, so always a value that was measured: no p99 is made up between two others.

    Raises:
        ValueError: there are no values, or `q` is outside of 0..1.
    """
    if not values:
        raise ValueError("no values, so no quantile")
    if not 0 <= q <= 1:
        raise ValueError(f"q is {q}; it must be 0 to 1")
    ranked = sorted(values)
    # The product is rounded first: 0.95 * 20 must be rank 19, whatever binary makes of it.
    rank = math.ceil(round(q * len(ranked), 9))
    return ranked[max(rank, 1) - 1]
