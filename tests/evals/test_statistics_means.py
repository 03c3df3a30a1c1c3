"""Graded outcomes: t test, clusters, bootstrap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cascade.evals.statistics import (
    bootstrap_interval,
    bootstrap_means,
    bootstrap_non_inferiority,
    effective_size,
    mean_non_inferiority,
    percentile_interval,
    robust_variance,
)

# Student, Biometrika 6 (1908): hours of sleep gained by ten patients, two drugs.
FIRST = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SECOND = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])

samples = st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=40)


def test_students_own_example() -> None:
    result = mean_non_inferiority(FIRST - SECOND, eps=0, alpha=0.05)
    assert result.statistic == pytest.approx(-4.0621, abs=1e-4)
    assert 2 * (1 - result.p_value) == pytest.approx(0.002833, abs=1e-6)


@given(samples, st.floats(0, 0.5))
def test_it_is_scipys_paired_t_test(d: list[float], eps: float) -> None:
    if np.std(d) > 1e-6:
        expected: Any = stats.ttest_1samp(d, -eps, alternative="greater")
        result = mean_non_inferiority(d, eps, 0.1)
        assert result.statistic == pytest.approx(expected.statistic, rel=1e-6, abs=1e-6)
        assert result.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-9)
        low = expected.confidence_interval(0.9).low
        assert result.lower == pytest.approx(low, rel=1e-6, abs=1e-6)


@given(samples)
def test_the_bound_and_the_test_agree(d: list[float]) -> None:
    result = mean_non_inferiority(d, 0.1, 0.1)
    if abs(result.lower + 0.1) > 1e-9:
        assert result.passed == (result.lower > -0.1)


@pytest.mark.parametrize("test", [mean_non_inferiority, bootstrap_non_inferiority])
def test_no_spread_decides_nothing(test: Any) -> None:
    nearly = [0.8 - 0.7, 0.9 - 0.8]  # but for rounding
    assert nearly[0] != nearly[1]
    for d in ([0.0] * 200, [0.5] * 200, [-0.5] * 200, nearly * 100):
        result = test(d, 0.02, 0.1)
        assert (result.passed, result.p_value, result.lower) == (False, 1.0, -math.inf)


def test_a_mean_on_the_border_is_even() -> None:
    assert mean_non_inferiority([-0.25, -0.75], 0.5, 0.1).p_value == pytest.approx(0.5)


def test_clusters_that_balance_out_are_worth_no_more_than_their_queries() -> None:
    d = np.array([0.5, -0.5] * 20)
    assert robust_variance(d, np.repeat(np.arange(20), 2)) == 0
    assert effective_size(d, np.repeat(np.arange(20), 2)) == 40


def test_one_query_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two queries"):
        mean_non_inferiority([0.1], 0.02, 0.1)
    with pytest.raises(ValueError, match="at least two queries"):
        mean_non_inferiority([0.1, 0.2], 0.02, 0.1, clusters=["a", "a"])


@given(samples)
def test_singletons_are_no_clusters(d: list[float]) -> None:
    alone = robust_variance(np.array(d))
    assert alone == pytest.approx(np.var(d, ddof=1) / len(d), abs=1e-12)
    assert robust_variance(np.array(d), clusters=range(len(d))) == pytest.approx(alone, abs=1e-12)


def test_copies_add_nothing() -> None:
    d = np.random.default_rng(31).normal(size=30)
    copies, clusters = np.repeat(d, 7), np.repeat(np.arange(30), 7)
    assert robust_variance(copies, clusters) == pytest.approx(robust_variance(d))
    result = mean_non_inferiority(copies, 0.1, 0.1, clusters)
    expected = mean_non_inferiority(d, 0.1, 0.1)
    assert (result.statistic, result.p_value) == pytest.approx(
        (expected.statistic, expected.p_value)
    )


def test_a_weight_is_worth_as_many_copies_in_the_mean() -> None:
    d, weights = np.array([0.1, 0.5, -0.3]), [1.0, 2.0, 3.0]
    assert mean_non_inferiority(d, 0.1, 0.1, weights=weights).difference == pytest.approx(
        np.mean([0.1, 0.5, 0.5, -0.3, -0.3, -0.3])
    )


def test_unequal_weights_are_worth_fewer_queries() -> None:
    d = np.random.default_rng(32).normal(size=4000)
    weights = np.tile([1.0, 5.0], 2000)
    kish = weights.sum() ** 2 / (weights @ weights)
    assert effective_size(d, weights=weights) == pytest.approx(kish, rel=0.05)
    assert effective_size(d) == 4000


def test_the_level_of_the_clustered_t_test() -> None:
    rng, runs, passed = np.random.default_rng(33), 600, 0
    clusters = np.repeat(np.arange(25), 8)
    for _ in range(runs):
        d = np.repeat(rng.normal(-0.1, 1, 25), 8) + rng.normal(0, 0.5, 200)
        passed += mean_non_inferiority(d, 0.1, 0.1, clusters).passed
    assert passed / runs == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / runs))


def test_the_bootstrap_agrees_with_the_t_test_on_many_queries() -> None:
    d = np.random.default_rng(34).uniform(-1, 1, 800)
    t = mean_non_inferiority(d, 0.02, 0.1)
    bootstrap = bootstrap_non_inferiority(d, 0.02, 0.1)
    assert bootstrap.lower == pytest.approx(t.lower, abs=0.003)
    assert bootstrap.p_value == pytest.approx(t.p_value, abs=0.03)
    assert bootstrap.passed == (bootstrap.lower > -0.02)


def test_the_bootstrap_is_seeded_and_resamples_whole_clusters() -> None:
    d, clusters = np.repeat([0.0, 1.0, 0.5], 40), np.repeat(["a", "b", "c"], 40)
    means = bootstrap_means(d, clusters, resamples=500, seed=3)
    assert set(np.round(means[:, 0] * 6).tolist()) <= set(range(7))
    assert np.allclose(means[:, 0] * 6, np.round(means[:, 0] * 6))
    assert (means == bootstrap_means(d, clusters, resamples=500, seed=3)).all()
    assert (means != bootstrap_means(d, clusters, resamples=500, seed=4)).any()


def test_columns_are_resampled_together() -> None:
    values = np.random.default_rng(35).normal(size=(50, 1)) @ np.array([[1.0, 2.0]])
    means = bootstrap_means(values, resamples=200)
    assert means.shape == (200, 2)
    assert means[:, 1] == pytest.approx(2 * means[:, 0])


def test_blocks_of_a_large_bootstrap_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    d = np.random.default_rng(36).normal(size=30)
    monkeypatch.setattr("cascade.evals.statistics.bootstrap._CELLS", 100)
    means = bootstrap_means(d, resamples=301)
    assert means.shape == (301, 1)
    assert float(means.mean()) == pytest.approx(float(d.mean()), abs=0.05)


def test_the_weighted_bootstrap_is_of_the_weighted_mean() -> None:
    d, weights = np.array([0.0, 1.0] * 200), np.array([1.0, 3.0] * 200)
    low, high = bootstrap_interval(d, weights=weights)
    assert low < 0.75 < high
    assert high - low < 0.1


def test_the_percentile_interval() -> None:
    assert percentile_interval(np.arange(101), 0.9) == pytest.approx((5, 95))
    assert percentile_interval([2.0]) == (2, 2)
    with pytest.raises(ValueError, match="confidence must lie"):
        percentile_interval([1.0], 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"differences": []}, "non-empty"),
        ({"differences": [0.1, math.nan]}, "not a finite number"),
        ({"differences": [0.1, 0.2], "clusters": ["a", "b", "c"]}, "3 clusters for 2 queries"),
        ({"differences": [0.1, 0.2], "weights": [1.0]}, "1 weights for 2 queries"),
        ({"differences": [0.1, 0.2], "weights": [1.0, 0.0]}, "above 0"),
    ],
)
def test_unfit_arrays_are_refused(arguments: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_non_inferiority(eps=0.02, alpha=0.1, **arguments)
