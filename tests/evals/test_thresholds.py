from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.evals.frontier import Point, auc, cost_at, hull, quality_at
from cascade.evals.runs import Floats
from cascade.evals.thresholds import Rung, best_of, threshold_grid


def made_up(n: int, rungs: int, seed: int) -> tuple[list[Rung], Floats]:
    random = np.random.default_rng(seed)
    ladder = [
        Rung(
            np.round(random.random(n), 1),  # with ties
            (random.random(n) < 0.4 + 0.2 * i).astype(float),
            random.uniform(0.5, 1.5, n) * 4**i,
        )
        for i in range(rungs)
    ]
    return ladder, random.integers(0, 3, n).astype(float)


def walked(
    rungs: list[Rung], weights: Floats, thresholds: tuple[float, ...]
) -> tuple[float, float]:
    """Quality and cost, one query after the other."""
    quality = cost = 0.0
    for i, weight in enumerate(weights):
        for rung, threshold in zip(rungs, (*thresholds, -np.inf), strict=True):
            cost += weight * rung.cost[i]
            if rung.score[i] >= threshold:
                quality += weight * rung.correct[i]
                break
    return quality, cost


@given(
    n=st.integers(3, 12), rungs=st.integers(1, 4), seed=st.integers(0, 10**6), price=st.floats(0, 2)
)
def test_every_combination_of_thresholds_is_what_a_walk_comes_to(
    n: int, rungs: int, seed: int, price: float
) -> None:
    ladder, weights = made_up(n, rungs, seed)
    grid = threshold_grid(ladder, weights, cells=30)
    worths: list[float] = []
    for place in product(*(range(len(t)) for t in grid.thresholds)):
        thresholds = tuple(t[i] for t, i in zip(grid.thresholds, place, strict=True))
        quality, cost = walked(ladder, weights, thresholds)
        assert (grid.quality[place], grid.cost[place]) == pytest.approx((quality, cost), abs=1e-9)
        worths.append(quality - price * cost)
    best, chosen = best_of(grid, price)
    assert best == pytest.approx(max(worths), abs=1e-9)
    quality, cost = walked(ladder, weights, tuple(chosen))
    assert quality - price * cost == pytest.approx(best, abs=1e-9)


def test_with_as_many_quantiles_as_scores_no_threshold_is_better() -> None:
    ladder, weights = made_up(40, 2, 7)
    grid = threshold_grid(ladder, weights, cells=500)
    best, _ = best_of(grid, 0.05)
    for threshold in np.linspace(-0.1, 1.1, 500):
        quality, cost = walked(ladder, weights, (float(threshold),))
        assert quality - 0.05 * cost <= best + 1e-9


def test_a_random_mixture_has_an_auc_of_a_half() -> None:
    weak, strong = Point(0.1, 0.5), Point(1.0, 0.9)
    assert auc([], weak, strong) is not None
    assert auc([strong], weak, strong) == pytest.approx(0.5)
    assert auc([Point(0.1, 0.9)], weak, strong) == pytest.approx(1.0)
    assert auc([Point(0.1, 1.0)], weak, strong) == pytest.approx(1.25)
    assert auc([Point(0.55, 0.9)], weak, strong) == pytest.approx(0.75)
    assert auc([strong], strong, weak) is None


def test_the_hull_and_what_stands_on_it() -> None:
    curve = hull(
        [Point(1, 0.8), Point(0.2, 0.4), Point(0.5, 0.7), Point(0.6, 0.5), Point(0.3, 0.45)]
    )
    assert curve == [Point(0.2, 0.4), Point(0.5, 0.7), Point(1, 0.8)]
    assert quality_at(curve, 0.35) == pytest.approx(0.55)
    assert quality_at(curve, 0.1) is None
    assert quality_at(curve, 3) == 0.8
    assert cost_at(curve, 0.55) == pytest.approx(0.35)
    assert cost_at(curve, 0.3) == 0.2
    assert cost_at(curve, 0.9) is None
    assert cost_at([], 0.9) is None


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_hull_is_above_every_point_and_concave(pairs: list[tuple[float, float]]) -> None:
    points = [Point(*pair) for pair in pairs]
    curve = hull(points)
    for point in points:
        above = quality_at(curve, point.cost)
        assert above is not None
        assert above >= point.quality - 1e-9
    slopes = [
        (b.quality - a.quality) / (b.cost - a.cost)
        for a, b in pairwise(curve)
        if b.cost - a.cost > 1e-9
    ]
    assert all(a >= b - 1e-6 * max(1, abs(a)) for a, b in pairwise(slopes))
