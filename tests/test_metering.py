from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from cascade import (
    Answer,
    Attempt,
    Breaker,
    Cap,
    Cascade,
    CascadeExhausted,
    Charge,
    ConfigError,
    Context,
    Limits,
    LoadShedError,
    Price,
    ProviderError,
    RateLimitError,
    Request,
    Result,
    Retries,
    ServerError,
    Spend,
    SpendLimitExceeded,
    SQLiteStore,
    Tier,
    TokenLogprob,
    ToolCall,
    Usage,
    Verdict,
    handover,
)
from cascade.metering import Handover, current_invocation, invoke, send, usage_of
from cascade.testing import HANG, Scripted
from cascade.validation import Check

pytestmark = pytest.mark.anyio

USD = Price(input=1, output=2)
ONE, TWO, THREE = Usage(1, 10), Usage(2, 20), Usage(3, 30)


def chat(text: str = "hello", usage: Usage | None = ONE, **facts: Any) -> Answer[str]:
    return Answer(text, usage=usage, **facts)


def tier(*steps: Any, name: str = "a") -> Tier:
    return Tier(name, call=Scripted(*(steps or (chat(),))), price=USD)


async def billed(function: Callable[..., Awaitable[Any]], *steps: Any) -> Result[Any]:
    result: Result[Any] = await Cascade(tiers=[tier(*steps)])(function).run("question")
    return result


def usages(result: Result[Any]) -> list[Usage | None]:
    return [charge.usage for charge in result.attempts[0].charges]


# What a function may make of its chats


async def test_every_chat_of_a_function_is_billed() -> None:
    async def twice(tier: Tier, text: str) -> str:
        first = await tier.chat(text)
        second = await tier.chat(first.value)
        return str(first.value + second.value)

    result = await billed(twice, chat("a", ONE), chat("b", TWO))
    assert (result.value, usages(result), result.usage) == ("ab", [ONE, TWO], Usage(3, 30))


async def test_a_plain_value_made_of_one_chat_keeps_that_chats_facts() -> None:
    tokens = [TokenLogprob("42", -0.1)]
    said = chat("42", logprobs=tokens, finish_reason="stop", model="m-1", raw={"id": 1})

    async def parsed(tier: Tier, text: str) -> int:
        return int((await tier.chat(text)).value)

    result = await billed(parsed, said)
    answer = result.answer
    assert answer is not None
    assert (result.value, answer.text, answer.logprobs) == (42, "42", tokens)
    assert (answer.finish_reason, answer.model, answer.raw) == ("stop", "m-1", {"id": 1})
    assert usages(result) == [ONE]
    assert said.value == "42"  # the chat's own answer is left as it was


async def test_a_functions_own_facts_go_before_its_chats() -> None:
    call = ToolCall("1", "look_up", "{}")

    async def own(tier: Tier, text: str) -> Answer[str]:
        await tier.chat(text)
        return Answer("own", finish_reason="length")

    result = await billed(own, chat("theirs", finish_reason="stop", tool_calls=[call]))
    answer = result.answer
    assert answer is not None
    assert (answer.text, answer.finish_reason, answer.tool_calls) == ("own", "length", [call])


REMADE: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda a: a,
    "replaced": lambda a: replace(a, value=a.value.upper()),
    "with its usage": lambda a: Answer(a.value.upper(), usage=a.usage),
    "with an equal usage": lambda a: Answer("x", usage=replace(a.usage)),
}


@pytest.mark.parametrize("how", REMADE)
async def test_an_answer_made_over_is_billed_once(how: str) -> None:
    async def ask(tier: Tier, text: str) -> Any:
        return REMADE[how](await tier.chat(text))

    assert usages(await billed(ask)) == [ONE]


async def test_usage_summed_up_by_the_function_is_not_billed_again() -> None:
    async def twice(tier: Tier, text: str) -> Any:
        first, second = await tier.chat(text), await tier.chat(text)
        assert first.usage is not None
        assert second.usage is not None
        return Answer("x", usage=first.usage + second.usage)

    assert usages(await billed(twice, chat("a", ONE), chat("b", TWO))) == [ONE, TWO]


async def test_an_sdk_of_ones_own_is_billed_beside_the_chats() -> None:
    async def mixed(tier: Tier, text: str) -> Any:
        await tier.chat(text)
        return Answer("from elsewhere", usage=THREE)

    result = await billed(mixed)
    assert usages(result) == [ONE, THREE]
    assert result.cost_usd == (USD.cost_usd(ONE) or 0) + (USD.cost_usd(THREE) or 0)


async def test_an_sdk_of_ones_own_alone_is_billed_at_the_tiers_price() -> None:
    async def own(tier: Tier, text: str) -> Any:
        return Answer("x", usage=THREE)

    async def silent(tier: Tier, text: str) -> Any:
        return "x"

    assert usages(await billed(own)) == [THREE]
    result = await billed(silent)
    assert (usages(result), result.cost_usd) == ([None], None)


async def test_chats_that_run_at_once_are_all_billed() -> None:
    async def fan_out(tier: Tier, text: str) -> int:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(tier.chat, text)
        return 5

    assert usages(await billed(fan_out)) == [ONE] * 5


async def test_a_chat_deep_in_a_worker_thread_is_billed() -> None:
    async def deep(tier: Tier, text: str) -> Any:
        return await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(tier.chat, text))

    assert usages(await billed(deep)) == [ONE]


async def test_a_chat_of_a_validator_in_a_worker_thread_is_billed_to_it() -> None:
    def asks(answer: Answer[Any], context: Context) -> bool:
        assert context.tier is not None
        return bool(anyio.from_thread.run(context.tier.chat, "?").text)

    check = Check("asks", asks, blocking=True)
    result = await Cascade(tiers=[tier(chat(), chat("yes", TWO))], validators=[check]).run("q")
    charges = result.attempts[0].charges
    assert [(c.purpose, c.usage) for c in charges] == [("answer", ONE), ("asks", TWO)]


async def test_chats_with_another_tier_are_billed_at_its_price() -> None:
    helper = Tier("helper", call=Scripted(chat("h", TWO)), price=Price(input=7, output=7))

    async def with_help(tier: Tier, text: str) -> Any:
        await helper.chat(text)
        return await tier.chat(text)

    result = await billed(with_help)
    assert [(c.tier, c.usage) for c in result.attempts[0].charges] == [("helper", TWO), ("a", ONE)]


# However it ends


@pytest.mark.parametrize(
    ("error", "usage"),
    [(ProviderError("x", usage=TWO), TWO), (ProviderError("x"), None), (ValueError("x"), None)],
)
async def test_a_chat_that_broke_is_billed_as_far_as_it_is_known(error: Any, usage: Any) -> None:
    async def ask(tier: Tier, text: str) -> Any:
        await tier.chat(text)
        return await tier.chat(text)

    with pytest.raises(CascadeExhausted) as caught:
        await billed(ask, chat(), error)
    assert [c.usage for c in caught.value.attempts[0].charges] == [ONE, usage]
    assert usage_of(error) == usage


async def test_a_function_that_breaks_after_its_chat_is_billed_for_the_chat_alone() -> None:
    async def breaks(tier: Tier, text: str) -> Any:
        await tier.chat(text)
        raise KeyError("no such field")

    with pytest.raises(CascadeExhausted) as caught:
        await billed(breaks)
    assert [c.usage for c in caught.value.attempts[0].charges] == [ONE]
    assert caught.value.cost_usd == USD.cost_usd(ONE)


async def test_a_chat_that_the_function_survives_is_billed_too() -> None:
    async def retries(tier: Tier, text: str) -> Any:
        try:
            return await tier.chat(text)
        except ProviderError:
            return await tier.chat(text)

    result = await billed(retries, ProviderError("x", usage=TWO), chat())
    assert (result.value, usages(result)) == ("hello", [TWO, ONE])


async def test_a_cancelled_chat_stays_on_the_bill_as_unknown() -> None:
    async def gives_up(tier: Tier, text: str) -> str:
        with anyio.move_on_after(0.001):
            await tier.chat(text)
        return "gave up"

    result = await billed(gives_up, HANG)
    assert (result.value, usages(result), result.cost_usd) == ("gave up", [None], None)


async def test_a_chat_that_was_never_sent_costs_nothing() -> None:
    tier, spend = one_call("10", **script(HANG), limits=Limits(concurrency=1))
    charges: list[Charge] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tier.chat, "hi")
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.01):  # it waits in the queue all the time
            await invoke(send, tier, (Request("hi"),), {}, charges, spend=spend.for_call())
        tasks.cancel_scope.cancel()
    assert [charge.cost_usd for charge in charges] == [0]
    assert await spent(spend) == 0


async def test_what_is_cancelled_after_a_refused_chat_is_unknown() -> None:
    """The function went on by an SDK of its own, whose call may have been billed."""
    tier, _ = one_call("10", **script(HANG), limits=Limits(concurrency=1, max_queue=0))

    async def function(tier: Tier, request: Request) -> None:
        with pytest.raises(LoadShedError):
            await tier.send(request)
        scope.cancel()
        await anyio.sleep_forever()

    charges: list[Charge] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tier.chat, "hi")
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as scope:
            await invoke(function, tier, (Request("hi"),), {}, charges)
        tasks.cancel_scope.cancel()
    assert [charge.cost_usd for charge in charges] == [None]


async def test_a_chat_outside_of_every_cascade_is_just_a_chat() -> None:
    assert current_invocation() is None
    assert handover() is None
    answer = await tier().chat("hello", temperature=0)
    assert (answer.value, answer.usage) == ("hello", ONE)
    assert current_invocation() is None


async def test_an_invocation_ends_with_its_call() -> None:
    async def ask(tier: Tier, text: str) -> str:
        invocation = current_invocation()
        assert invocation is not None
        assert (invocation.tier.name, invocation.purpose) == ("a", "answer")
        return "x"

    await billed(ask)
    assert current_invocation() is None


async def test_invoke_tells_the_last_request_and_who_asked() -> None:
    charges: list[Any] = []
    answer, request = await invoke(send, tier(), (Request("hi"),), {}, charges, purpose="judge")
    assert (answer.value, request) == ("hello", Request("hi"))
    assert [(c.purpose, c.usage) for c in charges] == [("judge", ONE)]


# Cascades inside of cascades


@pytest.mark.parametrize("hands_on", ["value", "answer", "result"])
async def test_an_inner_cascades_bill_is_part_of_the_outer_one_once(hands_on: str) -> None:
    inner = Cascade(
        tiers=[tier(chat("bad", ONE), name="x"), tier(chat("good", TWO), name="y")],
        validators=[lambda a, c: a.text == "good"],
    )

    async def outer(tier: Tier, text: str) -> Any:
        result = await inner.run(text)
        return {"value": result.value, "answer": result.answer, "result": result}[hands_on]

    result = await billed(outer)
    assert [(c.tier, c.usage) for c in result.attempts[0].charges] == [("x", ONE), ("y", TWO)]
    assert result.usage == THREE


async def test_an_inner_cascade_that_found_nothing_is_billed_all_the_same() -> None:
    async def asks(answer: Answer[Any], context: Any) -> bool:
        await context.ask_tier(tier(chat("no", THREE), name="judge"), Request("?"), purpose="j")
        return False

    inner = Cascade(tiers=[tier(chat("bad", ONE), name="x")], validators=[asks])

    async def outer(tier: Tier, text: str) -> Any:
        return await inner.run(text)

    with pytest.raises(CascadeExhausted) as caught:
        await billed(outer)
    (attempt,) = caught.value.attempts
    assert attempt.reason == "CascadeExhausted"
    assert [(c.tier, c.purpose, c.usage) for c in attempt.charges] == [
        ("x", "answer", ONE),
        ("judge", "j", THREE),
    ]


# Handing over


def rejected(answer: Answer[Any], feedback: str | None = None) -> Attempt:
    verdicts = [Verdict.failed("no", feedback=feedback)]
    return Attempt("a", outcome="rejected", answer=answer, verdicts=verdicts)


def test_a_handover_says_what_was_answered_and_what_was_wrong() -> None:
    made = Handover.of(rejected(Answer("forty"), "Write digits."))
    assert made is not None
    assert (made.tier, made.feedback) == ("a", "Write digits.")
    assistant, user = made.messages()
    assert assistant == {"role": "assistant", "content": "forty"}
    assert user["role"] == "user"
    assert "What was wrong:\nWrite digits.\n" in user["content"]
    assert "forty" not in repr(made)
    assert "digits" not in repr(made)


def test_a_handover_without_words_still_asks_again() -> None:
    (user,) = _messages(Answer({"a": 1}))
    assert (user["role"], "What was wrong" in user["content"]) == ("user", False)


def test_a_handover_of_tool_calls_quotes_them_as_text() -> None:
    calls = [ToolCall("1", "find", '{"id": 7}'), ToolCall("2", "stop", "{}")]
    assistant, _ = _messages(Answer(None, tool_calls=calls))
    assert assistant == {"role": "assistant", "content": 'find({"id": 7})\nstop({})'}


def _messages(answer: Answer[Any]) -> Any:
    made = Handover.of(rejected(answer))
    assert made is not None
    return made.messages()


def test_only_a_rejected_answer_is_handed_over() -> None:
    assert Handover.of(Attempt("a", outcome="failed")) is None
    # Its tier's time ran out while it was judged: nobody has rejected it.
    assert Handover.of(Attempt("a", outcome="timed_out", answer=Answer("x"))) is None


async def test_the_handover_goes_with_the_first_chat_only() -> None:
    script = Scripted(chat("bad"), chat("x"), chat("good"))
    seen: list[Handover | None] = []

    @Cascade(
        tiers=[Tier("a", call=script)],
        validators=[lambda a, c: Verdict.passed() if a.text == "good" else Verdict.failed()],
        reasks=1,
    )
    async def ask(tier: Tier, text: str) -> Any:
        seen.append(handover())
        if seen[-1] is not None:
            await tier.chat(text, seed=7)
        return await tier.chat(text)

    assert await ask("q") == "good"
    assert seen[0] is None
    assert seen[1] is not None
    assert seen[1].answer.text == "bad"
    assert [len(request.messages) for request in script.requests] == [1, 3, 1]
    assert script.requests[1].params == {"seed": 7}


# Spend caps


def one_call(usd: str, per_call_usd: str = "1", **options: Any) -> tuple[Tier, Spend]:
    """A tier whose calls are expected to cost `per_call_usd`, and caps of `usd` a day."""
    price = Price(input=0, output=Decimal(per_call_usd) * 1000)
    asked = Tier("a", price=price, params={"max_tokens": 1000}, **options)
    return asked, Spend(caps=[Cap(usd)])


async def spent(spend: Spend) -> Decimal:
    with pytest.raises(SpendLimitExceeded) as caught:
        await spend.reserve(Decimal(10**9))
    assert caught.value.spent_usd is not None
    return caught.value.spent_usd


def script(*steps: Any) -> Any:
    return {"call": Scripted(*steps)}


HALF = Usage(5, 500)  # of what a call of `one_call` is expected to write


async def asked(spend: Spend, tier: Tier, function: Any = send, args: Any = None) -> list[Charge]:
    charges: list[Charge] = []
    await invoke(function, tier, args or (Request("hi"),), {}, charges, spend=spend.for_call())
    return charges


async def test_a_call_is_settled_at_what_it_was_billed() -> None:
    tier, spend = one_call("10", **script(chat(usage=HALF)))
    charges = await asked(spend, tier)
    assert await spent(spend) == charges[0].cost_usd == Decimal("0.5")


async def test_a_call_that_does_not_fit_is_not_made_and_not_billed() -> None:
    played = Scripted(chat())
    tier, spend = one_call("0.99", call=played)
    charges: list[Charge] = []
    with pytest.raises(SpendLimitExceeded):
        await invoke(send, tier, (Request("hi"),), {}, charges, spend=spend.for_call())
    assert not charges
    assert not played.requests
    assert await spent(spend) == 0


async def test_of_fifty_calls_at_once_the_cap_lets_five_through() -> None:
    played = Scripted(chat(usage=Usage(5, 1000)))
    tier, spend = one_call("5", call=played)
    refused: list[SpendLimitExceeded] = []

    async def offer() -> None:
        try:
            await asked(spend, tier)
        except SpendLimitExceeded as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(offer)
    assert (len(played.requests), len(refused)) == (5, 45)
    assert await spent(spend) == 5


@pytest.mark.parametrize(
    ("step", "usd"),
    [
        (chat(usage=None), 1),  # unknown: what was reserved stands
        (ProviderError("broke"), 1),
        (ProviderError("refused", usage=Usage(0, 0)), 0),
        (ConfigError("not sent"), 0),
    ],
)
async def test_a_call_is_settled_however_it_ends(step: Any, usd: int) -> None:
    tier, spend = one_call("10", **script(step))
    if isinstance(step, Exception):
        with pytest.raises(type(step)):
            await asked(spend, tier)
    else:
        await asked(spend, tier)
    assert await spent(spend) == usd


@pytest.mark.parametrize("in_file", [False, True])
async def test_a_cancelled_call_is_settled_as_unknown(in_file: bool, tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "spend.db")
    spend = Spend(caps=[Cap(10)], store=store if in_file else None)
    with anyio.CancelScope() as scope:

        async def cancelled(request: Request) -> None:
            scope.cancel()
            await anyio.sleep_forever()

        tier, _ = one_call("10", call=cancelled)
        await asked(spend, tier)
    assert await spent(spend) == 1
    store.close()


async def test_each_chat_of_a_function_reserves_and_settles() -> None:
    async def thrice(tier: Tier, text: str) -> str:
        for _ in range(3):
            await tier.chat(text)
        return "done"

    tier, spend = one_call("10", **script(chat(usage=HALF)))
    await asked(spend, tier, thrice, ("hi",))
    assert await spent(spend) == Decimal("1.5")
    short = Spend(caps=[Cap("1.9")])  # 0.5 + 0.5, and 1 more might be needed
    with pytest.raises(SpendLimitExceeded):
        await asked(short, tier, thrice, ("hi",))
    assert await spent(short) == 1


async def test_a_chat_that_may_cost_more_than_was_guessed_reserves_more() -> None:
    async def longer(tier: Tier, text: str) -> Any:
        return await tier.chat(text, max_tokens=3000)

    tier, spend = one_call("3", **script(chat(usage=Usage(5, 3000))))
    await asked(spend, tier, longer, ("hi",))
    assert await spent(spend) == 3
    short = Spend(caps=[Cap("2.9")])
    with pytest.raises(SpendLimitExceeded) as caught:
        await asked(short, tier, longer, ("hi",))
    assert caught.value.asked_usd == 2
    assert await spent(short) == 0


async def test_a_function_with_an_sdk_of_its_own_is_settled_by_its_answer() -> None:
    async def own(tier: Tier, text: str) -> Answer[str]:
        return Answer("own", usage=HALF)

    async def beside(tier: Tier, text: str) -> Answer[str]:
        await tier.chat(text)
        return Answer("own", usage=Usage(7, 700))

    async def silent(tier: Tier, text: str) -> str:
        return "own"

    for function, usd in ((own, "0.5"), (beside, "1.2"), (silent, "1")):
        tier, spend = one_call("10", **script(chat(usage=HALF)))
        await asked(spend, tier, function, ("hi",))
        assert await spent(spend) == Decimal(usd), function


@pytest.mark.parametrize("is_same", [True, False])
async def test_what_is_inside_of_each_other_is_reserved_and_spent_once(is_same: bool) -> None:
    tier, spend = one_call("1", **script(chat(usage=HALF)))
    inner_spend = spend if is_same else Spend(caps=[Cap(1)])

    async def inner(tier: Tier, text: str) -> Any:
        return (await asked(inner_spend, tier, args=(Request(text),)),)

    await asked(spend, tier, inner, ("hi",))
    assert await spent(spend) == await spent(inner_spend) == Decimal("0.5")


async def test_a_cascade_without_caps_counts_under_those_around_it() -> None:
    tier, spend = one_call("1", **script(chat(usage=HALF)))
    inner = Cascade(tiers=[tier])

    async def outer(tier: Tier, text: str) -> Any:
        return await inner.run(text)

    await asked(spend, tier, outer, ("hi",))
    assert await spent(spend) == Decimal("0.5")
    with pytest.raises(SpendLimitExceeded):
        await asked(spend, tier, outer, ("hi",))
    assert await spent(spend) == Decimal("0.5")


async def test_samples_judges_and_a_validators_own_chats_are_capped_too() -> None:
    tier, spend = one_call("10", **script(chat(usage=HALF)))

    async def ask(tier: Tier, text: str) -> Any:
        return await tier.chat(text)

    call = spend.for_call()
    context = Context(tier, None, ("hi",), call=ask, spend=call)
    await context.sample(purpose="agreement")
    assert await spent(spend) == Decimal("0.5")
    await context.ask_tier(tier, Request("is it so?"), purpose="judge")
    assert await spent(spend) == Decimal("1.0")
    with context.billed_to("mine"):
        await tier.chat("and now?")
    assert await spent(spend) == Decimal("1.5")


async def test_guesses_learn_from_what_is_billed() -> None:
    tier = Tier("learns", price=USD, **script(chat(usage=Usage(5000, 1))))
    spend = Spend(caps=[Cap(10)])
    request = Request("word " * 1000)
    before = spend.estimate_usd(tier, (request,))
    for _ in range(5):
        await asked(spend, tier, args=(request,))
    assert spend.estimate_usd(tier, (request,)) > before


async def test_each_try_of_a_tier_reserves_for_itself() -> None:
    refused = RateLimitError("later", usage=Usage(0, 0), retry_after_s=0)
    broke = ServerError("broke")  # it may have been billed, nobody knows
    tier, spend = one_call("10", **script(refused, broke, chat(usage=HALF)), retries=Retries(2))
    await asked(spend, tier)
    assert await spent(spend) == Decimal("1.5")


async def test_a_refused_call_is_not_held_against_the_endpoint() -> None:
    played = Scripted(chat(usage=Usage(5, 1000)))
    tier, _ = one_call("1", call=played, breaker=Breaker(consecutive=1))
    spent_up, other = Spend(caps=[Cap(1)]), Spend(caps=[Cap(2)])

    async def twice(tier: Tier, text: str) -> Any:
        await tier.chat(text)
        return await tier.chat(text)

    with pytest.raises(SpendLimitExceeded):
        await asked(spent_up, tier, twice, ("hi",))
    await asked(other, tier, twice, ("hi",))
    assert len(played.requests) == 3
