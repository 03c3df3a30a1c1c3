from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.conditions import ANYTHING, COUNTS, NOTHING, Values, parse
from cascade.errors import ConfigError
from cascade.types import Fact

WORDS = st.sampled_from(["a", "b", "chat", "5"])
NUMBERS = st.integers(-3, 8)
FACTS: st.SearchStrategy[Fact] = st.one_of(
    WORDS, NUMBERS, st.sampled_from([0.5, 2.5, -0.5]), st.booleans(), st.none()
)
SIGNS = st.sampled_from(["<", "<=", ">", ">="])
COMPARISONS = st.builds("{}{}".format, SIGNS, NUMBERS)
PLAIN = st.one_of(
    FACTS,
    COMPARISONS,
    st.builds("{} and {}".format, COMPARISONS, COMPARISONS),
    st.builds("!={}".format, st.one_of(WORDS, NUMBERS)),
)
CONDITIONS: st.SearchStrategy[Any] = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3), st.fixed_dictionaries({"not": inner})
    ),
    max_leaves=5,
)


def sets() -> st.SearchStrategy[Values]:
    def parsed(condition: Any) -> Values:
        try:
            return parse("x", condition)
        except ConfigError:
            return NOTHING

    return st.builds(parsed, CONDITIONS)


@pytest.mark.parametrize(
    ("condition", "met", "not_met"),
    [
        ("chat", ["chat"], ["Chat", None, 5, True]),
        (5, [5, 5.0], ["5", True, None, 5.1]),
        (1, [1], [True]),
        (True, [True], [1, "true", False, None]),
        (None, [None], ["", 0, False]),
        (">8000", [8001, 8000.5], [8000, "9000", None, True]),
        (">=8000", [8000], [7999]),
        ("<3", [2, -5], [3, None]),
        (" <= 3 ", [3], [4]),
        (">100 and <=8000", [101, 8000], [100, 8001]),
        ("!=chat", ["lookup", 5, False], ["chat", None]),
        ("!=5", ["chat", 6], [5, 5.0, "5", None]),
        (["a", ">5", None], ["a", 6, None], ["b", 5]),
        ({"not": ["a", "b"]}, ["c", 5], ["a", "b", None]),
        ({"not": ">5"}, [5, "a"], [6, None]),
        ({"unknown": True}, [None], ["a", 0]),
        ({"unknown": False}, ["a", 0, False], [None]),
        ([True, 7], [True, 7], [False, 1]),
    ],
)
def test_conditions_say_which_values_meet_them(
    condition: Any, met: list[Fact], not_met: list[Fact]
) -> None:
    values = parse("x", condition)
    assert [fact for fact in met if fact not in values] == []
    assert [fact for fact in not_met if fact in values] == []


@given(sets(), sets(), FACTS)
def test_sets_are_what_their_members_say(a: Values, b: Values, fact: Fact) -> None:
    assert (fact in (a | b)) == (fact in a or fact in b)
    assert (fact in (a & b)) == (fact in a and fact in b)
    assert (fact in ~a) == (fact is not None and fact not in a)
    assert fact in ANYTHING
    assert fact not in NOTHING


@given(sets(), sets(), FACTS)
def test_within_means_that_no_value_is_outside(a: Values, b: Values, fact: Fact) -> None:
    if a <= b:
        assert fact not in a or fact in b
    assert a <= a | b
    assert a & b <= a
    assert (a & b <= NOTHING) == (a & b).is_empty


@given(sets(), sets(), st.integers(0, 20))
def test_whole_numbers_are_kept_and_told_apart(a: Values, b: Values, count: int) -> None:
    whole = (a & COUNTS).whole()
    assert (count in whole) == (count in a)
    both = ((a | b) & COUNTS).whole()
    counts = range(30)
    if all(n in b for n in counts if n in a) and math.inf not in [i[2] for i in a.numbers]:
        assert Values(whole.numbers) <= both


def test_whole_numbers_side_by_side_are_one_interval() -> None:
    assert parse("x", [1, 2, ">=3 and <5", ">4"]).whole() == parse("x", ">0").whole()
    assert parse("x", ">5 and <6").whole().is_empty
    assert parse("x", ">5 and <7").whole() == parse("x", 6)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (">8k", "'8k', which is no number"),
        ("> 5 or < 3", "is no comparison"),
        ("==5", "is no comparison"),
        (">inf", "which is no number"),
        ([], "an empty list"),
        (object(), "a object is no condition"),
        ({"not": 1, "or": 2}, "a table of not, or"),
        ({"unknown": "yes"}, "a table of unknown"),
        (math.inf, "inf is not a number"),
    ],
)
def test_what_is_no_condition_says_so(condition: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse("rule 'x': chars", condition)
