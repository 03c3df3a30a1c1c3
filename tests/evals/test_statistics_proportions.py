"""Intervals of proportions, the harm-only test, several tests at once, sample sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm

from cascade.evals.statistics import (
    Pairs,
    clopper_pearson,
    fixed_sequence,
    harm,
    holm,
    proportion_lower,
    proportion_upper,
    queries_needed,
    tango,
    tango_z,
    wilson,
)

trials = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.floats(0.5, 0.999)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (13, 16, 0.5435, 0.9595),  # Fagerland, Lydersen and Laake 2017, chapter 2 (Ligarden 2010)
        (5, 25, 0.0683, 0.4070),  # Conover 1999, table A4 (0.068 to 0.407)
        (0, 10, 0.0, 0.3085),
        (10, 10, 0.6915, 1.0),
        (81, 263, 0.2527, 0.3676),  # Newcombe, Statistics in Medicine 17 (1998) 857, table I
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_clopper_pearson_of_published_examples(k: int, n: int, low: float, high: float) -> None:
    assert clopper_pearson(k, n) == pytest.approx((low, high), abs=5.1e-5)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # Newcombe 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_of_published_examples(k: int, n: int, low: float, high: float) -> None:
    assert wilson(k, n) == pytest.approx((low, high), abs=5.1e-5)


@given(trials, confidences)
def test_intervals_are_scipys(count: tuple[int, int], confidence: float) -> None:
    k, n = count
    result = binomtest(k, n)
    exact = result.proportion_ci(confidence, method="exact")
    assert clopper_pearson(k, n, confidence) == pytest.approx((exact.low, exact.high), abs=1e-9)
    score = result.proportion_ci(confidence, method="wilson")
    assert wilson(k, n, confidence) == pytest.approx((score.low, score.high), abs=1e-9)


@given(trials, st.floats(0.001, 0.5))
def test_the_one_sided_bounds_are_where_the_tail_has_the_level(
    count: tuple[int, int], alpha: float
) -> None:
    k, n = count
    if k < n:
        assert binom.cdf(k, n, proportion_upper(k, n, alpha)) == pytest.approx(alpha, rel=1e-6)
    if k > 0:
        assert binom.sf(k - 1, n, proportion_lower(k, n, alpha)) == pytest.approx(alpha, rel=1e-6)


@pytest.mark.parametrize("n", [7, 30])
@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.93])
def test_clopper_pearson_covers_at_least_as_often_as_it_says(n: int, p: float) -> None:
    covered = sum(
        binom.pmf(k, n, p)
        for k in range(n + 1)
        if clopper_pearson(k, n, 0.9)[0] <= p <= clopper_pearson(k, n, 0.9)[1]
    )
    assert covered >= 0.9


@pytest.mark.parametrize("counts", [(3, 2), (-1, 5), (0, 0)])
def test_impossible_counts_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="trials cannot hold"):
        clopper_pearson(*counts)
    with pytest.raises(ValueError, match="trials cannot hold"):
        wilson(*counts)


def test_harm_counts_losses_and_not_gains() -> None:
    d = [-1] * 20 + [1] * 200 + [0] * 1780
    result = harm(d, eps=0.02, alpha=0.1)
    assert result.statistic == 20
    assert result.p_value == pytest.approx(binom.cdf(20, 2000, 0.02))
    assert result.lower == pytest.approx(-proportion_upper(20, 2000, 0.1))
    assert result.passed == (result.lower > -0.02)
    assert harm([0] * 2000, 0.02, 0.1).difference == 0


@pytest.mark.parametrize("p", [0.1, 0.15, 0.3])
def test_the_size_of_harm_never_exceeds_the_level(p: float) -> None:
    n = 80
    passed = [k for k in range(n + 1) if harm([-1] * k + [0] * (n - k), 0.1, 0.1).passed]
    assert sum(binom.pmf(k, n, p) for k in passed) <= 0.1


def test_graded_harm_counts_every_loss_as_a_whole_one() -> None:
    graded = [-0.2] * 5 + [0.0] * 95
    assert harm(graded, 0.1, 0.1).p_value == harm([-1] * 5 + [0] * 95, 0.1, 0.1).p_value


def test_holm_by_hand() -> None:
    # In order 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.3))
def test_holm_steps_down_to_the_first_failure(p_values: list[float], alpha: float) -> None:
    adjusted = holm(p_values)
    ordered = sorted(p_values)
    count = 0
    while count < len(ordered) and ordered[count] * (len(ordered) - count) <= alpha:
        count += 1
    assert int((adjusted <= alpha).sum()) == count
    assert all(adjusted >= np.asarray(p_values))


def test_a_fixed_sequence_stops_at_the_first_failure() -> None:
    assert fixed_sequence([0.01, 0.1, 0.11, 0.0], 0.1) == 2
    assert fixed_sequence([0.2, 0.0], 0.1) == 0
    assert fixed_sequence([0.0, 0.0], 0.1) == 2
    assert fixed_sequence([], 0.1) == 0
    assert fixed_sequence([math.nan, 0.0], 0.1) == 0


def test_the_sample_size_is_the_planned_formula() -> None:
    expected = (norm.ppf(0.9) + norm.ppf(0.8)) ** 2 * 0.1 / 0.02**2
    assert queries_needed(0.1, 0.02, 0.1) == math.ceil(expected)
    assert queries_needed(0.1, 0.02, 0.1, difference=-0.02) is None
    assert queries_needed(0.1, 0.02, 0.1, difference=0.01) < queries_needed(0.1, 0.02, 0.1)  # type: ignore[operator]


def test_a_sample_without_discordant_pairs_must_still_be_large_enough() -> None:
    n = queries_needed(0.0, 0.02, 0.1)
    assert n == 114
    assert tango([0] * n, 0.02, 0.1).passed
    assert not tango([0] * (n - 1), 0.02, 0.1).passed
    assert 0.98**n <= 0.1 < 0.98 ** (n - 1)
    strict = queries_needed(0.0, 0.02, 0.001)  # there the score test asks for more
    assert strict is not None
    assert tango([0] * strict, 0.02, 0.001).passed
    assert not tango([0] * (strict - 1), 0.02, 0.001).passed


def test_the_planned_sample_has_the_planned_power() -> None:
    n = queries_needed(0.1, 0.03, 0.1, power=0.8)
    assert n is not None
    counts = np.random.default_rng(5).multinomial(n, [0.05, 0.05, 0.9], 4000)
    z = [tango_z(Pairs(n, int(b), int(c)), -0.03) for b, c, _ in counts]
    assert np.mean(np.asarray(z) >= norm.ppf(0.9)) == pytest.approx(0.8, abs=0.03)
