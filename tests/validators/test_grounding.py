from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.tier import Tier
from cascade.types import Answer, Request, Verdict
from cascade.validation import Validator
from cascade.validators import grounded, numbers_from_context

FOX = "The quick brown fox jumps over the lazy dog, said the old man."
SALES = (
    "In 2024 we sold 1,234.50 units at $12.99 (12%), which is 2.5 million EUR on 5 March 2024; "
    "three men, twenty-five women. Ref ORD-2024-001, 1 234 567 km, 3k steps, ratio 0.125."
)


def judged(validator: Validator, text: str | None, context: Context | None = None) -> Verdict:
    return validator.judge_inline(Answer(None, text=text), context or Context())


async def summarise(tier: Tier, document: Any, style: str = "of 7 lines") -> str:
    return "not called"


def called_with(document: Any, request: Request | None = None) -> Context:
    """The context of a call `summarise(document)`."""
    return Context(Tier("small"), request, (document,), call=summarise)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("The quick brown fox jumps.", 1.0),
        ("the QUICK, brown: fox", 1.0),
        ("quick brown cats", 0.5),
        ("quick brown quick brown cats", 1 / 3),  # quick-brown once; brown-quick, brown-cats
        ("Nothing of it", 0.0),
    ],
)
def test_the_score_is_the_share_of_known_ngrams(text: str, share: float) -> None:
    verdict = judged(grounded(FOX), text)
    assert verdict.status == "abstained"
    assert verdict.score == pytest.approx(share)


def test_the_threshold_decides() -> None:
    validator = grounded(FOX, quotes=False)
    assert judged(validator.at(0.5), "quick brown cats").status == "passed"
    verdict = judged(validator.at(0.6), "quick brown cats")
    assert (verdict.status, verdict.reason) == ("failed", "below_threshold")
    assert "50%" in (verdict.feedback or "")


@pytest.mark.parametrize(
    "text",
    [
        'He wrote "quick brown fox".',
        "He wrote “Quick, brown fox”.",
        "Er schrieb „quick brown fox“.",
        "Il écrit « quick brown fox ».",
        'He wrote "The quick … the lazy dog […] old man".',
        'The "green cat" is no quotation.',
    ],
)
def test_true_quotations_pass(text: str) -> None:
    assert judged(grounded(FOX).at(0.0), text).status == "passed"


@pytest.mark.parametrize(
    "text",
    [
        'He wrote "the quick brown cat".',
        "He wrote “the old man said”.",
        "Er schrieb „ein schneller brauner Fuchs“.",
        "Il écrit « le renard brun ».",
        "彼は「素早い狐」と書いた。",
        'He wrote "the quick … green dog".',
    ],
)
def test_an_invented_quotation_fails_whatever_the_score(text: str) -> None:
    verdict = judged(grounded(FOX).at(0.0), text)
    assert (verdict.status, verdict.reason) == ("failed", "unknown_quote")
    assert "The source does not say" in (verdict.feedback or "")
    assert judged(grounded(FOX, quotes=False).at(0.0), text).status == "passed"


def test_the_least_length_of_a_quotation_can_be_set() -> None:
    text = 'The "green cat" jumps.'
    assert judged(grounded(FOX, min_quote_words=2), text).reason == "unknown_quote"


def test_scripts_without_spaces_go_by_characters() -> None:
    validator = grounded("您的订单已经发货")
    assert judged(validator, "订单已经发货").score == 1.0
    assert judged(validator, "订单取消").score == pytest.approx(1 / 3)


def test_of_json_the_values_are_judged() -> None:
    answer = '{"animal_name": "quick brown fox", "where": ["over the lazy dog"]}'
    score = judged(grounded(FOX), answer).score
    assert score == pytest.approx(5 / 6)  # fox-over stands between two values
    assert judged(numbers_from_context("5 apples"), '{"field_12": 5}').status == "passed"
    assert judged(numbers_from_context("5 apples"), '{"field_12": 6}').status == "failed"


def test_what_cannot_be_compared_abstains() -> None:
    assert judged(grounded(FOX), None).reason == "no_text"
    assert judged(grounded(FOX), "fox").reason == "too_short"
    assert judged(grounded(), "The quick fox").reason == "no_source"
    many = " ".join(f'"one two {number}"' for number in range(201))
    assert judged(grounded(FOX), many).reason == "too_many_quotes"
    assert judged(numbers_from_context(), "5").reason == "no_source"
    assert judged(numbers_from_context("5"), " ").reason == "no_text"


def test_by_default_the_source_is_what_the_model_was_told() -> None:
    request = Request(
        [
            {"role": "system", "content": "The limit is 10."},
            {"role": "assistant", "content": "It is 11."},
            {"role": "user", "content": [{"type": "text", "text": "Is it 12?"}, {"type": "image"}]},
            {"role": "tool", "content": "13"},
            {
                "role": "user",
                "content": [{"type": "tool_result", "content": [{"type": "text", "text": "14"}]}],
            },
            {"role": "user", "content": None},
        ]
    )
    context = Context(request=request)
    for number, status in (
        (10, "passed"),
        (11, "failed"),
        (12, "passed"),
        (13, "passed"),
        (14, "passed"),
    ):
        assert judged(numbers_from_context(), f"It is {number}.", context).status == status


@pytest.mark.parametrize(
    "document",
    [
        "5 apples on 2024-03-01",
        ["5 apples", {"day": date(2024, 3, 1)}],
        {"apples": 5, "days": ("2024", {3}, 1.0)},
    ],
)
def test_an_argument_can_be_the_source(document: Any) -> None:
    validator = numbers_from_context(argument="document")
    context = called_with(document, Request("9 pears"))
    assert judged(validator, "5, 2024, 3, 1", context).status == "passed"
    assert (
        judged(validator, "9 pears", called_with(document, Request("9 pears"))).status == "failed"
    )


def test_other_arguments_can_be_the_source_too() -> None:
    assert judged(numbers_from_context(argument="style"), "7", called_with("x")).status == "passed"
    absent = judged(numbers_from_context(argument="documnet"), "7", called_with("7"))
    assert absent.reason == "no_source"
    circle: list[Any] = ["7", 10**5000]
    circle.append(circle)
    validator = numbers_from_context(argument="document")
    assert judged(validator, "7", called_with(circle)).status == "passed"
    assert judged(validator, "7", called_with(object())).reason == "no_source"


def test_a_function_can_give_the_source() -> None:
    validator = grounded(lambda context: [context.args[0], "and a dog"])
    assert judged(validator, "quick fox and a dog", called_with("quick fox")).score == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "1.234,50",
        "1234.5",
        "$1'234.50",
        "12 %",
        "0.12",
        "12.5%",
        "EUR 2,500,000",
        "2.5M",
        "2,5 Millionen",
        "2024-03-05",
        "05.03.2024",
        "5/3/2024",
        "3 men and 25 women",
        "1234567",
        "1,234,567",
        "12,34,567",
        "3,000",
        "3e3",
        "٣",
        "-12.99",
        "No numbers at all.",
        "8. A point\n- 9) Another\n**10.** One more",
    ],
)
def test_known_numbers_pass(text: str) -> None:
    assert judged(numbers_from_context(SALES), text).status == "passed"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("99", "99"),
        ("It is 13%.", "13%"),
        ("1,234.51", "1,234.51"),
        ("12.99 million", "12.99 million"),
        ("ORD-2024-002", "002"),
        ("2024-04-05", "04"),
        ("1234.5.7", "1234.5.7"),
        ("12,99.7,2", "12,99.7,2"),
        ("3m", ""),
    ],
)
def test_unknown_numbers_fail_and_are_named(text: str, named: str) -> None:
    verdict = judged(numbers_from_context("3 " + SALES if not named else SALES), text)
    if not named:  # m may be metres
        assert verdict.status == "passed"
        return
    assert (verdict.status, verdict.reason) == ("failed", "unknown_number")
    assert f"source: {named}." in (verdict.feedback or "")


def test_the_score_is_the_share_that_is_known() -> None:
    verdict = judged(numbers_from_context("1 2 3"), "1, 2, 3, 4, 4")
    assert verdict.score == pytest.approx(0.75)
    many = judged(numbers_from_context("1"), ", ".join(map(str, range(10, 18))))
    assert "14 and 3 more" in (many.feedback or "")


def test_a_month_counts_beside_a_number_only() -> None:
    assert judged(numbers_from_context("On May 7 it may rain"), "5/7").status == "passed"
    assert judged(numbers_from_context("On the 7th it may rain"), "5/7").status == "failed"


def test_tolerance_allows_rounding() -> None:
    rounding = numbers_from_context("1,234,567 of 0.333", tolerance=0.005)
    for text, status in (
        ("1.23 million", "passed"),
        ("0.33", "failed"),
        ("1.25 million", "failed"),
    ):
        assert judged(rounding, text).status == status


def test_numbers_can_be_allowed() -> None:
    validator = numbers_from_context("5", allow=[24, "3.5%"], ignore_up_to=3)
    for text, status in (
        ("24", "passed"),
        ("24.0", "passed"),
        ("3.5 %", "passed"),
        ("0 to 3", "passed"),
        ("4", "failed"),
        ("2.5", "failed"),
    ):
        assert judged(validator, text).status == status


@given(st.decimals(min_value=0, max_value=10**12, places=2))
def test_every_usual_way_of_writing_a_number_is_known(number: Any) -> None:
    validator = numbers_from_context(f"It is {number} in all.")
    english = f"{number:,.2f}"
    german = english.translate(str.maketrans(",.", ".,"))
    for written in (english, german, english.replace(",", "'"), english.replace(",", "\u202f")):
        assert judged(validator, written).status == "passed"


@given(st.text(max_size=200))
def test_a_text_is_grounded_in_itself(text: str) -> None:
    verdict = judged(
        grounded(), text, Context(request=Request([{"role": "user", "content": text}]))
    )
    assert verdict.score in (None, 1.0)
    assert verdict.status == "abstained"


@given(st.text(alphabet="0123456789.,' %kMm", max_size=40))
def test_the_numbers_of_a_text_are_in_itself(text: str) -> None:
    context = Context(request=Request([{"role": "user", "content": text}]))
    assert judged(numbers_from_context(), f"So: {text}", context).status != "failed"


def test_options_are_checked() -> None:
    wrong_ones: list[Callable[[], object]] = [
        lambda: grounded(FOX, argument="document"),
        lambda: grounded(" "),
        lambda: grounded(5),  # type: ignore[arg-type]
        lambda: grounded(argument=""),
        lambda: grounded(FOX, ngram=0),
        lambda: grounded(FOX, min_quote_words=0),
        lambda: numbers_from_context(FOX, allow="24"),
        lambda: numbers_from_context(FOX, allow=["many"]),
        lambda: numbers_from_context(FOX, allow=[True]),
        lambda: numbers_from_context(FOX, tolerance=1),
        lambda: numbers_from_context(FOX, tolerance=float("nan")),
        lambda: numbers_from_context(FOX, ignore_up_to=-1),
    ]
    for wrong in wrong_ones:
        with pytest.raises(ConfigError):
            wrong()
