"""How good a router's ranking is: the curve from all-cheap to all-strong, and what it comes to.

The measures are those of RouteLLM (Ong et al., 2024): the performance gap recovered (PGR) is the
share of the strong tier's lead over the cheap one that a router keeps; APGR its mean over all
shares of strong calls, 0.5 for random mixing; CPT(x) the share of strong calls it takes to keep x.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Measures", "curve", "lower_bound", "measures"]


class Measures(NamedTuple):
    """What a curve comes to.

    Attributes:
        apgr: the average performance gap recovered. NaN: the strong tier has no lead.
        cpt50, cpt80: the share of strong calls, 0 to 1, that keeps half and 80 % of the lead.
    """

    apgr: float
    cpt50: float
    cpt80: float


def curve(gains: ArrayLike, leads: ArrayLike) -> Any:
    """The share of the lead recovered with 0, 1 ... n strong calls, those first that promise most.

    Args:
        gains: what the router expects of a strong call, for each query.
        leads: what it brings: correct by the strong tier less correct by the cheap one.
    """
    import numpy as np

    gains, leads = np.asarray(gains, dtype=float), np.asarray(leads, dtype=float)
    _, groups, sizes = np.unique(-gains, return_inverse=True, return_counts=True)
    # Among equals the order is chance, so each counts as their mean.
    means = np.bincount(groups, weights=leads) / sizes
    steps = np.repeat(means, sizes)
    return np.concatenate([[0.0], np.cumsum(steps)]) / leads.sum()


def measures(gains: ArrayLike, leads: ArrayLike) -> Measures:
    """APGR and CPT of a router. All NaN when the strong tier is no better on these queries."""
    import numpy as np

    if np.sum(leads) <= 0:
        return Measures(float("nan"), float("nan"), float("nan"))
    recovered = curve(gains, leads)
    n = len(recovered) - 1
    apgr = float((recovered[1:] + recovered[:-1]).sum() / (2 * n))
    return Measures(apgr, _calls(recovered, 0.5), _calls(recovered, 0.8))


def _calls(recovered: Any, wanted: float) -> float:
    import numpy as np

    place = int(np.argmax(recovered >= wanted))
    before, after = recovered[place - 1], recovered[place]
    return float(place - 1 + (wanted - before) / (after - before)) / (len(recovered) - 1)


def lower_bound(
    gains: ArrayLike, leads: ArrayLike, *, seed: int, draws: int = 1000, level: float = 0.95
) -> float:
    """The one-sided lower confidence bound of APGR, by bootstrap over the queries.

    A draw in which the strong tier is no better counts as random mixing.
    """
    import numpy as np

    gains, leads = np.asarray(gains, dtype=float), np.asarray(leads, dtype=float)
    rng = np.random.default_rng(random.Random(seed).getrandbits(64))
    found: Sequence[float] = [
        measures(gains[rows], leads[rows]).apgr
        for rows in (rng.integers(len(leads), size=len(leads)) for _ in range(draws))
    ]
    return float(np.quantile(np.nan_to_num(found, nan=0.5), 1 - level))
