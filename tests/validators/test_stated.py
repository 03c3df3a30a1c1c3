"""verbalised."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import Answer, Verdict
from cascade.validators import verbalised


def verdict(judged: Any, **options: Any) -> Verdict:
    return verbalised(**options).judge_inline(Answer(judged), Context())


@pytest.mark.parametrize(
    ("stated", "scale", "score"),
    [
        ("0.85", 1, 0.85),
        ("1", 1, 1.0),
        ("0", 1, 0.0),
        ("7", 10, 0.7),
        ("85", 100, 0.85),
        ("1", 100, 0.01),
        ('"85%"', 1, 0.85),
        ('" 85.5 % "', 10, 0.855),
        ('"0.3"', 1, 0.3),
        ('".3"', 1, 0.3),
    ],
)
def test_numbers_on_their_scale(stated: str, scale: int, score: float) -> None:
    found = verdict(f'{{"answer": 7, "confidence": {stated}}}', scale=scale)
    assert found.score == pytest.approx(score)


@pytest.mark.parametrize("stated", ["1.01", "85", "-0.1", '"101%"', "1e300", "9" * 400])
def test_out_of_range_abstains(stated: str) -> None:
    assert verdict(f'{{"confidence": {stated}}}').reason == "out_of_range"


@pytest.mark.parametrize(
    "stated", ['"high"', "true", "[0.5]", "{}", '""', '"0.5 or so"', '"%"', '"-0.5"', '"٥"']
)
def test_what_is_no_number_abstains(stated: str) -> None:
    assert verdict(f'{{"confidence": {stated}}}').reason == "not_a_number"


@pytest.mark.parametrize("text", ["0.9", '{"confidence": null}', '{"sure": 1}', "no json", None])
def test_not_stated_abstains(text: Any) -> None:
    assert verdict(text).reason == "not_stated"


def test_another_field() -> None:
    assert verdict('{"meta": {"sure": 0.4}}', field="$.meta.sure").score == 0.4


def test_a_plain_value_can_state_it() -> None:
    assert verdict({"confidence": 0.4}).score == 0.4
    assert verdict({"confidence": math.nan}).reason == "not_stated"  # it is no JSON


def test_words_have_the_scores_they_are_given() -> None:
    words = {"High": 0.9, "low": 0.2}
    assert verdict('{"confidence": " HIGH"}', words=words).score == 0.9
    assert verdict('{"confidence": "medium"}', words=words).reason == "not_a_number"
    assert verdict('{"confidence": 0.5}', words=words).score == 0.5


@pytest.mark.parametrize(
    ("pattern", "text", "score"),
    [
        (r"Confidence: (\S+)", "Paris.\nConfidence: 85%", 0.85),
        (r"[01]\.\d+", "first 0.2, then 0.7", 0.7),
        (r"sure: (\S+)", "sure: 0.1 ... sure: 0.6", 0.6),
    ],
)
def test_the_last_match_of_a_pattern(pattern: str, text: str, score: float) -> None:
    assert verdict(text, pattern=pattern).score == pytest.approx(score)


def test_only_the_end_of_a_text_is_searched() -> None:
    assert verdict("sure: 0.9" + " " * 4000, pattern=r"sure: (\S+)").reason == "not_stated"


def test_a_pattern_without_a_match_or_a_text_abstains() -> None:
    assert verdict("Paris", pattern=r"sure: (\S+)").reason == "not_stated"
    assert verdict(None, pattern=r"sure: (\S+)").reason == "not_stated"
    assert verdict("Paris", pattern=r"Paris(\d)?").reason == "not_stated"


@pytest.mark.parametrize(
    "options",
    [
        {"field": "a", "pattern": "b"},
        {"pattern": "("},
        {"pattern": 7},
        {"field": "a..b"},
        {"scale": 5},
        {"scale": "100"},
        {"words": ["high"]},
        {"words": {"high": 90}},
    ],
)
def test_options_that_do_not_fit_are_refused(options: Any) -> None:
    with pytest.raises(ConfigError, match="verbalised"):
        verbalised(**options)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["confidence", "a"]), inner, max_size=2)
    ),
)


@given(anything | st.text(alphabet='{}":%.0123456789 confidence'), st.sampled_from([1, 10, 100]))
def test_no_answer_breaks_it(value: Any, scale: int) -> None:
    for options in ({}, {"pattern": r"(\S+)"}):
        found = verdict(value, scale=scale, **options)
        assert not found.reason.startswith("crashed")
        assert found.reason != "score_out_of_range"
