"""Tango's score test and interval: published examples, brute force, laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.evals.statistics import Pairs, mcnemar, pairs_of, tango, tango_interval, tango_z
from cascade.evals.statistics.distributions import normal_quantile, normal_upper
from cascade.evals.statistics.paired import _null_losses, tango_p_value


@st.composite
def counts(draw: st.DrawFn, most: int = 300) -> Pairs:
    n = draw(st.integers(1, most))
    b = draw(st.integers(0, n))
    return Pairs(n, b, draw(st.integers(0, n - b)))


margins = st.floats(0.001, 0.5)


@pytest.mark.parametrize(
    ("pairs", "confidence", "low", "high", "digits"),
    [
        # Bentur 2009, airway hyper-responsiveness, and Cavo 2012, complete response: Fagerland,
        # Lydersen and Laake, "Recommended tests and confidence intervals for paired binomial
        # proportions" (2014) and "Statistical Analysis of Contingency Tables" (2017), chapter 8.
        (Pairs(21, 1, 7), 0.95, -0.517, -0.026, 3),
        (Pairs(161, 6, 16), 0.95, -0.1240, -0.0054, 4),
        # Agresti, "Introduction to Categorical Data Analysis", environmental opinions.
        (Pairs(1144, 132, 107), 0.95, -0.005, 0.048, 3),
        # PropCIs 0.3-0, scoreci.mp(25, 28, 618, 0.90).
        (Pairs(618, 28, 25), 0.90, -0.0148, 0.0247, 4),
    ],
)
def test_intervals_of_published_examples(
    pairs: Pairs, confidence: float, low: float, high: float, digits: int
) -> None:
    found = tango_interval(pairs, confidence)
    assert tuple(round(end, digits) for end in found) == (low, high)


def test_tangos_example_with_an_empty_cell() -> None:
    # 44 patients, 43 successes under both treatments and one under the reference only; margin 10 %.
    assert tango_z(Pairs(44, 0, 1), -0.1) == pytest.approx(1.709, abs=5e-4)


@given(counts(), st.floats(-0.4, 0.4))
def test_the_null_share_of_losses_is_the_most_likely_one(pairs: Pairs, d: float) -> None:
    low, high = max(0.0, -d), (1 - d) / 2
    q = low + (high - low) * np.linspace(1e-9, 1 - 1e-9, 20_001)
    both = pairs.n - pairs.b - pairs.c
    likelihood = pairs.b * np.log(q + d) + pairs.c * np.log(q)
    likelihood += both * np.log(np.maximum(1 - 2 * q - d, 1e-300))
    found = _null_losses(pairs, d)
    assert low - 1e-9 <= found <= high + 1e-9
    assert found == pytest.approx(float(q[likelihood.argmax()]), abs=(high - low) / 10_000)


def exact_size(n: int, eps: float, losses: float, alpha: float) -> float:
    """The chance of a pass on the border, summed over every outcome of n pairs."""
    gains, both = losses - eps, 1 - 2 * losses + eps
    total = 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            if tango_p_value(Pairs(n, b, c), eps)[1] <= alpha:
                ways = math.comb(n, b) * math.comb(n - b, c)
                total += ways * gains**b * losses**c * both ** (n - b - c)
    return total


@pytest.mark.parametrize("losses", [0.12, 0.15, 0.2, 0.3, 0.5])
@pytest.mark.parametrize("n", [60, 100])
def test_the_size_on_the_border_is_close_to_the_level(n: int, losses: float) -> None:
    assert 0.088 < exact_size(n, 0.1, losses, 0.1) < 0.112


def test_the_size_stays_close_where_the_candidate_never_gains() -> None:
    assert exact_size(60, 0.1, 0.1, 0.1) < 0.14
    assert exact_size(100, 0.1, 0.1, 0.1) < 0.12


@pytest.mark.parametrize(
    ("n", "most"),
    # As docs/statistics.md has it: it is highest where one loss more begins to pass.
    [(113, 0), (114, 0.0999), (166, 0.1534), (239, 0.1418), (438, 0.1285), (981, 0.118)],
)
def test_the_exact_chance_of_a_false_pass_of_two_points(n: int, most: float) -> None:
    losses = range(n + 1)
    passing = [c for c in losses if tango_p_value(Pairs(n, 0, c), 0.02)[1] <= 0.1]
    chance = sum(math.comb(n, c) * 0.02**c * 0.98 ** (n - c) for c in passing)
    assert chance == pytest.approx(most, abs=5e-5)


def test_cases_without_a_difference_prove_something_from_the_exact_number_on() -> None:
    # The score test alone passes 81 of them, with a chance of 0.98 ** 81 = 0.195 to be wrong.
    assert tango_z(Pairs(81, 0, 0), -0.02) > normal_quantile(0.9)
    assert 0.98**114 < 0.1 < 0.98**113
    for n, passed in ((81, False), (113, False), (114, True)):
        result = tango([0] * n, 0.02, 0.1)
        assert result.passed == passed
        assert result.p_value == pytest.approx(max(0.98**n, normal_upper(result.statistic)))
        assert result.lower == pytest.approx(0.1 ** (1 / n) - 1)


@given(st.integers(1, 300), st.integers(0, 20), st.integers(0, 20), margins)
def test_the_bound_and_the_test_agree(ties: int, gains: int, losses: int, eps: float) -> None:
    result = tango([0] * ties + [1] * gains + [-1] * losses, eps, 0.1)
    if abs(result.lower + eps) > 1e-6:
        assert result.passed == (result.lower > -eps)


@given(counts(), margins)
def test_more_gains_never_lower_the_statistic(pairs: Pairs, eps: float) -> None:
    if pairs.b + pairs.c < pairs.n:
        more = Pairs(pairs.n, pairs.b + 1, pairs.c)
        assert tango_z(more, -eps) >= tango_z(pairs, -eps) - 1e-9


@given(counts(), margins)
def test_more_losses_never_raise_the_statistic(pairs: Pairs, eps: float) -> None:
    if pairs.b + pairs.c < pairs.n:
        more = Pairs(pairs.n, pairs.b, pairs.c + 1)
        assert tango_z(more, -eps) <= tango_z(pairs, -eps) + 1e-9


@given(counts(), margins, margins)
def test_a_wider_margin_is_easier(pairs: Pairs, eps: float, more: float) -> None:
    assert tango_z(pairs, -min(eps + more, 0.99)) >= tango_z(pairs, -eps) - 1e-9


@given(counts(), margins, st.floats(0.1, 10))
def test_scaling_the_counts_scales_the_statistic(pairs: Pairs, eps: float, factor: float) -> None:
    scaled = Pairs(pairs.n * factor, pairs.b * factor, pairs.c * factor)
    expected = tango_z(pairs, -eps) * math.sqrt(factor)
    assert tango_z(scaled, -eps) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(counts(), st.floats(0.5, 0.999))
def test_swapping_the_sides_mirrors_the_interval(pairs: Pairs, confidence: float) -> None:
    low, high = tango_interval(pairs, confidence)
    mirrored = tango_interval(Pairs(pairs.n, pairs.c, pairs.b), confidence)
    assert mirrored == pytest.approx((-high, -low), abs=1e-6)


@given(counts(), st.floats(0.5, 0.99), margins)
def test_the_interval_and_the_test_agree(pairs: Pairs, confidence: float, eps: float) -> None:
    low, high = tango_interval(pairs, confidence)
    assert -1 <= low <= pairs.difference <= high <= 1
    passed = normal_upper(tango_z(pairs, -eps)) <= (1 - confidence) / 2
    if abs(low + eps) > 1e-6:
        assert passed == (low > -eps)


@given(counts())
def test_without_a_margin_it_is_mcnemars_score_test(pairs: Pairs) -> None:
    b, c = pairs.b, pairs.c
    expected = (b - c) / math.sqrt(b + c) if b + c else 0.0
    assert tango_z(pairs, 0.0) == pytest.approx(expected)


def test_no_discordant_pair() -> None:
    n, eps = 200, 0.02
    z = tango_z(Pairs(n, 0, 0), -eps)
    assert z == pytest.approx(math.sqrt(n * eps / (1 - eps)))
    # Wilson's interval of no event in n: the ends lie at z^2 / (n + z^2).
    low, high = tango_interval(Pairs(n, 0, 0))
    assert high == pytest.approx(3.8414588 / (n + 3.8414588), abs=1e-6)
    assert low == pytest.approx(-high, abs=1e-9)


def test_one_pair_and_all_discordant() -> None:
    assert tango_interval(Pairs(1, 0, 1))[0] == -1
    assert tango_interval(Pairs(1, 1, 0))[1] == 1
    # q = (1 - D) / 2 there, so the variance is n (1 - D^2).
    assert tango_z(Pairs(10, 0, 10), -0.1) == pytest.approx(-9 / math.sqrt(10 * 0.99))
    assert tango_z(Pairs(10, 10, 0), -0.1) == pytest.approx(11 / math.sqrt(10 * 0.99))
    assert tango_z(Pairs(10, 0, 10), -1.0) == 0.0
    assert tango_z(Pairs(10, 1, 9), -1.0) == math.inf


def test_the_test_as_a_whole() -> None:
    d = [0] * 940 + [1] * 30 + [-1] * 30
    result = tango(d, eps=0.02, alpha=0.1)
    assert (result.n, result.difference, result.method) == (1000, 0.0, "tango")
    assert result.passed
    assert result.lower == pytest.approx(tango_interval(Pairs(1000, 30, 30), 0.8)[0])
    assert not tango(d, eps=0.005, alpha=0.1).passed


def test_clusters_and_weights_of_no_effect_change_nothing() -> None:
    d = [0, 1, -1, 0, 0, 1, 0, 0, -1, 0]
    assert pairs_of(d) == Pairs(10, 2, 2)
    for pairs in (pairs_of(d, clusters=range(10)), pairs_of(d, weights=[3.0] * 10)):
        assert (pairs.n, pairs.b, pairs.c) == pytest.approx((10, 2, 2))


def test_queries_that_repeat_each_other_count_once() -> None:
    d = np.repeat([0, 1, -1, 0, 0, 1, 0, 0, -1, 0, 0, 0], 5)
    pairs = pairs_of(d, clusters=np.repeat(np.arange(12), 5))
    # 12 clusters of five copies are worth 12 queries, but for the 59/60 and 11/12 of the variances.
    assert pairs.n == pytest.approx(12 * (60 / 59) * (11 / 12))
    assert pairs.difference == pytest.approx(0.0)


def test_clusters_that_all_agree_count_once_each() -> None:
    assert pairs_of([0] * 60, clusters=["a"] * 30 + ["b"] * 15 + ["c"] * 15).n == pytest.approx(
        60**2 / (30**2 + 15**2 + 15**2)
    )


def test_one_cluster_is_worth_one_query() -> None:
    d = [1, 0, -1, 0]
    assert pairs_of(d, clusters=["a"] * 4).n == 1
    assert not tango(d, 0.5, 0.1, clusters=["a"] * 4).passed


def clustered(rng: np.random.Generator, groups: int, size: int) -> tuple[list[float], list[int]]:
    """Clusters whose queries share their luck, on the border of a margin of 10 %."""
    unlucky = rng.random(groups) < 0.2
    losses = np.where(unlucky, 0.45, 0.0625)[:, None]  # 0.14 on average, less gains of 0.04
    u = rng.random((groups, size))
    d = np.where(u < losses, -1.0, np.where(u > 0.96, 1.0, 0.0))
    return d.ravel().tolist(), np.repeat(np.arange(groups), size).tolist()


def test_the_level_holds_for_clusters_and_would_not_without_them() -> None:
    rng = np.random.default_rng(7)
    runs = 400
    robust = naive = 0
    for _ in range(runs):
        d, clusters = clustered(rng, 60, 15)
        robust += tango(d, 0.1, 0.1, clusters).passed
        naive += tango(d, 0.1, 0.1).passed
    assert robust / runs <= 0.1 + 3 * math.sqrt(0.09 / runs)
    assert naive / runs > 0.18


@pytest.mark.parametrize("pairs", [(0, 0, 0), (5, 3, 3), (5, -1, 1)])
def test_impossible_counts_are_refused(pairs: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="pairs cannot hold"):
        Pairs(*pairs)


def test_graded_outcomes_are_refused() -> None:
    with pytest.raises(ValueError, match='graded outcomes by "betting"'):
        tango([0.5, 0.0], 0.02, 0.1)


@pytest.mark.parametrize("eps", [-0.01, 1.0])
def test_a_margin_is_a_share(eps: float) -> None:
    with pytest.raises(ValueError, match="eps is a share"):
        tango([0, 1], eps, 0.1)


@pytest.mark.parametrize(
    ("b", "c", "exact", "mid_p"),
    [
        # Fagerland, Lydersen and Laake 2013 (Bentur 2009), and 2017 (Cavo 2012).
        (1, 7, 0.0703125, 0.0390625),
        (6, 16, 0.052479, 0.034690),
        (0, 0, 1.0, 0.5),
        (5, 5, 1.0, 1 - math.comb(10, 5) / 2**11),
    ],
)
def test_mcnemar_of_published_examples(b: int, c: int, exact: float, mid_p: float) -> None:
    assert mcnemar(b, c) == pytest.approx(exact, abs=5e-7)
    if b + c:
        assert mcnemar(b, c, mid_p=True) == pytest.approx(mid_p, abs=5e-7)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test(b: int, c: int) -> None:
    from scipy.stats import binomtest

    if b + c:
        assert mcnemar(b, c) == pytest.approx(binomtest(b, b + c).pvalue, rel=1e-6)
        worse = binomtest(b, b + c, alternative="less").pvalue
        assert mcnemar(b, c, alternative="worse") == pytest.approx(worse, rel=1e-6)
    assert mcnemar(b, c) == mcnemar(c, b)
    assert mcnemar(b, c, mid_p=True) <= mcnemar(b, c)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="are counts, and are -1 and 2"):
        mcnemar(-1, 2)
