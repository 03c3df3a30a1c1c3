"""The exact optimum of plain thresholds: accept a rung's answer when it is likely enough right.

For a ladder of m rungs every combination of m - 1 thresholds on quantiles is evaluated at once, by
histograms over the rungs' bins and cumulative sums along each: O(n + Q^(m-1)) for n queries and Q
quantiles. Slices share one price, and so are optimised one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cascade.evals.runs import Floats, Ints

__all__ = ["Grid", "Rung", "best_of", "threshold_grid"]

CELLS: Final = 2048
"""How many combinations of thresholds a ladder is tried with, about."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung of a ladder, query by query.

    Attributes:
        score: how likely the answer at hand is right, once this rung was asked.
        correct: how right that answer is.
        cost: of asking the rung.
    """

    score: Floats
    correct: Floats
    cost: Floats


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination of thresholds.

    Attributes:
        thresholds: of each rung but the last, rising; at or above one the answer is accepted. The
            first is minus infinity (accept all), the last plus infinity (go on with all).
        quality: the sum over the queries, an axis a rung.
        cost: the same.
    """

    thresholds: Sequence[Floats]
    quality: Floats
    cost: Floats


def threshold_grid(rungs: Sequence[Rung], weights: Floats, cells: int = CELLS) -> Grid:
    """Quality and cost of every combination of thresholds on a ladder."""
    size = max(int(cells ** (1 / max(len(rungs) - 1, 1))) - 1, 2)
    edges = [_edges(rung.score, size) for rung in rungs[:-1]]
    bins = [
        np.searchsorted(edge[1:-1], rung.score, side="right")
        for edge, rung in zip(edges, rungs, strict=False)
    ]
    counts = [len(edge) - 1 for edge in edges]
    quality: Floats = np.zeros([count + 1 for count in counts])
    cost = quality.copy()
    for r, rung in enumerate(rungs):
        # Those that every rung before passed on pay for this one; what it passes on itself is not
        # answered by it.
        reached = _below(bins[:r], counts[:r], weights * rung.correct)
        cost += _spread(_below(bins[:r], counts[:r], weights * rung.cost), quality.ndim)
        quality += _spread(reached, quality.ndim)
        if r < len(bins):
            passed_on = _below(bins[: r + 1], counts[: r + 1], weights * rung.correct)
            quality -= _spread(passed_on, quality.ndim)
    return Grid(edges, quality, cost)


def _edges(score: Floats, size: int) -> Floats:
    inner = np.unique(np.quantile(score, np.linspace(0, 1, size + 1)[1:-1], method="nearest"))
    edges: Floats = np.concatenate([[-np.inf], inner, [np.inf]])
    return edges


def _below(bins: Sequence[Ints], counts: Sequence[int], values: Floats) -> Floats:
    """The sum of the values whose bin is below the threshold, for all thresholds of each axis."""
    if not bins:
        return np.array(values.sum())
    place = np.ravel_multi_index(list(bins), list(counts))
    total = np.bincount(place, values, minlength=int(np.prod(counts))).reshape(counts)
    for axis in range(len(counts)):
        total = np.cumsum(total, axis=axis)
    return np.asarray(np.pad(total, [(1, 0)] * len(counts)), np.float64)


def _spread(part: Floats, axes: int) -> Floats:
    """With axes of length 1 for the rungs that it does not depend on."""
    return part.reshape(part.shape + (1,) * (axes - part.ndim))


def best_of(grid: Grid, price: float) -> tuple[float, list[float]]:
    """The highest quality less priced cost, and the thresholds that have it."""
    worth = grid.quality - price * grid.cost
    place = np.unravel_index(int(np.argmax(worth)), worth.shape)
    chosen = [float(t[i]) for t, i in zip(grid.thresholds, place, strict=True)]
    return float(worth[place]), chosen
