"""What the engine makes of spend caps: refusal, degrading, and the bill on both."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest

from cascade import (
    Answer,
    Cap,
    Cascade,
    ConfigError,
    Context,
    Path,
    Price,
    Request,
    Spend,
    SpendLimitExceeded,
    Tier,
    Usage,
)
from cascade.testing import Scripted
from cascade.validation import Check

pytestmark = pytest.mark.anyio

# One USD for a token written, and each answer is reserved and billed as just one.
DOLLAR = Price(input=0, output=1_000_000)
ONE = Usage(0, 1)


def tier(name: str, *texts: str, script: Scripted | None = None) -> Tier:
    call = script or Scripted(*(Answer(text, usage=ONE) for text in texts))
    return Tier(name, call=call, price=DOLLAR, params={"max_tokens": 1})


def is_good(answer: Answer[Any], context: Context) -> bool:
    return answer.text == "good"


async def test_a_cap_worth_five_calls_admits_five_of_fifty_at_once() -> None:
    script = Scripted(Answer("good", usage=ONE))
    cascade = Cascade(tiers=[tier("a", script=script)], spend=Spend(caps=[Cap(5)]))
    admitted: list[Any] = []
    refused: list[SpendLimitExceeded] = []

    async def call() -> None:
        try:
            admitted.append(await cascade.run("?"))
        except SpendLimitExceeded as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(call)
    assert (len(admitted), len(refused), len(script.requests)) == (5, 45, 5)
    assert sum(result.cost_usd for result in admitted) == Decimal(5)


async def test_a_refused_escalation_stops_with_the_story_and_the_bill() -> None:
    cascade = Cascade(
        tiers=[tier("a", "bad"), tier("b", "good"), tier("c", "good")],
        validators=[is_good],
        spend=Spend(caps=[Cap("1.5", per="call")]),
    )
    with pytest.raises(SpendLimitExceeded) as caught:
        await cascade.run("?")
    error = caught.value
    assert [(a.tier, a.outcome, a.reason) for a in error.attempts] == [
        ("a", "rejected", "is_good:failed"),
        ("b", "skipped", "spend"),
        ("c", "skipped", "spend"),
    ]
    assert error.cost_usd == Decimal(1)
    assert error.best is not None
    assert error.cap is not None
    assert error.asked_usd == Decimal(1)


async def test_the_best_answer_so_far_may_be_returned_instead() -> None:
    cascade = Cascade(
        tiers=[tier("a", "bad"), tier("b", "good")],
        validators=[is_good],
        on_exhausted="best",
        spend=Spend(caps=[Cap("1.5", per="call")]),
    )
    result = await cascade.run("?")
    assert (result.accepted, result.reason, result.value) == (False, "spend", "bad")


async def test_near_a_cap_calls_stay_on_the_cheap_tiers() -> None:
    cascade = Cascade(
        tiers=[tier("a", "bad"), tier("b", "good")],
        validators=[is_good],
        on_exhausted="best",
        paths={"strong": Path(first="b")},
        spend=Spend(caps=[Cap(10)], near=0.3, near_last="a"),
    )
    tiers: list[list[str]] = []
    for _ in range(3):
        result = await cascade.run("?")
        tiers.append([a.tier for a in result.attempts if a.outcome != "skipped"])
    assert tiers == [["a", "b"], ["a"], ["a"]]  # 2 spent; then 3 and near
    result = await cascade.run("?", path="strong")
    assert (result.reason, result.cost_usd) == ("spend", Decimal(0))


async def test_validators_calls_count_under_the_cap_too() -> None:
    judge = tier("judge", "yes")

    async def asks(answer: Answer[Any], context: Context) -> bool:
        await context.ask_tier(judge, Request("is it good?", max_tokens=1), purpose="asks")
        return True

    cascade = Cascade(
        tiers=[tier("a", "good")],
        validators=[Check("asks", asks, cost="paid")],
        on_exhausted="best",
        spend=Spend(caps=[Cap(3)]),
    )
    assert (await cascade.run("?")).accepted
    second = await cascade.run("?")  # an answer is paid for, its judgement not any more
    assert not second.accepted
    assert second.attempts[0].reason.startswith("asks:crashed")
    third = await cascade.run("?")
    assert third.reason == "spend"


def test_caps_need_prices_and_known_tiers() -> None:
    with pytest.raises(ConfigError, match="'a' has no price"):
        Cascade(tiers=[Tier("a")], spend=Spend(caps=[Cap(1)]))
    with pytest.raises(ConfigError, match="near_last='z' is no tier"):
        Cascade(tiers=[tier("a", "x")], spend=Spend(caps=[Cap(1)], near_last="z"))


async def test_hedges_count_under_the_cap() -> None:
    cascade = Cascade(
        tiers=[tier("a", "bad"), tier("b", "good")],
        validators=[is_good],
        on_exhausted="best",
        paths={"p": Path(hedge=60)},
        spend=Spend(caps=[Cap(1)]),
    )
    result = await cascade.run("?", path="p")
    assert [(a.tier, a.reason) for a in result.attempts] == [
        ("a", "is_good:failed"),
        ("b", "spend"),
    ]
    assert result.reason == "spend"
