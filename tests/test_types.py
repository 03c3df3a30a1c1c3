from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    Answer,
    Attempt,
    Charge,
    ConfigError,
    Price,
    Request,
    Result,
    Secret,
    Usage,
    Verdict,
)
from cascade.types import NO_USAGE, UNSET, add_exactly

prices = st.decimals(min_value=0, max_value=10_000, places=9)
tokens = st.integers(0, 10**12)
parts = st.none() | tokens
usages = st.builds(Usage, tokens, tokens, parts, parts, parts)


# Money


@given(prices, prices, tokens, tokens)
def test_a_price_is_exact(read: Decimal, written: Decimal, input_: int, output: int) -> None:
    cost = Price(input=read, output=written).cost_usd(Usage(input_, output))
    assert cost is not None
    assert Fraction(cost) == (Fraction(read) * input_ + Fraction(written) * output) / 10**6


@given(st.tuples(prices, prices, prices, prices, prices), usages)
def test_every_token_is_billed_once_at_its_own_price(
    each: tuple[Decimal, Decimal, Decimal, Decimal, Decimal], usage: Usage
) -> None:
    read, written, cached, cache_write, reasoning = map(Fraction, each)
    price = Price(
        input=each[0], output=each[1], cached_input=each[2], cache_write=each[3], reasoning=each[4]
    )
    cost = price.cost_usd(usage)
    from_cache = min(usage.cached_input_tokens or 0, usage.input_tokens)
    to_cache = min(usage.cache_write_tokens or 0, usage.input_tokens - from_cache)
    hidden = min(usage.reasoning_tokens or 0, usage.output_tokens)
    assert cost is not None
    assert Fraction(cost) * 10**6 == (
        read * (usage.input_tokens - from_cache - to_cache)
        + cached * from_cache
        + cache_write * to_cache
        + written * (usage.output_tokens - hidden)
        + reasoning * hidden
    )


@given(prices, prices, usages)
def test_parts_without_a_price_cost_what_the_whole_costs(
    read: Decimal, written: Decimal, usage: Usage
) -> None:
    plain = Usage(usage.input_tokens, usage.output_tokens)
    price = Price(input=read, output=written)
    assert price.cost_usd(usage) == price.cost_usd(plain)


def test_a_float_price_means_the_number_that_was_typed() -> None:
    assert Price(input=0.1, output=0.3) == Price(input="0.1", output=Decimal("0.3"))
    assert Price(input=0.05, output=0.4).cost_usd(Usage(1, 0)) == Decimal("0.00000005")


def test_equal_prices_are_one_key_and_print_as_they_were_given() -> None:
    assert len({Price(input=1, output=2), Price(input="1.0", output=2.0)}) == 1
    assert Price(input=1, output=2) != Price(input=1, output=3)
    assert Price(input=1, output=2) != 1
    assert repr(Price(input=0.05, output=15)) == (
        "Price(input=0.05, output=15, cached_input=0.05, cache_write=0.05, reasoning=15)"
    )


@pytest.mark.parametrize(
    "bad", [-1, "-0.01", float("nan"), float("inf"), "cheap", "", True, None, [], "1" * 200]
)
def test_a_price_that_is_no_amount_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigError, match=r"price output=.*USD per million tokens"):
        Price(input=1, output=bad)


def test_unknown_usage_costs_nothing_only_where_everything_is_free() -> None:
    assert Price.free().cost_usd(None) == 0
    assert Price.free().is_free
    assert Price(input=0, output=1).cost_usd(None) is None
    assert not Price(input=0, output=0, reasoning=1).is_free


def test_a_charge_without_a_price_is_unknown_not_free() -> None:
    assert Charge("a", None, Usage(1, 1)).cost_usd is None
    assert Charge("a", Price.free()).cost_usd == 0
    assert Charge("a", Price(input=1, output=1), NO_USAGE).cost_usd == 0


@given(st.lists(st.none() | prices))
def test_a_sum_is_exact_and_unknown_once_one_part_is(amounts: list[Decimal | None]) -> None:
    total = add_exactly(amounts)
    if None in amounts:
        assert total is None
    else:
        assert total is not None
        assert Fraction(total) == sum((Fraction(a) for a in amounts if a is not None), Fraction())


@given(usages, usages, usages)
def test_usage_adds_up_in_any_order(a: Usage, b: Usage, c: Usage) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + NO_USAGE == a
    assert (a + b).input_tokens == a.input_tokens + b.input_tokens
    unknown = a.reasoning_tokens is None or b.reasoning_tokens is None
    assert ((a + b).reasoning_tokens is None) == unknown


# Secrets


def test_a_secret_shows_nowhere() -> None:
    secret = Secret("sk-5d1e")
    shown = [repr(secret), str(secret), f"{secret}", repr({"key": secret}), "%s" % (secret,)]  # noqa: UP031
    assert all("5d1e" not in text for text in shown)
    assert secret.reveal() == "sk-5d1e"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="environment variable"):
        pickle.dumps([Secret("sk-5d1e")], protocol)


def test_secrets_compare_by_what_they_hide() -> None:
    assert Secret("a") == Secret("a")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"
    with pytest.raises(ConfigError, match="secret is empty"):
        Secret("")


# Requests

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
names = st.text("abcdefghij_", min_size=1, max_size=9)
messages = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "name", "x"]), json_like),
    min_size=1,
    max_size=4,
)


@given(messages, st.dictionaries(names, json_like))
def test_a_request_keeps_everything_it_was_given(said: Any, params: dict[str, Any]) -> None:
    request = Request.of({"messages": copy.deepcopy(said), **copy.deepcopy(params)})
    assert list(request.messages) == said
    assert request.params == params
    assert request == Request(said, **params) == Request.of(request)
    assert pickle.loads(pickle.dumps(request)) == request  # noqa: S301
    longer = request.followed_by({"role": "user"}, {"role": "tool"})
    assert list(longer.messages) == [*said, {"role": "user"}, {"role": "tool"}]
    assert longer.params == params
    assert list(request.messages) == said


@given(st.dictionaries(names, st.integers()), st.dictionaries(names, st.integers()))
def test_a_request_goes_before_the_defaults(own: dict[str, int], defaults: dict[str, int]) -> None:
    request = Request("hi", **own)
    assert request.with_params(defaults).params == defaults | own
    assert request.params == own


def test_a_string_is_one_user_message_and_messages_may_come_one_by_one() -> None:
    hello = {"role": "user", "content": "hello"}
    assert Request("hello").messages == (hello,)
    assert Request.of(m for m in [hello, hello]).messages == (hello, hello)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ([], "no messages.*at least one"),
        (["hello"], "a message is a str.*mappings"),
        ([None], "a message is a NoneType"),
        (b"hello", "a message is a int"),
        ({"role": "user", "content": "x"}, 'no "messages"'),
        ({"messages": "x", "model": "gpt"}, "names a model; leave it out"),
        ({"messages": "x", "stream": True}, "stream=True; leave it out"),
    ],
)
def test_a_request_that_cannot_be_sent_says_so(source: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Request.of(source)


def test_not_streaming_may_be_said_and_is_kept() -> None:
    assert Request("x", stream=False).params == {"stream": False}


def test_a_request_shows_neither_prompt_nor_parameters_and_is_no_key() -> None:
    request = Request("secret words", user="secret user")
    assert repr(request) == "Request(<1 messages>, user=...)"
    assert request != "secret words"
    with pytest.raises(TypeError, match="unhashable"):
        hash(request)


# Answers and verdicts


def test_the_text_of_a_text_is_itself() -> None:
    assert Answer("hi").text == "hi"
    assert Answer({"a": 1}).text is None
    assert Answer("hi", text="ho").text == "ho"
    assert "hi" not in repr(Answer("hi", raw="hi", reasoning="hi", refusal="hi"))


def test_verdicts_are_made_with_their_scores() -> None:
    assert (Verdict.passed().status, Verdict.passed().score) == ("passed", 1.0)
    failed = Verdict.failed("wrong", score=0.2, feedback="not 5")
    assert (failed.status, failed.score, failed.reason) == ("failed", 0.2, "wrong")
    assert (Verdict.abstained("no_text").status, Verdict.abstained("no_text").score) == (
        "abstained",
        None,
    )
    assert (Verdict.scored(0.7).status, Verdict.scored(0.7).score) == ("abstained", 0.7)
    assert "not 5" not in repr(failed)


# Attempts and results

USD = Price(input=1, output=1)


def attempt(tier: str, *usages: Usage | None, **facts: Any) -> Attempt:
    return Attempt(tier, charges=[Charge(tier, USD, usage) for usage in usages], **facts)


def result(*attempts: Attempt) -> Result[Any]:
    return Result(None, False, None, "exhausted", attempts, 1.5)


def test_an_attempt_starts_as_one_that_the_deadline_ended() -> None:
    fresh = Attempt("a")
    assert (fresh.outcome, fresh.reason) == ("timed_out", "budget")
    assert fresh.cost_usd == 0
    assert fresh.value is UNSET


def test_an_attempts_score_is_the_lowest_and_its_value_the_last_that_was_parsed() -> None:
    one = Attempt("a", answer=Answer("text"))
    assert (one.score, one.value, one.feedback) == (None, "text", None)
    one.verdicts = [
        Verdict.passed(0.8, value={"parsed": 1}, feedback="praise"),
        Verdict.failed(score=0.3, feedback="too long"),
        Verdict.abstained("blind", feedback="cannot see"),
        Verdict.failed(score=0.5),
    ]
    assert one.score == 0.3
    assert one.value == {"parsed": 1}
    assert one.feedback == "too long\ncannot see"
    one.verdicts.append(Verdict.passed(value=None))
    assert one.value is None  # parsed to None, which is a value


def test_a_results_bill_is_unknown_in_whole_but_its_known_part_is_not() -> None:
    known, unknown = attempt("a", Usage(10, 10), Usage(5, 5)), attempt("b", Usage(1, 1), None)
    assert result(known).cost_usd == Decimal("0.00003")
    assert result(known).usage == Usage(15, 15)
    assert result(known, unknown).cost_usd is None
    assert result(known, unknown).usage is None
    assert result(known, unknown).known_cost_usd == Decimal("0.000032")
    assert result().known_cost_usd == 0
    assert result(Attempt("a", outcome="skipped")).cost_usd == 0
    assert result(Attempt("a", outcome="skipped")).usage == NO_USAGE


def test_escalations_count_tiers_not_asks_nor_skipped_ones() -> None:
    asks = [attempt("a"), attempt("a", ask=1), attempt("b"), attempt("c", outcome="skipped")]
    assert result(*asks).escalations == 1
    assert result(attempt("a"), attempt("b"), attempt("c")).escalations == 2
    assert result().escalations == 0


def test_the_story_tells_each_attempt_without_content() -> None:
    told = result(
        attempt("a", Usage(1000, 0), outcome="rejected", reason="v:no", answer=Answer("secret")),
        attempt("b", None, outcome="failed", reason="ServerError"),
        attempt("c", Usage(0, 0), outcome="accepted", reason=""),
    ).story()
    assert told.splitlines() == [
        "exhausted in 1.500 s for an unknown cost",
        "  a: rejected (v:no), 0.000 s, $0.001",
        "  b: failed (ServerError), 0.000 s, an unknown cost",
        "  c: accepted, 0.000 s, $0",
    ]
    assert "secret" not in repr(result(attempt("a", answer=Answer("secret"))))
