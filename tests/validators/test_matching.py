from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import Answer
from cascade.validation import Validator
from cascade.validators.matching import contains, equals, length, one_of, regex


def judged(validator: Validator, answer: Any, context: Context | None = None) -> Any:
    return validator.judge_inline(Answer(answer), context or Context())


@pytest.mark.parametrize(
    ("validator", "text", "reason"),
    [
        (regex(r"\d+"), " 42\n", ""),
        (regex(r"\d+"), "42 apples", "no_match"),
        (regex(r"\d+", full=False), "42 apples", ""),
        (regex(r"yes|no", flags="i"), "YES", ""),
        (regex(r"^b$", flags="m", full=False), "a\nb\nc", ""),
        (one_of("yes", "no"), ' "Yes." ', ""),
        (one_of("yes", "no"), "yes and no", "not_a_choice"),
        (one_of("A", "a", case=True), "a", ""),
        (one_of("A", "B", case=True), "a", "not_a_choice"),
        (one_of(["C++", "C#"]), "**c++**", ""),
        (one_of(choices=["yes", "no"]), "no", ""),
        (one_of("a", strip=""), "a.", "not_a_choice"),
        (length(max_chars=3), "  abc  ", ""),
        (length(max_chars=3), "abcd", "too_long"),
        (length(min_words=2, max_words=3), "one", "too_short"),
        (length(min_words=2, max_words=3), "one two three", ""),
        (length(max_lines=2), "a\n\nb\n", ""),
        (length(max_lines=2), "a\nb\nc", "too_long"),
        (length(min_chars=1), "", "too_short"),
        (contains(all=["Invoice", "total"]), "INVOICE: total 3", ""),
        (contains(all=["invoice", "total"]), "invoice", "missing"),
        (contains(any=["a1", "b2"]), "has b2", ""),
        (contains(any=["a1", "b2"]), "has c3", "missing"),
        (contains(none="lorem"), "Lorem ipsum", "forbidden"),
        (contains(none="lorem", case=True), "Lorem ipsum", ""),
        (equals("Paris"), " Paris\n", ""),
        (equals("Paris"), "paris", "different"),
        (equals("Paris", case=False), "PARIS", ""),
    ],
    ids=[str(number) for number in range(28)],
)
def test_texts(validator: Validator, text: str, reason: str) -> None:
    verdict = judged(validator, text)
    assert (verdict.status, verdict.reason) == ("failed" if reason else "passed", reason)


ALL = [
    regex(r"(a|b)*c", full=False),
    one_of("yes", "no"),
    length(min_words=1, max_lines=3),
    contains(all=["x"], none=["y"]),
    equals("x", case=False),
    equals(argument="question").named("equals_argument"),
]


@pytest.mark.parametrize("validator", ALL, ids=lambda v: v.name)
def test_without_text_there_is_nothing_to_judge(validator: Validator) -> None:
    for value in (None, 3, ["yes"]):
        assert judged(validator, value).reason == "no_text"
        assert judged(validator, value).status == "abstained"


@given(st.text(st.characters()), st.sampled_from(ALL))
def test_no_text_breaks_them(text: str, validator: Validator) -> None:
    assert not judged(validator, text).reason.startswith("crashed")


def test_the_canonical_choice_is_the_value() -> None:
    assert judged(one_of("Yes", "No"), "*yes*").value == "Yes"
    assert "'Yes', 'No'" in judged(one_of("Yes", "No"), "maybe").feedback


def test_a_match_that_takes_too_long_abstains() -> None:
    verdict = judged(regex(r"(a|aa)+$", timeout_s=0.01), "a" * 50_000 + "b")
    assert (verdict.status, verdict.reason) == ("abstained", "timeout")


def test_feedback_names_what_is_missing() -> None:
    assert "'total'" in judged(contains(all=["total"]), "x").feedback
    assert "5 words" in judged(length(max_words=2), "a b c d e").feedback


def test_the_expected_text_may_be_an_argument_of_the_call() -> None:
    context = Context(kwargs={"gold": "Paris", "number": 3})
    assert judged(equals(argument="gold"), "Paris", context).status == "passed"
    assert judged(equals(argument="gold"), "Rome", context).status == "failed"
    for name in ("number", "nothing"):
        assert judged(equals(argument=name), "Paris", context).reason == "no_argument"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: regex(""), "give a regular expression"),
        (lambda: regex("("), "is wrong"),
        (lambda: regex("a", flags="q"), "flags='q'"),
        (lambda: regex("a", timeout_s=0), "timeout_s=0"),
        (lambda: one_of(), "no choices"),
        (lambda: one_of("a", "A"), "the same as another"),
        (lambda: one_of("..."), "is empty or"),
        (lambda: one_of(3), "is 3"),  # type: ignore[arg-type]
        (lambda: length(), "has no limit"),
        (lambda: length(min_chars=5, max_chars=4), "swap them"),
        (lambda: length(max_words=-1), "max_words=-1"),
        (lambda: contains(), "nothing to look for"),
        (lambda: contains(all=[""]), "not empty"),
        (lambda: equals(), "either"),
        (lambda: equals("a", argument="b"), "not both"),
        (lambda: equals(3), "expected is a int"),  # type: ignore[arg-type]
    ],
    ids=[str(number) for number in range(16)],
)
def test_options_are_checked_at_construction(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "regex", None)
    with pytest.raises(ConfigError, match=r'pip install "cascade-engine\[regex\]"'):
        regex("a")
