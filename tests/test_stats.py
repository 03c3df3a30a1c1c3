from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.stats import quantile, wilson


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    trials = draw(st.integers(1, 10_000))
    return draw(st.integers(0, trials)), trials


def test_wilson_matches_a_published_example() -> None:
    # Newcombe, Statistics in Medicine 17, 1998, table I, method 3: 81 of 263.
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_wilson_of_no_success_starts_at_zero() -> None:
    # The same table: 0 of 20.
    low, high = wilson(0, 20)
    assert low == 0
    assert round(high, 4) == 0.1611


def test_wilson_without_trials_knows_nothing() -> None:
    assert wilson(0, 0) == (0, 1)


@given(counts())
def test_wilson_holds_the_share_and_stays_a_share(count: tuple[int, int]) -> None:
    successes, trials = count
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1


@given(counts())
def test_wilson_of_failures_is_the_mirror_image(count: tuple[int, int]) -> None:
    successes, trials = count
    low, high = wilson(successes, trials)
    assert wilson(trials - successes, trials) == pytest.approx((1 - high, 1 - low))


@given(counts())
def test_wilson_grows_with_confidence(count: tuple[int, int]) -> None:
    narrow, wide = wilson(*count, confidence=0.8), wilson(*count, confidence=0.99)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3)])
def test_wilson_refuses_what_is_no_share(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(successes, trials)


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_wilson_refuses_a_confidence_that_is_none(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, confidence)


def test_a_quantile_is_the_nearest_rank() -> None:
    values = [float(value) for value in range(20, 0, -1)]
    assert [quantile(values, q) for q in (0, 0.05, 0.5, 0.95, 0.951, 1)] == [1, 1, 10, 19, 20, 20]


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1),
    st.integers(0, 100),
)
def test_a_quantile_is_the_least_value_that_covers_its_share(
    values: list[float], percent: int
) -> None:
    found = quantile(values, percent / 100)
    assert found in values
    covered = Fraction(sum(value <= found for value in values), len(values))
    below = Fraction(sum(value < found for value in values), len(values))
    assert covered >= Fraction(percent, 100)
    assert below < Fraction(percent, 100) or found == min(values)


def test_no_values_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


@pytest.mark.parametrize("q", [-0.1, 1.1])
def test_a_quantile_lies_between_0_and_1(q: float) -> None:
    with pytest.raises(ValueError, match="must be 0 to 1"):
        quantile([1.0], q)
