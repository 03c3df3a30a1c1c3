"""How many queries a test of non-inferiority needs."""

from __future__ import annotations

import math

from cascade.evals.statistics.arrays import share
from cascade.evals.statistics.distributions import normal_quantile


def queries_needed(
    discordant: float,
    eps: float,
    alpha: float,
    *,
    power: float = 0.8,
    difference: float = 0.0,
) -> int | None:
    """Queries for a pass with probability `power`, if the truth is `difference`; None: no number.

    n >= (z_(1-alpha) + z_power)^2 (p_b + p_c - D^2) / (eps + D)^2 with `discordant` = p_b + p_c,
    the share of queries on which exactly one side is right, and D = `difference` (candidate less
    baseline; 0 if they are equally good, as Connor, Biometrics 43 (1987), and Tango 1998 plan it).
    Never fewer than a sample without any discordant pair would need: by the score test, and by the
    exact binomial one, (1 - eps)^n <= alpha. None if D <= -eps.
    """
    distance = eps + difference
    if distance <= 0:
        return None
    alpha_z, power_z = normal_quantile(1 - share(alpha, "alpha")), normal_quantile(power)
    variance = max(discordant - difference * difference, 0.0)
    needed = (alpha_z + power_z) ** 2 * variance / distance**2
    least = 1.0
    if eps > 0:
        least = max(alpha_z**2 * (1 - eps) / eps, math.log(alpha) / math.log1p(-eps))
    return math.ceil(max(needed, least) - 1e-9)
