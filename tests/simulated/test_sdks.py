"""The official SDKs of the providers read what the simulated server sends."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from cascade.simulated import (
    Case,
    Hang,
    Reset,
    Truncate,
    grade,
    serve_models,
    simulated_models,
    workload,
)
from cascade.simulated.http import Step

pytestmark = pytest.mark.asyncio

PARAMETERS: dict[str, Any] = {"type": "object", "properties": {"order_id": {"type": "string"}}}
FAULTS = [Reset(), Hang(), Truncate({"id": "x"}, keep=3)]
(CASE,) = workload(1)


@asynccontextmanager
async def openai_client(*faults: Step, patience_s: float = 30) -> AsyncIterator[openai.AsyncOpenAI]:
    async with serve_models(
        simulated_models(), speed=math.inf, api_key="key", faults=faults
    ) as server:
        async with openai.AsyncOpenAI(
            base_url=f"{server.url}/v1", api_key="key", max_retries=0, timeout=patience_s
        ) as client:
            yield client


@asynccontextmanager
async def anthropic_client(
    *faults: Step, patience_s: float = 30
) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with serve_models(
        simulated_models(), speed=math.inf, api_key="key", faults=faults
    ) as server:
        async with anthropic.AsyncAnthropic(
            base_url=server.url, api_key="key", max_retries=0, timeout=patience_s
        ) as client:
            yield client


def openai_messages(case: Case) -> list[ChatCompletionMessageParam]:
    return [
        {"role": "system", "content": case.messages[0]["content"]},
        {"role": "user", "content": case.messages[1]["content"]},
    ]


async def test_openai_reads_a_completion() -> None:
    async with openai_client() as client:
        done = await client.chat.completions.create(
            model="sim-large",
            messages=openai_messages(CASE),
            logprobs=True,
            top_logprobs=2,
            n=2,
            temperature=0,
        )
    assert len(done.choices) == 2
    assert grade(CASE, done.choices[0].message.content)
    assert done.choices[0].logprobs is not None
    assert done.choices[0].logprobs.content is not None
    assert done.choices[0].logprobs.content[0].top_logprobs[1].logprob < 0
    assert done.usage is not None
    assert done.usage.prompt_tokens_details is not None
    assert done.system_fingerprint == "simulated"


async def test_openai_reads_a_stream() -> None:
    async with openai_client() as client:
        stream = await client.chat.completions.create(
            model="sim-large",
            messages=openai_messages(CASE),
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert grade(CASE, text)
    assert chunks[-1].usage is not None


async def test_openai_accumulates_a_streamed_tool_call() -> None:
    tool: ChatCompletionToolParam = {
        "type": "function",
        "function": {"name": "order_status", "parameters": PARAMETERS},
    }
    async with openai_client() as client:
        async with client.chat.completions.stream(
            model="sim-small",
            messages=[{"role": "user", "content": "order status of A-77?"}],
            tools=[tool],
        ) as stream:
            done = await stream.get_final_completion()
    calls = done.choices[0].message.tool_calls
    assert calls is not None
    assert json.loads(calls[0].function.arguments) == {"order_id": "A-77"}
    assert done.choices[0].finish_reason == "tool_calls"


async def test_openai_raises_its_own_errors() -> None:
    async with openai_client() as client:
        with pytest.raises(openai.NotFoundError) as not_found:
            await client.chat.completions.create(model="none", messages=openai_messages(CASE))
        assert not_found.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as bad:
            await client.chat.completions.create(model="sim-small", messages=[])
        assert bad.value.param == "messages"
        with pytest.raises(openai.AuthenticationError):
            await client.with_options(api_key="other").models.list()
        names = [model.id async for model in client.models.list()]
    assert names == ["sim-small", "sim-medium", "sim-large"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
async def test_openai_meets_faults(fault: Step) -> None:
    async with openai_client(fault, patience_s=0.2) as client:
        with pytest.raises(openai.APIConnectionError):
            await client.chat.completions.create(model="sim-small", messages=openai_messages(CASE))


async def test_anthropic_reads_a_message() -> None:
    async with anthropic_client() as client:
        message = await client.messages.create(
            model="sim-large",
            max_tokens=500,
            system=CASE.messages[0]["content"],
            messages=[{"role": "user", "content": CASE.prompt}],
        )
    (block,) = message.content
    assert block.type == "text"
    assert grade(CASE, block.text)
    assert message.stop_reason == "end_turn"
    assert message.usage.cache_read_input_tokens == 0


async def test_anthropic_accumulates_a_stream() -> None:
    async with anthropic_client() as client:
        async with client.messages.stream(
            model="sim-large",
            max_tokens=500,
            messages=[{"role": "user", "content": "order status of A-77?"}],
            tools=[{"name": "order_status", "input_schema": PARAMETERS}],
        ) as stream:
            message = await stream.get_final_message()
        async with client.messages.stream(
            model="sim-large", max_tokens=500, messages=[{"role": "user", "content": "Hi"}]
        ) as stream:
            text = "".join([part async for part in stream.text_stream])
    (block,) = message.content
    assert block.type == "tool_use"
    assert block.input == {"order_id": "A-77"}
    assert message.usage.output_tokens > 0
    assert "simulated" in text


async def test_anthropic_raises_its_own_errors() -> None:
    async with anthropic_client() as client:
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.create(
                model="none", max_tokens=5, messages=[{"role": "user", "content": "Hi"}]
            )
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.create(model="sim-small", max_tokens=5, messages=[])
        with pytest.raises(anthropic.AuthenticationError):
            await client.with_options(api_key="other").models.list()
        names = [model.id async for model in client.models.list()]
    assert names == ["sim-small", "sim-medium", "sim-large"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
async def test_anthropic_meets_faults(fault: Step) -> None:
    async with anthropic_client(fault, patience_s=0.2) as client:
        with pytest.raises(anthropic.APIConnectionError):
            await client.messages.create(
                model="sim-small", max_tokens=5, messages=[{"role": "user", "content": "Hi"}]
            )
