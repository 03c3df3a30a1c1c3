"""Reliability bins and calibration errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.evals.statistics import brier, calibration_error, reliability, wilson

answers = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80)


def test_bins_of_equal_width_by_hand() -> None:
    bins = reliability([0.05, 0.95, 0.9, 1.0, 0.5], [0, 1, 1, 0, 1])
    assert [(b.low, b.high, b.n) for b in bins] == [(0, 0.1, 1), (0.5, 0.6, 1), (0.9, 1.0, 3)]
    last = bins[-1]
    assert (last.stated, last.observed) == pytest.approx((0.95, 2 / 3))
    assert last.interval == pytest.approx(wilson(2, 3))
    expected = (0.05 + 0.5 + 3 * (0.95 - 2 / 3)) / 5
    assert calibration_error(bins) == pytest.approx(expected)


def test_adaptive_bins_hold_equally_many() -> None:
    p = np.random.default_rng(41).beta(20, 1, 1000)
    bins = reliability(p, p > 0.9, bins=8, adaptive=True)
    assert [b.n for b in bins] == [125] * 8


def test_equal_probabilities_are_never_parted() -> None:
    p = [0.9] * 70 + [0.2] * 30
    bins = reliability(p, [1] * 100, bins=10, adaptive=True)
    assert [b.n for b in bins] == [30, 70]
    assert [b.stated for b in bins] == pytest.approx([0.2, 0.9])


def test_honest_probabilities_have_a_small_error_and_bold_ones_a_large_one() -> None:
    rng = np.random.default_rng(42)
    p = rng.random(20_000)
    outcomes = rng.random(20_000) < p
    for adaptive in (False, True):
        assert calibration_error(reliability(p, outcomes, adaptive=adaptive)) < 0.02
        bold = np.where(p > 0.5, 0.99, 0.01)
        error = calibration_error(reliability(bold, outcomes, adaptive=adaptive))
        assert error == pytest.approx(0.24, abs=0.02)


@given(answers, st.integers(1, 20), st.booleans())
def test_bins_hold_every_answer_once(
    given_: list[tuple[float, bool]], count: int, adaptive: bool
) -> None:
    p, outcomes = [a for a, _ in given_], [b for _, b in given_]
    bins = reliability(p, outcomes, bins=count, adaptive=adaptive)
    assert sum(b.n for b in bins) == len(p)
    assert sum(b.weight for b in bins) == pytest.approx(1)
    assert all(b.low <= b.stated <= b.high + 1e-12 for b in bins)
    gap = abs(sum(p) - sum(outcomes)) / len(p)
    assert gap - 1e-9 <= calibration_error(bins) <= 1 + 1e-9


@given(answers)
def test_a_weight_of_two_is_two_answers(given_: list[tuple[float, bool]]) -> None:
    p, outcomes = [a for a, _ in given_], [float(b) for _, b in given_]
    weighted = reliability(p, outcomes, weights=[2.0] + [1.0] * (len(p) - 1))
    copied = reliability([p[0], *p], [outcomes[0], *outcomes])
    assert calibration_error(weighted) == pytest.approx(calibration_error(copied), abs=1e-9)


def test_the_brier_score() -> None:
    p, outcomes = [0.1, 0.8, 0.6], [0, 1, 0]
    assert brier(p, outcomes) == pytest.approx((0.01 + 0.04 + 0.36) / 3)


@pytest.mark.parametrize(
    ("p", "outcomes", "message"),
    [
        ([0.5], [1, 0], "1 probabilities for 2 outcomes"),
        ([1.5], [1], "lie between 0 and 1"),
        ([0.5], [-1], "lie between 0 and 1"),
    ],
)
def test_unfit_answers_are_refused(p: list[float], outcomes: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reliability(p, outcomes)
