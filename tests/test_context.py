from __future__ import annotations

from typing import Any

import pytest

from cascade import (
    Answer,
    Cascade,
    ConfigError,
    Context,
    Path,
    Price,
    ProviderError,
    Request,
    Result,
    Tier,
    Usage,
    Verdict,
)
from cascade.testing import Scripted
from cascade.validation import Check

pytestmark = pytest.mark.anyio

ONE, TWO = Usage(1, 1), Usage(2, 2)


class Spy:
    """A validator that keeps the contexts it was given."""

    def __init__(self, *says: Any) -> None:
        self.says = says or (True,)
        self.contexts: list[Context] = []

    def __call__(self, answer: Answer[Any], context: Context) -> Any:
        self.contexts.append(context)
        return self.says[min(len(self.contexts), len(self.says)) - 1]


def tier(*steps: Any, name: str = "a") -> Tier:
    return Tier(name, call=Scripted(*steps), price=Price(input=1, output=1))


async def test_a_validator_knows_the_call() -> None:
    spy = Spy()
    made = Cascade(tiers=[tier("x")], validators=[spy], paths={"p": Path(budget_s=60)})
    await made.run({"messages": "hi", "seed": 3}, path="p")
    (context,) = spy.contexts
    assert context.tier is made.tiers[0]
    assert context.request == Request("hi", seed=3)
    assert (context.path, context.ask) == ("p", 0)
    assert context.arguments == {"request": Request("hi", seed=3)}
    assert [a.tier for a in context.attempts] == ["a"]
    assert context.time_left_s is not None
    assert 0 <= context.time_left_s <= 60


async def test_a_validator_knows_the_attempts_before() -> None:
    spy = Spy(False, False, True)
    await Cascade(tiers=[tier("x"), tier("y", name="b")], validators=[spy], reasks=1).run("?")
    assert [(c.tier.name, c.ask, len(c.attempts)) for c in spy.contexts if c.tier] == [
        ("a", 0, 1),
        ("a", 1, 2),
        ("b", 0, 3),
    ]
    assert spy.contexts[0].time_left_s is None
    assert len({id(c.cache) for c in spy.contexts}) == 3  # one for each answer


async def test_validators_of_one_answer_share_a_cache() -> None:
    def counts(answer: Answer[Any], context: Context) -> bool:
        context.cache["seen"] = context.cache.get("seen", 0) + 1
        return True

    spy = Spy()
    await Cascade(tiers=[tier("x")], validators=[counts, counts, spy]).run("?")
    assert spy.contexts[0].cache == {"seen": 2}


async def test_arguments_are_named_with_their_defaults_and_without_the_tier() -> None:
    spy = Spy()
    made = Cascade(tiers=[tier("x")], validators=[spy])

    @made
    async def plain(
        tier: Tier, ticket: str, /, limit: int = 3, *rest: int, urgent: bool = False
    ) -> Any:
        return "x"

    class Desk:
        @made
        async def method(self, tier: Tier, ticket: str, limit: int = 3) -> Any:
            return "x"

    await plain("t", 4, 5, urgent=True)
    await Desk().method("t")
    assert [context.arguments for context in spy.contexts] == [
        {"ticket": "t", "limit": 4, "rest": (5,), "urgent": True},
        {"ticket": "t", "limit": 3},
    ]
    assert spy.contexts[0].request is None  # the function sent none through its tier
    assert (spy.contexts[0].args, spy.contexts[0].kwargs) == (("t", 4, 5), {"urgent": True})


async def test_a_context_made_by_hand_belongs_to_no_call() -> None:
    context = Context(kwargs={"a": 1})
    assert (context.tier, context.request, context.path, context.time_left_s) == (None,) * 4
    assert (context.arguments, context.can_sample) == ({"a": 1}, False)
    with pytest.raises(ConfigError, match="nothing to ask again"):
        await context.sample(purpose="agreement")


def asks(question: Any) -> Check:
    return Check("judge", question, cost="paid")


async def charged(question: Any, *steps: Any) -> Result[Any]:
    made = Cascade(tiers=[tier(*steps)], validators=[asks(question)], on_exhausted="best")
    return await made.run("?")


def bill(result: Result[Any]) -> list[tuple[str, str, Usage | None]]:
    return [(c.tier, c.purpose, c.usage) for c in result.attempts[0].charges]


async def test_a_sample_asks_the_same_again_and_is_billed_to_the_validator() -> None:
    async def agrees(answer: Answer[Any], context: Context) -> bool:
        assert context.can_sample
        again = await context.sample(purpose="judge")
        return bool(again.value == answer.value)

    result = await charged(agrees, Answer("x", usage=ONE), Answer("x", usage=TWO))
    assert result.accepted
    assert bill(result) == [("a", "answer", ONE), ("a", "judge", TWO)]


async def test_a_validators_question_is_billed_even_when_it_breaks() -> None:
    broken = tier(ProviderError("x", usage=TWO), name="j")

    async def judges(answer: Answer[Any], context: Context) -> bool:
        await context.ask_tier(broken, Request("good?"), purpose="judge")
        return True

    result = await charged(judges, Answer("x", usage=ONE))
    assert result.attempts[0].reason == "judge:crashed:ProviderError"
    assert bill(result) == [("a", "answer", ONE), ("j", "judge", TWO)]


async def test_a_sample_of_a_reask_sees_the_same_handover() -> None:
    script = Scripted("bad", "good", "good")

    async def agrees(answer: Answer[Any], context: Context) -> Any:
        if answer.text == "bad":
            return Verdict.failed(feedback="Not so.")
        return (await context.sample(purpose="agrees")).text == answer.text

    result = await Cascade(tiers=[Tier("a", call=script)], validators=[agrees], reasks=1).run("?")
    assert result.accepted
    asked = [request.messages for request in script.requests]
    assert len(asked[0]) == 1
    assert asked[1] == asked[2]
    assert "Not so." in asked[1][-1]["content"]
