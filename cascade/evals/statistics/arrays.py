"""Arrays as this package takes them: finite float64, one value a query, checked on entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]
Labels: TypeAlias = Sequence[object] | NDArray[np.generic]  # names of clusters, one a query


def column(values: ArrayLike, name: str = "values") -> Floats:
    """A non-empty one-dimensional array of finite numbers; ValueError names what is wrong."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a non-empty list of numbers, one a query")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not a finite number; leave the query out")
    return array


def weights_like(values: Floats, weights: ArrayLike | None) -> Floats:
    """The queries' weights, all 1 where none are given; ValueError unless positive and as many."""
    if weights is None:
        return np.ones(values.size)
    array = column(weights, "weights")
    if array.shape[0] != values.shape[0]:
        raise ValueError(f"{array.shape[0]} weights for {values.shape[0]} queries")
    if array.min() <= 0:
        raise ValueError(f"weights must be above 0, and one is {array.min():g}")
    return array


def cluster_codes(clusters: Labels | None, n: int) -> Indices:
    """A number from 0 up for each query's cluster; without clusters each query is its own."""
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise ValueError(f"{len(clusters)} clusters for {n} queries")
    if isinstance(clusters, np.ndarray):
        return np.unique(clusters, return_inverse=True)[1].astype(np.intp)
    numbers: dict[object, int] = {}
    codes = (numbers.setdefault(cluster, len(numbers)) for cluster in clusters)
    return np.fromiter(codes, dtype=np.intp, count=n)


def share(value: float, name: str) -> float:
    """`value` if it lies strictly between 0 and 1; ValueError otherwise."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, and is {value:g}")
    return value


def margin(eps: float) -> float:
    """`eps` if it can be a margin of non-inferiority, 0 up to below 1; ValueError otherwise."""
    if not 0 <= eps < 1:
        raise ValueError(f"eps is a share of the queries, from 0 to below 1, and is {eps:g}")
    return eps
