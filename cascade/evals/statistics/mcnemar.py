"""McNemar's test: do two answers to the same queries differ in how often they are right?

McNemar, Psychometrika 12 (1947); the mid-p version: Fagerland, Lydersen and Laake, BMC Medical
Research Methodology 13:91 (2013).
"""

from __future__ import annotations

from typing import Literal

from cascade.evals.statistics.distributions import binomial_cdf, binomial_pmf

Alternative = Literal["different", "worse"]


def mcnemar(
    b: int, c: int, *, alternative: Alternative = "different", mid_p: bool = False
) -> float:
    """The exact p-value given `b` gains and `c` losses of the candidate; 1 where both are 0.

    "worse" is one-sided: how likely so many losses are if the candidate were as good. The mid-p
    value counts half of the observed outcome's probability: less conservative, no longer exact.
    """
    if b < 0 or c < 0:
        raise ValueError(f"gains and losses are counts, and are {b} and {c}")
    n = b + c
    few = b if alternative == "worse" else min(b, c)
    seen = binomial_pmf(few, n, 0.5) / 2 if mid_p else 0.0
    tail = binomial_cdf(few, n, 0.5)
    if alternative == "worse":
        return tail - seen
    return 1 - seen if b == c else min(1.0, 2 * (tail - seen))
