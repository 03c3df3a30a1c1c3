"""What of two answers is compared, and how."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import UNSET, Answer
from cascade.validators._compare import comparison, last_number, normalised, same_json


def agree(one: Any, other: Any, compare: Any, field: str | None = None, tol: float = 0.0) -> bool:
    by = comparison("test", compare, field, tol)
    return bool(by.same(by.read(Answer(one), Context()), by.read(Answer(other), Context())))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("a", "a", True), ("a", "A", False), ("a", "a ", False), (1, 1, True), ({"a": 1}, {}, False)],
)
def test_exact(one: Any, other: Any, same: bool) -> None:
    assert agree(one, other, "exact") is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Paris.", "paris", True),
        ('"Paris"', "**Paris**", True),
        ("New\n  York", "new york", True),
        ("Straße", "STRASSE", True),
        ("ＡＢＣ", "abc", True),
        ("-5", "5", False),
        (".5", "5", False),
        ("1.5", "15", False),
        ("Paris", "London", False),
        (7, 7.0, True),
    ],
)
def test_normalised(one: Any, other: Any, same: bool) -> None:
    assert agree(one, other, "normalised") is same


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The total is 1,234.50 EUR.", "1234.50"),
        ("3 + 4 = 7", "7"),
        ("-12", "-12"),
        ("it fell by 10-12", "12"),
        ("room A-12", "12"),
        ("1.5e3", "1500"),
        (".5", "0.5"),
        ("5.", "5"),
        ("x2", "2"),
        ("1,23", "23"),
        ("1" * 150, "1" * 150),
        (0.1, "0.1"),
        (3, "3"),
    ],
)
def test_the_last_number(text: Any, number: str) -> None:
    assert same_json(last_number(text), Decimal(number))


@pytest.mark.parametrize("value", ["no number", "", "٣", None, True, math.nan, math.inf, [1], {}])
def test_what_is_no_number(value: Any) -> None:
    assert last_number(value) is UNSET


@given(st.text())
def test_any_text_has_a_last_number_or_none(text: str) -> None:
    found = last_number(text)
    assert (found is UNSET) == (not any(digit in text for digit in "0123456789"))


@given(st.integers(-(10**12), 10**12))
def test_a_number_is_found_at_the_end_of_a_text(number: int) -> None:
    assert last_number(f"After 3 steps: {number:,}.") == number


@pytest.mark.parametrize(
    ("one", "other", "tolerance", "same"),
    [
        ("100", "100.5", 0.01, True),
        ("100", "102", 0.01, False),
        ("0", "0.0", 0, True),
        ("0", "1e-9", 0.5, False),
        ("-100", "100", 0.5, False),
        ("9007199254740993", "9007199254740992", 0, False),
        ("1e999", "9e999", 0.1, False),
    ],
)
def test_numeric_tolerance(one: str, other: str, tolerance: float, same: bool) -> None:
    assert agree(one, other, "numeric", tol=tolerance) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1, "b": [true]}', '{"b": [true], "a": 1.0}', True),
        ('{"a": 1}', '{"a": true}', False),
        ("[0]", "[false]", False),
        ("[1, 2]", "[2, 1]", False),
        ("[1]", "[1, 1]", False),
        ('{"a": null}', "{}", False),
        ('```json\n{"a": 1}\n```', 'Here: {"a": 1}', True),
        ({"a": 0.1}, '{"a": 0.1}', True),
    ],
)
def test_json(one: Any, other: Any, same: bool) -> None:
    assert agree(one, other, "json") is same


def test_json_with_tolerance() -> None:
    assert agree('{"total": 100}', '{"total": 100.5}', "json", tol=0.01)
    assert not agree('{"total": 100}', '{"total": 103}', "json", tol=0.01)


def test_one_field_alone() -> None:
    one, other = '{"city": "Paris", "why": "x"}', '{"city": "PARIS ", "why": "y"}'
    assert agree(one, other, "normalised", field="$.city")
    assert not agree(one, other, "exact", field="$.city")
    assert agree('{"n": "12 EUR"}', '{"n": 12}', "numeric", field="n")


def test_a_function_gets_the_values() -> None:
    def same_length(one: str, other: str) -> bool:
        return len(one) == len(other)

    assert agree("abc", "xyz", same_length)
    assert agree('{"a": "12"}', '{"a": "ab", "b": 1}', same_length, field="a")


@pytest.mark.parametrize("compare", ["exact", "normalised", "numeric", "json", lambda a, b: True])
def test_without_anything_to_compare_it_reads_unset(compare: Any) -> None:
    by = comparison("test", compare, None, 0.0)
    assert by.read(Answer(None), Context()) is UNSET
    with_field = comparison("test", compare, "a", 0.0)
    assert with_field.read(Answer("no json"), Context()) is UNSET
    assert with_field.suffix == "_a"


async def asks(one: str, other: str) -> bool:
    return one == other


@pytest.mark.parametrize(
    "options",
    [
        ("fuzzy", None, 0.0),
        (asks, None, 0.0),
        (7, None, 0.0),
        ("exact", None, 0.1),
        ("numeric", None, 1.0),
        ("numeric", None, -0.1),
        ("numeric", None, math.nan),
        ("numeric", None, True),
        ("json", "a..b", 0.0),
    ],
)
def test_options_that_do_not_fit_are_refused(options: Any) -> None:
    with pytest.raises(ConfigError, match="test"):
        comparison("test", *options)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(values, values)
def test_equality_is_reflexive_symmetric_and_that_of_the_written_json(one: Any, other: Any) -> None:
    assert same_json(one, one)
    assert same_json(one, other) == same_json(other, one)
    if json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True):
        assert same_json(one, other)


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
