from __future__ import annotations

import functools
import re
from typing import Any

import pytest

from cascade import (
    Answer,
    BadResponseError,
    Breaker,
    Cap,
    Cascade,
    ConfigError,
    Context,
    Deployment,
    Limits,
    Price,
    ProviderTimeoutError,
    Request,
    Secret,
    Spend,
    Tier,
)
from cascade.pricing import price_of
from cascade.testing import HANG, Scripted

pytestmark = pytest.mark.anyio


async def test_a_chat_goes_to_the_callable_with_every_parameter() -> None:
    script = Scripted(Answer("hi", finish_reason="stop"))
    tier = Tier("a", call=script, params={"temperature": 0, "seed": 1})
    tools = [{"type": "function", "function": {"name": "f"}}]
    answer = await tier.chat([{"role": "system", "content": "x"}], seed=2, tools=tools)
    assert (answer.value, answer.finish_reason) == ("hi", "stop")
    assert script.requests == [
        Request([{"role": "system", "content": "x"}], temperature=0, seed=2, tools=tools)
    ]


async def test_a_callable_may_return_any_value() -> None:
    async def counts(request: Request) -> int:
        return len(request.messages)

    answer = await Tier("rules", call=counts).chat("hi")
    assert (answer.value, answer.text) == (1, None)


async def test_an_error_of_the_callable_passes_through() -> None:
    error = BadResponseError("x")
    with pytest.raises(BadResponseError) as caught:
        await Tier("a", call=Scripted(error)).chat("hi")
    assert caught.value is error


@pytest.mark.parametrize(
    ("model", "name"),
    [("openai:gpt-5-nano", "gpt-5-nano"), ("gpt-5-nano", "gpt-5-nano"), (None, None)],
)
def test_the_models_name_is_known_to_sdks_of_ones_own(model: Any, name: Any) -> None:
    assert Tier("a", model=model).model_name == name


def test_a_tier_shows_no_key() -> None:
    tier = Tier("a", model="openai:x", api_key="sk-51de", headers={"x-key": "sk-51de"})
    assert "51de" not in repr(tier)
    assert tier.api_key == Secret("sk-51de")
    assert repr(Tier("b")) == "Tier('b', price=None)"
    assert Tier("a", model="openai:x", api_key=Secret("k")).api_key == Secret("k")


def test_options_are_copied() -> None:
    params, headers = {"seed": 1}, {"x": "y"}
    tier = Tier("a", model="openai:x", params=params, headers=headers)
    params["seed"], headers["x"] = 2, "z"
    assert (tier.params, tier.headers) == ({"seed": 1}, {"x": "y"})


async def test_a_tier_that_nothing_stands_behind_can_judge_but_not_chat() -> None:
    for tier in (Tier("a"), Tier("a", price=Price.free())):
        with pytest.raises(ConfigError, match="tier 'a' has no model to chat with; give it one"):
            await tier.chat("hi")
    with pytest.raises(ConfigError, match="names no provider; write 'openai:gpt'"):
        await Tier("a", model="gpt").chat("hi")


async def nothing(request: Request) -> None: ...


def test_the_price_of_a_listed_model_is_looked_up_once() -> None:
    tier = Tier("a", model="openai:gpt-4o-mini", price="auto")
    assert tier.price == price_of("openai:gpt-4o-mini")
    assert isinstance(tier.price, Price)
    assert Tier("a", model="gpt-4o-mini", price="auto").price == tier.price
    assert Tier("a", model="openai:a-model-of-ones-own", price="auto").price is None


def test_a_cap_needs_a_price_that_is_known() -> None:
    unknown = Tier("a", model="openai:a-model-of-ones-own", price="auto")
    with pytest.raises(ConfigError, match="price"):
        Cascade(tiers=[unknown], spend=Spend(caps=[Cap(1)]))


@pytest.mark.parametrize("deployed", [False, True])
async def test_a_callable_that_is_not_async_is_told_how_to_be(deployed: bool) -> None:
    def blocks(request: Request) -> Any:
        return "hi"

    tier = Tier("a", deployments=[Deployment(call=blocks)]) if deployed else Tier("a", call=blocks)
    with pytest.raises(ConfigError, match="tier 'a': call returned a str that cannot be awaited"):
        await tier.chat("hi")


async def test_a_callable_may_be_anything_that_returns_an_awaitable() -> None:
    async def greets(greeting: str, request: Request) -> str:
        return f"{greeting}, {request.messages[0]['content']}"

    calls: list[Any] = [lambda request: greets("hi", request), functools.partial(greets, "hi")]
    for call in calls:
        assert (await Tier("a", call=call).chat("you")).text == "hi, you"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": ""}, "a tier's name is ''; give it a word"),
        ({"name": 5}, "a tier's name is 5"),
        ({"timeout_s": 0}, "tier 'a': timeout_s=0 is not a time"),
        ({"price": 0.5}, "tier 'a': price is a float; write Price"),
        ({"model": "openai:x", "call": nothing}, "tier 'a' has both model and call"),
        ({"call": "x"}, "tier 'a': call is not callable"),
        ({"model": "opnai:x"}, "names the provider 'opnai'; did you mean 'openai'?"),
        ({"model": "openai:"}, "names no model after the colon"),
        ({"model": "openai:x", "api_key": ""}, "secret is empty"),
        ({"base_url": "http://x"}, "tier 'a': base_url has no effect without a provider"),
        ({"model": "gpt", "api_key": "k"}, "api_key has no effect without a provider"),
        ({"call": nothing, "headers": {"a": "b"}}, "headers has no effect without a provider"),
        ({"call": nothing, "first_token_s": 1}, "first_token_s has no effect without a provider"),
        ({"model": "gpt", "first_token_s": 1}, "first_token_s has no effect without a provider"),
        ({"model": "openai:x", "first_token_s": 0}, "tier 'a': first_token_s=0 is not a time"),
        (
            {"model": "openai:x", "first_token_s": 2, "timeout_s": 2},
            "tier 'a': first_token_s=2 has no effect beside timeout_s=2; give it less",
        ),
        (
            {"model": "openai:x", "first_token_s": 2, "drop_params": ["stream"]},
            "tier 'a': drop_params leaves out 'stream', and first_token_s needs a stream",
        ),
        ({"call": nothing, "price": "auto"}, "tier 'a': price='auto' needs a model to look up"),
        ({"model": "opnai:x", "price": "auto"}, "did you mean 'openai'?"),
        ({"call": nothing, "drop_params": ["seed"]}, "drop_params has no effect"),
        ({"params": {"seed": 1}}, "params has no effect without a provider"),
    ],
)
def test_options_that_do_not_fit_are_named_with_their_mend(options: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        Tier(**{"name": "a", **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": 5}, "model is a int; write it like 'openai:gpt-5-nano'"),
        ({"model": "openai:m", "headers": "k"}, "headers is a str; give a mapping"),
        ({"model": "openai:m", "params": [1]}, "params is a list; give a mapping"),
        ({"model": "openai:m", "params": {"stream": True}}, "params has stream=True; leave it out"),
        ({"model": "openai:m", "drop_params": "seed"}, r"give a list, as in \['seed'\]"),
    ],
)
def test_options_of_the_wrong_kind_name_the_right_one(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Tier("a", **options)


def test_what_leaves_the_process_is_tried_again_and_guarded_by_default() -> None:
    remote = Tier("a", model="openai:m")
    assert remote.retries.times == 2
    assert remote.breaker is not None
    for local in (Tier("a", call=nothing), Tier("a", model="simulated:sim-small"), Tier("a")):
        assert (local.retries.times, local.breaker, local.limits) == (0, None, None)
    bare = Tier("a", model="openai:m", retries=0, breaker=None)
    assert (bare.retries.times, bare.breaker) == (0, None)
    mixed = Tier("a", model="openai:m", deployments=[Deployment(call=nothing), Deployment()])
    assert mixed.retries.times == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"call": nothing, "deployments": [Deployment(call=nothing)]}, "call and deployments"),
        ({"deployments": [Deployment()]}, "Deployment() has no provider; name one in the tier's"),
        ({"model": "gpt", "deployments": [Deployment("eu")]}, "Deployment('eu') has no provider"),
        ({"deployments": ["http://x"]}, "a deployment is a str; write Deployment(...)"),
        ({"deployments": [Deployment(call=nothing)], "api_key": "k"}, "api_key has no effect"),
        ({"model": "openai:m", "breaker": True}, "breaker is a bool; write Breaker(...)"),
        ({"model": "openai:m", "limits": 5}, "limits is a int; write Limits(concurrency"),
        ({"model": "openai:m", "retries": -1}, "retries=-1 is not a whole number"),
        ({"retries": 1}, "retries has no effect without a provider"),
        ({"model": "gpt", "breaker": Breaker()}, "breaker has no effect without a provider"),
        ({"limits": Limits(concurrency=1)}, "limits has no effect without a provider"),
    ],
)
def test_options_of_the_delivery_that_do_not_fit_are_refused(options: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        Tier("a", **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": "gpt"}, "model 'gpt' names no provider; write 'openai:gpt'"),
        ({"call": 5}, "call is not callable"),
        ({"call": nothing, "api_key": "k"}, "has call and an endpoint too; give one of them"),
        ({"url": "x"}, "Deployment has no option 'url'"),
    ],
)
def test_a_deployment_that_cannot_work_is_refused(options: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        Deployment(**options)


def test_a_deployment_shows_no_key() -> None:
    one = Deployment("eu", model="openai:m", base_url="http://x", api_key="sk-51de")
    assert repr(one) == "Deployment('eu', model='openai:m', base_url='http://x')"


@pytest.mark.anyio
async def test_a_tier_keeps_its_time_off_the_ladder_too() -> None:
    slow = Tier("judge", call=Scripted(HANG), timeout_s=0.01)
    with pytest.raises(ProviderTimeoutError, match=r"tier 'judge' gave no answer in 0\.01 s"):
        await slow.chat("is it good?")

    async def asks(answer: Answer[Any], context: Context) -> bool:
        await context.ask_tier(slow, Request("is it good?"), purpose="asks")
        return True

    cascade = Cascade(
        tiers=[Tier("a", call=Scripted("yes"))], validators=[asks], on_exhausted="best"
    )
    result = await cascade.run("?")
    assert result.attempts[0].reason == "asks:crashed:ProviderTimeoutError"
