"""What holds of every validator that judges text, whatever the answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.context import Context
from cascade.registry import build
from cascade.types import Answer, Request, ToolCall, Verdict
from cascade.validation import Validator
from cascade.validators import (
    grounded,
    language,
    no_secrets,
    not_refusal,
    numbers_from_context,
    python_parses,
    sql_parses,
)

OPTIONS: dict[str, dict[str, Any]] = {
    "not_refusal": {"phrases": ["out of scope"], "field": "answer"},
    "language": {"expected": ["en", "de"], "candidates": ["fr"], "min_chars": 3},
    "python_parses": {"max_chars": 1000},
    "sql_parses": {"dialect": "mysql", "roots": ["select"], "max_chars": 1000},
    "grounded": {
        "argument": "document",
        "ngram": 3,
        "quotes": True,
        "min_quote_words": 2,
        "at": 0.5,
    },
    "numbers_from_context": {"source": "1 2 3", "allow": [4], "tolerance": 0.1, "ignore_up_to": 1},
    "no_secrets": {"kinds": ["jwt", "card_number"]},
}
VALIDATORS: list[Validator] = [
    not_refusal(),
    language("en"),
    language("en", min_chars=1),
    python_parses(),
    sql_parses(),
    sql_parses("mysql", roots=["insert"]),
    grounded(),
    grounded("a b c", ngram=1),
    numbers_from_context(),
    numbers_from_context("1 2", tolerance=0.1),
    no_secrets(),
    no_secrets(kinds=["card_number", "password"]),
]

# Pieces that the validators look for, so that random text meets their inner parts.
PIECES = st.sampled_from(
    [
        *"``` ```python\n ~~~ { } [ ] \" “ ” « » ' ... 1,2 1.234,5 9e999 1e-999 ٣ ² % k".split(" "),
        *"sk- eyJ AKIA :// @ = password= select delete ( ) ; -- /* \ud800 \0 \u202e".split(" "),
        *("\u3000", "I can't ", "help with", "Sorry, ", "我无法提供"),
    ]
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.lists(PIECES, max_size=30).map(" ".join),
    st.lists(PIECES, max_size=30).map("".join),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.floats(), st.integers(), TEXTS, st.binary(max_size=5)),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(TEXTS, inner)),
    max_leaves=8,
)
ANSWERS = st.builds(
    Answer,
    VALUES,
    text=st.none() | TEXTS,
    tool_calls=st.lists(st.builds(ToolCall, st.none() | TEXTS, TEXTS, TEXTS), max_size=2),
    finish_reason=st.sampled_from([None, "stop", "content_filter"]),
    refusal=st.none() | TEXTS,
    reasoning=st.none() | TEXTS,
    raw=VALUES,
)

LONG = {
    "letters": "a" * 10**6,
    "digits": "9" * 10**6,
    "spaces": " " * 10**6 + "x",
    "lines": "\n" * 10**6 + "x",
    "quotes": "“" * 10**6,
    "braces": "{" * 10**6,
    "fences": "```\n" * 250_000,
    "groups": "1 111" * 200_000,
    "commas": "1," * 500_000,
    "tokens": "eyJ" * 330_000,
    "passwords": "password=" * 110_000,
    "urls": "://a:" * 200_000,
    "refusals": "sorry, " * 140_000,
    "private keys": "-----BEGIN PRI" + "VATE KEY-----" * 37_000,
}


@given(ANSWERS)
def test_no_answer_makes_one_crash(answer: Answer[Any]) -> None:
    context = Context(request=Request("Tell me of 1 and 2"))
    for validator in VALIDATORS:
        verdict = validator.judge_inline(answer, context)
        assert not verdict.reason.startswith(("crashed", "not_a_verdict", "score_out")), verdict
        assert verdict.status == "passed" or verdict.reason


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_long_answer_is_judged_in_linear_time(text: str) -> None:
    # Read a few times, these take a second; what is quadratic meets the run's time limit.
    for validator in VALIDATORS:
        verdict = validator.judge_inline(Answer(text), Context(request=Request(text)))
        assert not verdict.reason.startswith("crashed"), verdict


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_plain_values(name: str) -> None:
    assert build(name, OPTIONS[name]).name == name


@pytest.mark.anyio
@pytest.mark.parametrize("name", OPTIONS)
async def test_each_can_be_tried_by_hand(name: str) -> None:
    verdict = await build(name, OPTIONS[name]).judge(Answer("select 1"))
    assert isinstance(verdict, Verdict)
    assert verdict.validator == name


def test_each_is_free_and_inline() -> None:
    assert [v.name for v in VALIDATORS if v.paid or not v.inline] == []
