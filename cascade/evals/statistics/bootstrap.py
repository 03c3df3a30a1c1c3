"""The bootstrap of means, of whole clusters, seeded and vectorised.

Efron (1979); percentile intervals; clusters resampled whole (Davison and Hinkley 1997, 3.8).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cascade.evals.statistics.arrays import Floats, Labels, cluster_codes, share, weights_like

_CELLS = 4_000_000  # counts drawn at a time: 32 MB


def bootstrap_means(
    values: ArrayLike,
    clusters: Labels | None = None,
    weights: ArrayLike | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Floats:
    """The (weighted) means of each column in resamples of whole clusters: resamples x columns.

    `values` has a row a query and a column a measure, which are resampled together, so ratios and
    differences of the columns' means may be taken row by row. The same seed, the same numbers.
    """
    table = np.asarray(values, np.float64)
    table = table.reshape(table.shape[0], -1)
    w = weights_like(table[:, 0], weights)
    codes = cluster_codes(clusters, table.shape[0])
    count = int(codes.max()) + 1
    sums = np.stack([np.bincount(codes, w * values, count) for values in (*table.T, 1.0)], axis=1)
    rng = np.random.default_rng(seed)
    block = max(_CELLS // count, 1)
    blocks = [
        rng.multinomial(count, np.full(count, 1 / count), min(block, resamples - start)) @ sums
        for start in range(0, resamples, block)
    ]
    totals = np.concatenate(blocks)
    return np.asarray(totals[:, :-1] / totals[:, -1:], np.float64)


def percentile_interval(samples: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """The middle `confidence` of the samples: a two-sided bootstrap percentile interval."""
    tail = (1 - share(confidence, "confidence")) / 2
    low, high = np.quantile(np.asarray(samples, np.float64), (tail, 1 - tail))
    return float(low), float(high)


def bootstrap_interval(
    values: ArrayLike,
    clusters: Labels | None = None,
    weights: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile interval of the (weighted) mean of one column of values."""
    means = bootstrap_means(values, clusters, weights, resamples=resamples, seed=seed)
    return percentile_interval(means[:, 0], confidence)
