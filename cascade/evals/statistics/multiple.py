"""Several tests at one level.

Holm, Scandinavian Journal of Statistics 6 (1979) 65-70; fixed sequence: Maurer, Hothorn and
Lehmacher (1995), and for thresholds Angelopoulos et al., "Learn then test" (2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from cascade.evals.statistics.arrays import Floats


def holm(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p-values, in the order given: compare each with the level of the family."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(p[order] * (p.size - np.arange(p.size)), 1.0)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(stepped)
    return adjusted


def fixed_sequence(p_values: Sequence[float], alpha: float) -> int:
    """How many hypotheses are rejected, tested in the order given up to the first that is not.

    Each is tested at the full level, and the chance of rejecting any true one is still at most
    alpha, because the order was fixed without looking at the outcomes: the first true one in the
    order has to be rejected before any other can be.
    """
    for count, p_value in enumerate(p_values):
        if not p_value <= alpha:
            return count
    return len(p_values)
