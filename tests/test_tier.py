from __future__ import annotations

import re
from typing import Any

import pytest

from cascade import Answer, BadResponseError, ConfigError, Price, Request, Secret, Tier
from cascade.testing import Scripted

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
