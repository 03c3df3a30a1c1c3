"""What SDKs return is understood with all its facts. The SDKs are the real ones."""

from __future__ import annotations

import copy
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message
from anthropic.types.beta import BetaMessage
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from pydantic import BaseModel, ConfigDict

from cascade import Cascade, Price, Tier
from cascade.answers import understand
from cascade.errors import BadResponseError
from cascade.providers.openai import read_completion
from cascade.simulated import Reply, Server, script, serve, serve_models, simulated_models
from cascade.testing import Scripted
from cascade.types import Answer, TokenLogprob, ToolCall, Usage

pytestmark = pytest.mark.asyncio

HI: Any = [{"role": "user", "content": "hi"}]


def simulated() -> AbstractAsyncContextManager[Server]:
    return serve_models(simulated_models(), speed=float("inf"))


def openai_at(server: Server) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)


def anthropic_at(server: Server) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=server.url, api_key="k", max_retries=0)


TOOL: Any = {
    "type": "function",
    "function": {"name": "find", "parameters": {"type": "object", "properties": {}}},
}
CHAT: dict[str, Any] = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-x",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": '{"city": "Bonn"}',
                "refusal": "partly",
                "reasoning_content": "an extra of another server",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            "logprobs": {
                "content": [
                    {
                        "token": "{",
                        "logprob": -0.5,
                        "bytes": [123],
                        "top_logprobs": [
                            {"token": "{", "logprob": -0.5, "bytes": [123]},
                            {"token": "[", "logprob": -1.5, "bytes": [91]},
                        ],
                    }
                ]
            },
        }
    ],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
}


def check_chat(answer: Answer[Any], response: object, refusal: str | None = "partly") -> None:
    assert answer.value is response
    assert answer.raw is response
    assert answer.text == '{"city": "Bonn"}'
    assert answer.refusal == refusal
    assert answer.reasoning == "an extra of another server"
    assert answer.finish_reason == "tool_calls"
    assert answer.model == "gpt-x"
    assert answer.tool_calls == (ToolCall("c1", "f", "{}"),)
    assert answer.usage == Usage(10, 5, 4, None, 2)
    assert answer.logprobs == (TokenLogprob("{", -0.5, (("{", -0.5), ("[", -1.5)), b"{"),)


class City(BaseModel):
    city: str


class Unserialisable(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="allow")

    city: str

    def model_post_init(self, context: Any) -> None:
        self.handle = SimpleNamespace(open=True)


async def test_chat_completions() -> None:
    async with serve(script(then=Reply(body=CHAT))) as server, openai_at(server) as client:
        response = await client.chat.completions.create(model="m", messages=HI)
        assert type(response) is ChatCompletion
        check_chat(understand(response), response)


@pytest.mark.parametrize("wanted", [City, Unserialisable])
async def test_parsed_chat_completions(wanted: type[City | Unserialisable]) -> None:
    body = copy.deepcopy(CHAT)
    body["choices"][0]["message"]["refusal"] = None  # the SDK does not parse what was refused
    async with serve(script(Reply(body=body))) as server, openai_at(server) as client:
        response = await client.chat.completions.parse(
            model="m",
            messages=HI,
            response_format=wanted,
        )
        parsed: Any = response.choices[0].message.parsed
        assert parsed is not None
        assert parsed.city == "Bonn"
        check_chat(understand(response), response, refusal=None)


async def test_chat_completions_of_the_simulated_server() -> None:
    async with simulated() as server, openai_at(server) as client:
        response = await client.chat.completions.create(
            model="sim-small",
            messages=HI,
            logprobs=True,
            top_logprobs=2,
        )
    answer = understand(response)
    assert answer.text == response.choices[0].message.content
    assert answer.logprobs is not None
    assert "".join(token.token for token in answer.logprobs) == answer.text
    assert all(len(token.top) == 2 for token in answer.logprobs)
    assert answer.usage is not None
    assert response.usage is not None
    assert answer.usage.input_tokens == response.usage.prompt_tokens
    assert answer.usage.output_tokens == response.usage.completion_tokens


async def test_streamed_chat_completions() -> None:
    async with (
        simulated() as server,
        openai_at(server) as client,
        client.chat.completions.stream(
            model="sim-small",
            messages=HI,
            stream_options={"include_usage": True},
        ) as stream,
    ):
        response = await stream.get_final_completion()
    answer = understand(response)
    assert answer.text
    assert answer.finish_reason == "stop"
    assert answer.usage is not None


RESPONSE: dict[str, Any] = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "model": "gpt-x",
    "status": "completed",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "output": [
        {"id": "1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {
            "id": "2",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [
                {
                    "type": "output_text",
                    "text": '{"city": "Bonn"}',
                    "annotations": [],
                    "logprobs": [
                        {"token": "{", "logprob": -0.5, "bytes": [123], "top_logprobs": []}
                    ],
                },
                {"type": "refusal", "refusal": "partly"},
            ],
        },
        {"id": "3", "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    ],
    "usage": {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        "output_tokens_details": {"reasoning_tokens": 2},
    },
}


def check_response(answer: Answer[Any], response: object) -> None:
    assert answer.value is response
    assert answer.text == '{"city": "Bonn"}'
    assert answer.refusal == "partly"
    assert answer.reasoning == "hm"
    assert answer.finish_reason == "tool_calls"
    assert answer.model == "gpt-x"
    assert answer.tool_calls == (ToolCall("c1", "f", "{}"),)
    assert answer.usage == Usage(10, 5, 4, 1, 2)
    assert answer.logprobs == (TokenLogprob("{", -0.5, (), b"{"),)


async def test_responses() -> None:
    async with serve(script(then=Reply(body=RESPONSE))) as server, openai_at(server) as client:
        response = await client.responses.create(model="m", input="hi")
        assert type(response) is Response
        check_response(understand(response), response)


async def test_parsed_responses() -> None:
    async with serve(script(then=Reply(body=RESPONSE))) as server, openai_at(server) as client:
        response = await client.responses.parse(model="m", input="hi", text_format=City)
        assert response.output_parsed == City(city="Bonn")
        check_response(understand(response), response)


async def test_a_response_that_ran_out_of_tokens() -> None:
    body = {**RESPONSE, "status": "incomplete"}
    body["incomplete_details"] = {"reason": "max_output_tokens"}
    async with serve(script(Reply(body=body))) as server, openai_at(server) as client:
        response = await client.responses.create(model="m", input="hi")
        assert understand(response).finish_reason == "length"


MESSAGE: dict[str, Any] = {
    "id": "msg",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Hi ", "citations": None},
        {"type": "text", "text": "there", "citations": None},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1]}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 2,
    },
}


def check_message(answer: Answer[Any], response: object) -> None:
    assert answer.value is response
    assert answer.text == "Hi there"
    assert answer.reasoning == "hm"
    assert answer.finish_reason == "tool_calls"
    assert answer.model == "claude-x"
    assert answer.tool_calls == (ToolCall("t1", "f", '{"a": [1]}'),)
    assert answer.usage == Usage(16, 5, 4, 2)


async def test_messages() -> None:
    async with serve(script(then=Reply(body=MESSAGE))) as server, anthropic_at(server) as client:
        message = await client.messages.create(model="m", messages=HI, max_tokens=9)
        assert type(message) is Message
        check_message(understand(message), message)
        beta = await client.beta.messages.create(model="m", messages=HI, max_tokens=9)
        assert type(beta) is BetaMessage
        check_message(understand(beta), beta)


async def test_a_refused_message() -> None:
    body = {**MESSAGE, "stop_reason": "refusal", "content": [{"type": "text", "text": "No."}]}
    async with serve(script(Reply(body=body))) as server, anthropic_at(server) as client:
        message = await client.messages.create(model="m", messages=HI, max_tokens=9)
        answer = understand(message)
    assert (answer.finish_reason, answer.refusal) == ("content_filter", "No.")


@pytest.mark.parametrize("beta", [False, True])
async def test_streamed_messages(beta: bool) -> None:
    async with simulated() as server, anthropic_at(server) as client:
        messages: Any = client.beta.messages if beta else client.messages
        async with messages.stream(model="sim-small", messages=HI, max_tokens=4) as stream:
            message = await stream.get_final_message()
    answer = understand(message)
    assert answer.value is message
    assert answer.text == message.content[0].text
    assert answer.finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.output_tokens == message.usage.output_tokens


async def test_tool_calls_of_the_simulated_server() -> None:
    async with simulated() as server, openai_at(server) as client:
        response = await client.chat.completions.create(
            model="sim-small",
            messages=HI,
            tools=[TOOL],
            tool_choice="required",
        )
    answer = understand(response)
    assert answer.text is None
    assert [call.name for call in answer.tool_calls] == ["find"]
    assert answer.finish_reason == "tool_calls"


async def test_an_sdk_object_without_an_answer_is_a_bad_response() -> None:
    response = ChatCompletion.model_construct(choices=[], usage=None)
    with pytest.raises(BadResponseError):
        understand(response)


class Instrumented(ChatCompletion):
    """What tracing tools make of a response."""


async def test_subclasses_of_sdk_objects() -> None:
    response = Instrumented.model_validate(CHAT)
    check_chat(understand(response), response)


async def test_both_readings_of_one_body_agree() -> None:
    read, understood = read_completion(CHAT), understand(ChatCompletion.model_validate(CHAT))
    understood.value, understood.raw = read.value, read.raw
    assert understood == read


class Point(BaseModel):
    x: int = 1


class Message2(Message):
    """Found by its base class, whatever its own name."""


@pytest.mark.parametrize(
    "value",
    ["text", b"bytes", 1, 1.5, True, None, {"a": 1}, [1], (1,), {1}, Point(), object(), Message],
    ids=lambda value: type(value).__name__,
)
async def test_plain_values(value: Any) -> None:
    answer = understand(value)
    assert answer.value is value
    assert answer.text == (value if isinstance(value, str) else None)
    assert answer.usage is None
    assert answer.raw is None


class Noted(Answer[str]):
    """A user's own kind of answer."""


async def test_answers_are_returned_as_they_are() -> None:
    for answer in (Answer("a"), Noted("a")):
        assert understand(answer) is answer


async def test_a_renamed_subclass_of_a_message() -> None:
    message = Message2.model_validate(MESSAGE)
    check_message(understand(message), message)


# The results of other cascades


async def test_a_result_keeps_the_facts_of_its_answer_and_is_not_billed_again() -> None:
    said = Answer("yes", finish_reason="stop", usage=Usage(1, 2))
    result = await Cascade(tiers=[Tier("a", call=Scripted(said))]).run("?")
    answer = understand(result)
    assert (answer.value, answer.text, answer.finish_reason) == (result, "yes", "stop")
    assert answer.usage is None  # the cascade it comes from has billed it


async def test_a_result_that_was_not_accepted_is_not_accepted_by_the_cascade_around_it() -> None:
    inner = Cascade(
        tiers=[Tier("a", call=Scripted(Answer("bad")), price=Price.free())],
        validators=[lambda answer, context: False],
        on_exhausted="best",
    )
    outer = Cascade(
        tiers=[Tier("inner", call=inner.run), Tier("b", call=Scripted(Answer("good")))],
    )
    result = await outer.run("?")
    assert (result.value, result.attempts[0].reason) == ("good", "CascadeExhausted")
