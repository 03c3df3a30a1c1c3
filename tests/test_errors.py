from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from typing import Any

import pytest

import cascade
import cascade.errors
from cascade import (
    Answer,
    Attempt,
    CascadeError,
    CascadeExhausted,
    Charge,
    ConfigError,
    DeadlineExceeded,
    NoAnswerError,
    Price,
    ProviderError,
    RateLimitError,
    Result,
    ToolCall,
    Usage,
    Verdict,
)
from cascade.errors import did_you_mean
from cascade.types import UNSET

KINDS = [
    error
    for name in cascade.__all__
    if isinstance(error := getattr(cascade, name), type) and issubclass(error, Exception)
]


def test_the_tree_is_the_one_drawn_at_the_top_of_its_module() -> None:
    drawn = cascade.errors.__doc__ or ""
    for kind in KINDS:
        assert kind.__name__ in drawn
        assert issubclass(kind, CascadeError)


def test_errors_are_caught_by_the_builtin_kind_they_are() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(DeadlineExceeded, TimeoutError)
    assert not issubclass(CascadeExhausted, TimeoutError)


def story() -> Result[Any]:
    attempt = Attempt(
        "a",
        outcome="rejected",
        reason="v:no",
        answer=Answer("x", tool_calls=[ToolCall("1", "f", "{}")], usage=Usage(3, 4)),
        error=RateLimitError(
            "later", status=429, retry_after_s=2.0, code="slow", usage=Usage(0, 0)
        ),
        verdicts=[Verdict.failed("no", feedback="wrong")],
        charges=[Charge("a", Price(input=1, output=2), Usage(3, 4))],
    )
    return Result("x", False, "a", "exhausted", (attempt,), 0.5, "p", "c", attempt.answer)


@pytest.mark.parametrize("kind", [CascadeExhausted, DeadlineExceeded])
@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])  # noqa: S301
def test_a_call_that_found_no_answer_survives_a_process_border(kind: Any, again: Any) -> None:
    error: NoAnswerError = again(kind("nothing found", result=story()))
    assert type(error) is kind
    assert str(error) == "nothing found"
    (attempt,) = error.attempts
    assert attempt.verdicts[0].value is UNSET
    assert isinstance(attempt.error, RateLimitError)
    assert (attempt.error.status, attempt.error.retry_after_s, attempt.error.code) == (
        429,
        2.0,
        "slow",
    )
    assert error.best == story().answer
    assert error.cost_usd == Decimal("0.000011")
    assert error.latency_s == 0.5
    assert error.result is not None
    assert error.result.path == "p"


def test_an_error_built_by_hand_has_no_story() -> None:
    error = CascadeExhausted("none")
    assert (error.result, error.attempts, error.best) == (None, (), None)
    assert (error.cost_usd, error.latency_s) == (None, None)


@pytest.mark.parametrize("kind", [k for k in KINDS if issubclass(k, ProviderError)])
def test_a_provider_error_carries_its_facts_and_does_not_print_the_body(kind: Any) -> None:
    error = kind("broke", status=500, code="x", usage=Usage(1, 0), body={"echo": "the prompt"})
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    for one in (error, again):
        assert (one.status, one.code, one.usage) == (500, "x", Usage(1, 0))
        assert one.body == {"echo": "the prompt"}
        assert "prompt" not in str(one) + repr(one)
    bare = kind("broke")
    assert (bare.status, bare.retry_after_s, bare.code, bare.usage, bare.body) == (None,) * 5


@pytest.mark.parametrize(
    ("word", "known", "says"),
    [
        ("smal", ["small", "large"], "did you mean 'small'?"),
        ("qqq", {"small": 0, "large": 1}, "known: 'large', 'small'"),
        ("any", [], "none are known"),
    ],
)
def test_an_unknown_word_is_answered_with_a_known_one(word: str, known: Any, says: str) -> None:
    assert did_you_mean(word, known) == says
