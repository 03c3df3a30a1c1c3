"""The betting test and bound: exact by enumeration, by simulation, and strong enough to use."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cascade.evals.statistics import Pairs, betting, mean_lower_bound, tango_z
from cascade.evals.statistics.betting import betting_capital, highest_capital

RUNS = 4000
# A share of 4,000 runs lies within four standard errors of the level but once in 30,000 times.
SLACK = 4 * np.sqrt(0.1 * 0.9 / RUNS)


def differences(
    rng: np.random.Generator, n: int, gains: float, losses: float
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    u = rng.random((n, RUNS))
    return np.where(u < gains, 1.0, np.where(u < gains + losses, -1.0, 0.0))


@pytest.mark.parametrize("gains", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_every_outcome_of_few_queries_together(gains: float, alpha: float) -> None:
    """The exact chance of a false pass at n = 8, summed over all 3^8 samples."""
    eps, n = 0.4, 8
    losses = gains + eps
    outcomes = np.array(list(product((1.0, 0.5, 0.0), repeat=n)))
    chance = np.where(outcomes == 1, gains, np.where(outcomes == 0, losses, 1 - gains - losses))
    capital = highest_capital(outcomes.T, (1 - eps) / 2, alpha)
    assert chance.prod(axis=1).sum() == pytest.approx(1)
    assert chance.prod(axis=1) @ (capital >= 1 / alpha) <= alpha + 1e-12


@pytest.mark.parametrize(
    ("n", "gains", "losses"), [(100, 0.0, 0.02), (400, 0.03, 0.05), (400, 0.2, 0.22)]
)
def test_false_passes_stay_below_the_level(n: int, gains: float, losses: float) -> None:
    d = differences(np.random.default_rng(11), n, gains, losses)
    capital = highest_capital((d + 1) / 2, 0.49, 0.1)
    assert np.mean(capital >= 10) <= 0.1 + SLACK


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (10, 30), (0.05, 1.0)])
def test_false_passes_stay_below_the_level_for_graded_values(a: float, b: float) -> None:
    x = np.random.default_rng(12).beta(a, b, (200, RUNS))
    assert np.mean(highest_capital(x, a / (a + b), 0.1) >= 10) <= 0.1 + SLACK


@pytest.mark.parametrize("n", [50, 200])
def test_rare_heavy_losses_fool_the_t_test_and_not_the_bets(n: int) -> None:
    """A cheap tier that is worthless in 2.2 % of answers, and so 2 points worse."""
    rng = np.random.default_rng(n)
    d = np.where(rng.random((n, RUNS)) < 0.02 / 0.9, -0.9, rng.normal(0, 0.01, (n, RUNS)))
    assert (betting_capital(d, 0.02, 0.1) >= 10).mean() <= 0.1 + SLACK
    t = (d.mean(axis=0) + 0.02) / (d.std(axis=0, ddof=1) / np.sqrt(n))
    assert (t >= stats.t.ppf(0.9, n - 1)).mean() > 0.17


def test_false_passes_stay_below_the_level_with_weights_that_go_with_the_values() -> None:
    rng = np.random.default_rng(13)
    heavy = rng.random((300, RUNS)) < 0.5
    x = (rng.random((300, RUNS)) < np.where(heavy, 0.3, 0.6)).astype(float)
    # Null hypothesis E[w (x - m)] = 0 with weights 1 and 1/4: m = 0.36. One column at a time.
    passed = 0
    for run in range(400):
        w = np.where(heavy[:, run], 1.0, 0.25)
        passed += highest_capital(x[:, run : run + 1], 0.36, 0.1, w)[0] >= 10
    assert passed / 400 <= 0.1 + 4 * np.sqrt(0.09 / 400)


def test_the_bets_have_almost_the_power_of_the_score_test() -> None:
    n = 1600
    d = differences(np.random.default_rng(14), n, 0.075, 0.075)
    passed = np.mean(highest_capital((d + 1) / 2, 0.49, 0.1) >= 10)
    counts = zip((d > 0).sum(axis=0), (d < 0).sum(axis=0), strict=True)
    score = np.mean([tango_z(Pairs(n, int(b), int(c)), -0.02) >= 1.2816 for b, c in counts])
    assert score - 0.06 < passed <= score


@pytest.mark.parametrize("mean", [0.1, 0.5, 0.93])
def test_the_lower_bound_is_rarely_too_high_and_close_below(mean: float) -> None:
    rng = np.random.default_rng(15)
    bounds = [
        mean_lower_bound((rng.random(400) < mean).astype(float), 0.1, resolution=200)
        for _ in range(100)
    ]
    assert np.mean(np.asarray(bounds) > mean) <= 0.1 + 4 * np.sqrt(0.09 / 100)
    error = np.sqrt(mean * (1 - mean) / 400)
    assert np.mean(bounds) > mean - 2.2 * error - 1 / 200


@settings(max_examples=25)
@given(st.lists(st.sampled_from((-1.0, 0.0, 0.0, 0.0, 1.0)), min_size=50, max_size=200))
def test_the_bound_and_the_test_agree(d: list[float]) -> None:
    result = betting(d, eps=0.2, alpha=0.1)
    assert result.lower <= result.difference + 1e-9
    if abs(result.lower + 0.2) > 0.004:
        assert result.passed == (result.lower > -0.2)
    assert result.p_value == pytest.approx(1 / result.statistic)


def test_the_order_of_the_file_is_not_the_order_of_the_bets() -> None:
    mixed = np.random.default_rng(16).permutation([1.0] * 10 + [0.0] * 380 + [-1.0] * 10)
    last = np.sort(mixed)[::-1]
    assert betting(last, 0.05, 0.1).passed
    assert betting(mixed, 0.05, 0.1).passed


def test_copies_of_a_query_count_once() -> None:
    d = np.random.default_rng(17).permutation([1.0] * 5 + [0.0] * 190 + [-1.0] * 5)
    once = betting(d, 0.04, 0.1)
    copies = betting(np.repeat(d, 4), 0.04, 0.1, clusters=np.repeat(np.arange(200), 4))
    assert copies.statistic == pytest.approx(once.statistic)
    assert copies.lower == pytest.approx(once.lower)
    assert betting(d, 0.04, 0.1, weights=[7.0] * 200).statistic == pytest.approx(once.statistic)


def test_nothing_but_agreement_needs_some_hundred_queries() -> None:
    assert not betting([0.0] * 100, 0.02, 0.1).passed
    assert betting([0.0] * 200, 0.02, 0.1).passed
    assert betting([1.0] * 60, 0.02, 0.1).lower > 0.85


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_values_out_of_range_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_lower_bound([0.5, value], 0.1)
    with pytest.raises(ValueError, match="between -1 and 1"):
        betting([0.5, value + np.sign(value)], 0.02, 0.1)
