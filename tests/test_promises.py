"""The seven promises of the design, each proven on every road that could break it."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import math
from decimal import Decimal
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    Answer,
    Cap,
    Cascade,
    CascadeExhausted,
    Context,
    DeadlineExceeded,
    Path,
    Price,
    ProviderError,
    RateLimitError,
    Result,
    Spend,
    SpendLimitExceeded,
    Tier,
    Usage,
    Verdict,
    validator,
)
from cascade.testing import HANG, Scripted
from cascade.types import NO_USAGE
from cascade.validation import Check

pytestmark = pytest.mark.anyio

USD = Price(input=1, output=2)
ONE_CENT = Usage(input_tokens=5_000, output_tokens=2_500)  # of a USD, at those prices


def tier(name: str, *steps: Any, **options: Any) -> Tier:
    return Tier(name, call=Scripted(*steps), price=USD, **options)


def answer(text: str) -> Answer[str]:
    return Answer(text, usage=ONE_CENT)


def is_good(answer: Answer[Any], context: Context) -> bool:
    return answer.text == "good"


# 1. A rejected answer is never returned as if it were accepted.


async def test_a_rejected_answer_raises_with_every_attempt_and_the_best_answer() -> None:
    def half(answer: Answer[Any], context: Context) -> Verdict:
        return Verdict.failed("meh", score=0.9 if answer.text == "nearly" else 0.1)

    cascade = Cascade(
        tiers=[tier("a", answer("nearly")), tier("b", answer("bad"))], validators=[half]
    )
    with pytest.raises(CascadeExhausted) as caught:
        await cascade.run("?")
    assert [a.tier for a in caught.value.attempts] == ["a", "b"]
    assert caught.value.best is not None
    assert caught.value.best.value == "nearly"
    assert caught.value.cost_usd == Decimal("0.02")


async def test_best_is_returned_only_when_chosen_and_is_marked() -> None:
    cascade = Cascade(
        tiers=[tier("a", answer("bad")), tier("b", answer("worse"))],
        validators=[is_good],
        on_exhausted="best",
    )
    result = await cascade.run("?")
    assert (result.accepted, result.reason) == (False, "exhausted")
    assert (result.tier, result.value) == ("b", "worse")  # a tie goes to the later tier


async def test_a_bare_call_never_returns_a_rejected_answer_even_under_best() -> None:
    @Cascade(tiers=[tier("a", "bad")], validators=[is_good], on_exhausted="best")
    async def ask(tier: Tier, text: str) -> Any:
        return await tier.chat(text)

    with pytest.raises(CascadeExhausted):
        await ask("?")
    assert not (await ask.run("?")).accepted


@pytest.mark.parametrize("on_exhausted", ["raise", "best"])
async def test_when_no_tier_answers_at_all_there_is_no_value(on_exhausted: Any) -> None:
    broken = ProviderError("down")
    cascade = Cascade(tiers=[tier("a", broken)], on_exhausted=on_exhausted)
    if on_exhausted == "raise":
        with pytest.raises(CascadeExhausted) as caught:
            await cascade.run("?")
        assert caught.value.best is None
        assert caught.value.__cause__ is broken
    else:
        result = await cascade.run("?")
        assert (result.accepted, result.value, result.tier, result.answer) == (
            False,
            None,
            None,
            None,
        )


# 2. A validator that crashes, times out or has nothing to judge abstains; that is not passing.


def crashes(answer: Answer[Any], context: Context) -> bool:
    raise ZeroDivisionError


async def crashes_async(answer: Answer[Any], context: Context) -> bool:
    await checkpoint()
    raise ZeroDivisionError


def undecided(answer: Answer[Any], context: Context) -> None:
    return None


def bare_score(answer: Answer[Any], context: Context) -> float:
    return 0.99


def not_a_number(answer: Answer[Any], context: Context) -> float:
    return math.nan


def nonsense(answer: Answer[Any], context: Context) -> Any:
    return object()


async def hangs(answer: Answer[Any], context: Context) -> bool:
    await anyio.sleep_forever()
    return True


@pytest.mark.parametrize(
    ("judges", "reason"),
    [
        (crashes, "crashes:crashed:ZeroDivisionError"),
        (crashes_async, "crashes_async:crashed:ZeroDivisionError"),
        (undecided, "undecided:undecided"),
        (bare_score, "bare_score:no_threshold"),
        (not_a_number, "not_a_number:score_out_of_range"),
        (nonsense, "nonsense:not_a_verdict"),
        (Check("hangs", hangs, timeout_s=0.001), "hangs:timeout"),
        (Check("in_thread", crashes, blocking=True), "in_thread:crashed:ZeroDivisionError"),
        (Check("paid", crashes_async, cost="paid"), "paid:crashed:ZeroDivisionError"),
    ],
)
async def test_what_cannot_be_judged_abstains_and_escalates(judges: Any, reason: str) -> None:
    strong = tier("b", answer("good"))
    cascade = Cascade(
        tiers=[tier("a", answer("good")), strong],
        validators=[is_good, _only_on("a", judges)],
    )
    result = await cascade.run("?")
    assert result.attempts[0].outcome == "rejected"
    assert result.attempts[0].reason == reason
    assert result.attempts[0].verdicts[-1].status == "abstained"
    assert (result.accepted, result.tier) == (True, "b")


def _only_on(name: str, judges: Any) -> Any:
    from cascade.validation import as_validator

    return as_validator(judges).for_tiers(name)


# 3. One absolute deadline around everything; no call outlives it.


async def test_the_deadline_ends_a_hung_tier_and_the_rest_is_skipped() -> None:
    cascade = Cascade(
        tiers=[tier("a", HANG), tier("b", answer("good"))], paths={"fast": Path(budget_s=0.01)}
    )
    with pytest.raises(DeadlineExceeded) as caught:
        await cascade.run("?", path="fast")
    assert [(a.tier, a.outcome, a.reason) for a in caught.value.attempts] == [
        ("a", "timed_out", "budget"),
        ("b", "skipped", "budget"),
    ]
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize(
    "slow",
    [
        Check("hangs", hangs),
        Check("paid", hangs, cost="paid"),
        Check("patient", hangs, timeout_s=1000),
        Check("one", hangs) & Check("two", hangs, cost="paid"),
    ],
    ids=lambda v: v.name,
)
async def test_the_deadline_covers_validators(slow: Check) -> None:
    cascade = Cascade(
        tiers=[tier("a", answer("good"))], validators=[slow], paths={"fast": Path(budget_s=0.01)}
    )
    with pytest.raises(DeadlineExceeded) as caught:
        await cascade.run("?", path="fast")
    assert caught.value.best is not None  # the answer was there, only its verdict was not
    assert caught.value.attempts[0].outcome == "timed_out"


async def test_the_deadline_does_not_wait_for_a_blocked_thread() -> None:
    import threading

    released = threading.Event()

    def blocks(answer: Answer[Any], context: Context) -> bool:
        return released.wait(timeout=60)

    cascade = Cascade(
        tiers=[tier("a", answer("good"))],
        validators=[Check("blocks", blocks, blocking=True)],
        paths={"fast": Path(budget_s=0.01)},
    )
    try:
        with pytest.raises(DeadlineExceeded):
            await cascade.run("?", path="fast")
        assert not released.is_set()
    finally:
        released.set()


async def test_the_deadline_may_return_the_best_answer_so_far() -> None:
    cascade = Cascade(
        tiers=[tier("a", answer("bad")), tier("b", HANG)],
        validators=[is_good],
        paths={"fast": Path(budget_s=0.01, on_exhausted="best")},
    )
    result = await cascade.run("?", path="fast")
    assert (result.accepted, result.reason, result.value) == (False, "budget", "bad")


@given(
    steps=st.lists(st.sampled_from(["good", "bad", "hang", "error"]), min_size=1, max_size=4),
    budget_s=st.floats(0.01, 100),
)
def test_under_a_virtual_clock_no_call_outlives_its_budget(
    steps: list[str], budget_s: float
) -> None:
    """Exact, not approximate: trio's clock jumps straight from event to event."""
    import trio
    import trio.testing

    script = {
        "good": answer("good"),
        "bad": answer("bad"),
        "hang": HANG,
        "error": RateLimitError("slow down", usage=NO_USAGE),
    }

    async def run() -> None:
        tiers = [tier(str(i), script[step]) for i, step in enumerate(steps)]
        cascade = Cascade(
            tiers=tiers,
            validators=[is_good],
            paths={"p": Path(budget_s=budget_s, on_exhausted="best")},
            clock=trio.current_time,
        )
        started = trio.current_time()
        result = await cascade.run("?", path="p")
        took = trio.current_time() - started
        assert took == pytest.approx(result.latency_s)
        before_hang = steps[: steps.index("hang")] if "hang" in steps else steps
        if "good" in before_hang:
            assert (result.accepted, took) == (True, 0)
        elif "hang" in steps:
            assert result.reason == "budget"
            assert took == pytest.approx(budget_s)
        else:
            assert (result.reason, took) == ("exhausted", 0)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_tier_timeout_escalates_within_the_budget() -> None:
    cascade = Cascade(tiers=[tier("a", HANG, timeout_s=0.01), tier("b", answer("good"))])
    result = await cascade.run("?")
    assert [(a.outcome, a.reason) for a in result.attempts] == [
        ("timed_out", "tier_timeout"),
        ("accepted", ""),
    ]


async def test_an_answer_that_comes_late_is_not_accepted_however_it_came_to_be_late() -> None:
    import time

    async def shields(request: Any) -> str:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.02)
        return "good"

    async def blocks(request: Any) -> str:
        time.sleep(0.02)  # noqa: ASYNC251 - what a program should not do, and some do
        return "good"

    async def swallows(request: Any) -> str:
        try:
            await anyio.sleep_forever()
        except BaseException:
            return "good"
        return "never"

    for call in (shields, blocks, swallows):
        cascade = Cascade(
            tiers=[Tier("a", call=call), tier("b", "never asked")],
            paths={"fast": Path(budget_s=0.01, on_exhausted="best")},
        )
        result = await cascade.run("?", path="fast")
        assert (result.accepted, result.reason) == (False, "budget")
        assert [a.outcome for a in result.attempts] == ["timed_out", "skipped"]


async def test_a_late_failure_keeps_its_reason() -> None:
    import time

    async def blocks_and_breaks(request: Any) -> str:
        time.sleep(0.02)  # noqa: ASYNC251 - what a program should not do, and some do
        raise ProviderError("broke")

    cascade = Cascade(
        tiers=[Tier("a", call=blocks_and_breaks), tier("b", "never asked")],
        paths={"fast": Path(budget_s=0.01, on_exhausted="best")},
    )
    result = await cascade.run("?", path="fast")
    assert result.reason == "budget"
    assert [(a.outcome, a.reason) for a in result.attempts] == [
        ("failed", "ProviderError"),
        ("skipped", "budget"),
    ]


async def test_a_validator_cannot_rewrite_the_record() -> None:
    def meddles(answer: Answer[Any], context: Context) -> bool:
        record: Any = context.attempts
        record[-1].verdicts.clear()
        assert not hasattr(record, "pop")
        return True

    cascade = Cascade(
        tiers=[tier("a", answer("bad"))], validators=[is_good, meddles], on_exhausted="best"
    )
    result = await cascade.run("?")
    assert not result.accepted
    assert [v.status for v in result.attempts[0].verdicts] == ["failed", "passed"]


# 4. Every attempt is billed; unknown is None, never 0; money adds up exactly.


async def test_rejected_failed_and_cancelled_attempts_are_billed() -> None:
    cascade = Cascade(
        tiers=[
            tier("rejected", answer("bad")),
            tier("refused", RateLimitError("later", usage=NO_USAGE)),
            tier("broken", ProviderError("half-way")),
            tier("cancelled", HANG, timeout_s=0.01),
            tier("good", answer("good")),
        ],
        validators=[is_good],
    )
    result = await cascade.run("?")
    costs = [a.cost_usd for a in result.attempts]
    assert costs == [Decimal("0.01"), Decimal(0), None, None, Decimal("0.01")]
    assert result.cost_usd is None
    assert result.known_cost_usd == Decimal("0.02")


async def test_a_validators_own_calls_are_billed_even_when_cancelled() -> None:
    judge = tier("judge", HANG)

    async def asks(answer: Answer[Any], context: Context) -> bool:
        from cascade import Request

        await context.ask_tier(judge, Request("is it good?"), purpose="asks")
        return True

    cascade = Cascade(
        tiers=[tier("a", answer("good"))],
        validators=[Check("asks", asks, cost="paid", timeout_s=0.01)],
        on_exhausted="best",
    )
    result = await cascade.run("?")
    charges = [(c.tier, c.purpose, c.cost_usd) for c in result.attempts[0].charges]
    assert charges == [("a", "answer", Decimal("0.01")), ("judge", "asks", None)]
    assert result.cost_usd is None


prices = st.decimals(min_value=0, max_value=1000, places=6)
tokens = st.integers(0, 10**9)


@given(st.lists(st.tuples(prices, prices, tokens, tokens), min_size=1, max_size=8))
def test_money_adds_up_exactly(calls: list[tuple[Decimal, Decimal, int, int]]) -> None:
    from fractions import Fraction

    tiers = [
        Tier(
            str(i),
            call=Scripted(Answer("bad", usage=Usage(read, written))),
            price=Price(input=input_price, output=output_price),
        )
        for i, (input_price, output_price, read, written) in enumerate(calls)
    ]
    cascade = Cascade(tiers=tiers, validators=[is_good], on_exhausted="best")
    result = anyio.run(cascade.run, "?")
    exact = sum(
        (Fraction(i) * read + Fraction(o) * written) / 10**6 for i, o, read, written in calls
    )
    assert result.cost_usd is not None
    assert Fraction(result.cost_usd) == exact
    assert result.cost_usd == sum(
        (a.cost_usd for a in result.attempts if a.cost_usd is not None), Decimal(0)
    )


# 5. Spend caps hold under concurrency: reserve before the call, settle after it.


async def test_fifty_calls_at_once_cannot_spend_what_is_left_for_five() -> None:
    asked = Scripted(answer("good"))
    cascade = Cascade(
        tiers=[Tier("a", call=asked, price=Price(input=0, output=4), params={"max_tokens": 2_500})],
        spend=Spend(caps=[Cap("0.05")]),
    )
    ended: list[str] = []

    async def call() -> None:
        try:
            ended.append("accepted" if (await cascade.run("?")).accepted else "rejected")
        except SpendLimitExceeded as error:
            ended.append(f"refused, {error.cost_usd} USD")

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(call)
    assert (ended.count("accepted"), ended.count("refused, 0 USD")) == (5, 45)
    assert len(asked.requests) == 5


# 6. Cancellation is never swallowed; no task outlives its call.


@pytest.mark.parametrize("where", ["tier", "validator", "paid", "thread"])
async def test_cancellation_passes_through(where: str) -> None:
    import threading

    released = threading.Event()
    started = anyio.Event()
    ended: list[str] = []

    async def hang(*_: Any) -> bool:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(where)
        return True

    def block(*_: Any) -> bool:
        anyio.from_thread.run_sync(started.set)
        return released.wait(timeout=60)

    validators = {
        "tier": [],
        "validator": [Check("hang", hang, timeout_s=100)],
        "paid": [Check("one", hang, cost="paid"), Check("two", hang, cost="paid")],
        "thread": [Check("block", block, blocking=True)],
    }[where]
    call = hang if where == "tier" else Scripted("good")
    cascade = Cascade(
        tiers=[Tier("a", call=call), tier("b", "never asked")],
        validators=validators,
        paths={"p": Path(budget_s=100, on_exhausted="best")},
    )
    after: list[Result[Any]] = []

    async def run() -> None:
        after.append(await cascade.run("?", path="p"))

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await started.wait()
            group.cancel_scope.cancel()
    finally:
        released.set()
    assert after == []
    assert set(ended) <= {where}
    assert bool(ended) == (where != "thread")  # whatever was awaited has ended with the call


async def test_keyboard_interrupt_is_not_an_attempt_that_failed() -> None:
    class Stop(BaseException):
        pass

    cascade = Cascade(tiers=[tier("a", Stop()), tier("b", "good")])
    with pytest.raises(Stop):
        await cascade.run("?")


# 7. Prompts, answers and keys stay out of logs and error text.

PROMPT, REPLY, KEY = "prompt-7c1f", "reply-93ab", "sk-" + "key-51de"


@validator("promise_seven")
def says_no(answer: Answer[Any], context: Context) -> Verdict:
    return Verdict.failed("no", feedback=f"{answer.text} is wrong")


async def test_content_and_keys_stay_out_of_logs_errors_and_reprs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def leaks(answer: Answer[Any], context: Context) -> bool:
        raise ValueError(f"cannot judge {answer.text}")

    broken = ProviderError("broke", body={"message": PROMPT})
    tiers = [
        tier("a", Answer(REPLY, raw={"text": REPLY}), params={"user": "x"}),
        Tier("b", model="openai:gpt", base_url="http://127.0.0.1:9", api_key=KEY),
        tier("c", broken),
    ]
    cascade = Cascade(tiers=tiers, validators=[says_no, leaks], feedback=True)
    seen = io.StringIO()
    with caplog.at_level(logging.DEBUG), contextlib.redirect_stdout(seen):
        with pytest.raises(CascadeExhausted) as caught:
            await cascade.run(PROMPT)
        error = caught.value
        texts = [str(error), repr(error), repr(error.result), repr(error.attempts)]
        texts += [error.result.story() if error.result else "", repr(tiers), repr(cascade)]
    texts += [caplog.text, seen.getvalue(), *(repr(r.__dict__) for r in caplog.records)]
    assert "validator_crashed" in caplog.text
    assert "attempt_failed" in caplog.text
    for secret in (PROMPT, REPLY, KEY):
        assert all(secret not in text for text in texts)
    gc.collect()


# A kind of validator that a user wrote from the ground up may break its own promise.


class Raises(Check):
    """Judges nothing, and raises instead of abstaining."""

    def judge_inline(self, answer: Answer[Any], context: Context) -> Verdict:
        raise ZeroDivisionError

    async def judge(self, answer: Answer[Any], context: Context | None = None) -> Verdict:
        raise ZeroDivisionError


class SaysYes(Check):
    """Gives no verdict at all."""

    def judge_inline(self, answer: Answer[Any], context: Context) -> Any:
        return True

    async def judge(self, answer: Answer[Any], context: Context | None = None) -> Any:
        return True


@pytest.mark.parametrize("cost", ["free", "paid"])
async def test_a_validator_class_that_gives_no_verdict_abstains(cost: Any) -> None:
    cascade = Cascade(
        tiers=[tier("a", answer("good"))],
        validators=[SaysYes("mine", is_good, cost=cost)],
        on_exhausted="best",
    )
    result = await cascade.run("?")
    assert [v.reason for v in result.attempts[0].verdicts] == ["not_a_verdict"]


async def test_the_errors_of_an_sdk_are_billed_and_named_as_ours_are() -> None:
    import httpx
    import openai

    request: Any = httpx.Request("POST", "http://127.0.0.1/")

    def response(status: int) -> Any:
        return httpx.Response(status, request=request)

    refused = openai.RateLimitError("later", response=response(429), body=None)
    broken = openai.InternalServerError("oh", response=response(500), body=None)
    cascade = Cascade(
        tiers=[tier("a", refused), tier("b", openai.APITimeoutError(request)), tier("c", broken)],
        on_exhausted="best",
    )
    result = await cascade.run("?")
    assert [a.outcome for a in result.attempts] == ["failed", "timed_out", "failed"]
    assert [a.cost_usd for a in result.attempts] == [Decimal(0), None, None]


@pytest.mark.parametrize("cost", ["free", "paid"])
@pytest.mark.parametrize("count", [1, 2])
async def test_a_validator_class_that_raises_abstains(cost: Any, count: int) -> None:
    mine = [Raises(f"mine{i}", is_good, cost=cost) for i in range(count)]
    cascade = Cascade(tiers=[tier("a", answer("good"))], validators=mine, on_exhausted="best")
    result = await cascade.run("?")
    assert not result.accepted
    assert [v.reason for v in result.attempts[0].verdicts] == ["crashed:ZeroDivisionError"] * count


async def test_a_validator_that_chats_with_a_tier_by_itself_is_billed_once() -> None:
    judge = tier("judge", answer("yes"))
    inner = Cascade(tiers=[tier("inner", answer("yes"))])

    async def asks(given: Answer[Any], context: Context) -> bool:
        await judge.chat("is it good?")
        await inner.run("and what do you say?")
        await context.sample(purpose="again")
        return True

    cascade = Cascade(tiers=[tier("a", answer("good"))], validators=[asks])
    result = await cascade.run("?")
    charges = [(c.tier, c.purpose) for c in result.attempts[0].charges]
    assert charges == [("a", "answer"), ("judge", "asks"), ("inner", "answer"), ("a", "again")]
    assert result.cost_usd == Decimal("0.04")
