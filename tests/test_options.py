from __future__ import annotations

import inspect
import math
from decimal import Decimal
from typing import Any

import pytest

from cascade import Cascade, ConfigError, Path, Tier
from cascade.options import (
    check_count,
    check_seconds,
    check_threshold,
    check_weight,
    named_options,
)

NO_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, 10**400, True, "1", Decimal(1), [1]]


@pytest.mark.parametrize("good", [None, 0.001, 1, 3600.0])
def test_a_time_is_seconds_above_zero_or_none(good: float | None) -> None:
    check_seconds("budget_s", good)


@pytest.mark.parametrize("bad", [*NO_NUMBERS, 0, -1.5])
def test_what_is_no_time_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigError, match=r"budget_s=.* is not a time; give seconds above 0"):
        check_seconds("budget_s", bad)


@pytest.mark.parametrize("good", [0, 0.5, 1, 1.0])
def test_a_threshold_is_a_score(good: float) -> None:
    check_threshold("x", good)


@pytest.mark.parametrize("bad", [*NO_NUMBERS, None, -0.01, 1.01, 62])
def test_what_is_no_score_is_no_threshold(bad: Any) -> None:
    with pytest.raises(ConfigError, match=r"the threshold of x is .*between 0 and 1"):
        check_threshold("x", bad)


@pytest.mark.parametrize("bad", [*NO_NUMBERS, None, 0, -2])
def test_what_is_no_weight_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigError, match=r"the weight of 'x' is .*above 0"):
        check_weight("'x'", bad)


@pytest.mark.parametrize("bad", [True, 1.0, "2", None, 0, -1])
def test_what_is_no_count_is_refused(bad: Any) -> None:
    check_count("reasks", 1, least=1)
    with pytest.raises(ConfigError, match=r"reasks=.* is not a whole number of 1 or more"):
        check_count("reasks", bad, least=1)


# To a type checker each of these is a mistake already; these are for the others.
AnyPath: Any = Path
AnyTier: Any = Tier
AnyCascade: Any = Cascade


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: AnyPath(budget=1), "Path has no option 'budget'; did you mean 'budget_s'?"),
        (lambda: AnyPath(1.0), "Path takes options by name; write budget_s=..."),
        (
            lambda: AnyTier("a", modle="openai:x"),
            "Tier has no option 'modle'; did you mean 'model'?",
        ),
        (lambda: AnyTier("a", "openai:x"), "Tier takes options by name; write model=..."),
        (lambda: AnyCascade([Tier("a")]), "Cascade takes options by name; write tiers=..."),
        (
            lambda: AnyCascade(tiers=[Tier("a")], validator=[]),
            "Cascade has no option 'validator'; did you mean 'validators'?",
        ),
    ],
)
def test_a_slip_of_an_option_is_answered_with_the_option(make: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == says


def test_options_keep_the_signature_they_had() -> None:
    def init(self: Any, name: str, *, size: int = 3) -> None:
        """What it takes."""

    checked = named_options(init)
    assert inspect.signature(checked) == inspect.signature(init)
    assert checked.__doc__ == "What it takes."
