"""However a stream is cut into pieces, and whatever is missing of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import anyio
import pytest
from anyio import CancelScope
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import BadResponseError
from cascade.providers._completion_stream import CompletionAssembly
from cascade.providers._message_stream import MessageAssembly
from cascade.providers._streaming import _Reading
from cascade.providers.anthropic import _usage as message_usage
from cascade.providers.anthropic import read_message
from cascade.providers.openai import _usage as completion_usage
from cascade.providers.openai import read_completion
from cascade.simulated import HttpRequest, Reply, model_handler, simulated_models
from cascade.types import Answer
from tests.providers.support import TOOL


def recorded_stream(provider: str, **params: Any) -> bytes:
    """What the simulated server streams."""

    async def record() -> bytes:
        messages = [{"role": "user", "content": "Which plan has single sign-on? ünï 🙂"}]
        body = {"model": "sim-small", "messages": messages, "stream": True, **params}
        path = "/v1/chat/completions" if provider == "openai" else "/v1/messages"
        handle = model_handler(simulated_models(), speed=math.inf)
        reply = await handle(HttpRequest("POST", path, "", {}, json.dumps(body).encode()))
        assert isinstance(reply, Reply)
        assert reply.stream is not None
        return b"".join([piece async for piece in reply.stream])

    return anyio.run(record)


STREAMS = {
    "openai": recorded_stream("openai", logprobs=True, n=2, stream_options={"include_usage": True}),
    "openai tools": recorded_stream("openai", tools=[TOOL], tool_choice="required"),
    "anthropic": recorded_stream("anthropic", max_tokens=20),
    "anthropic tools": recorded_stream(
        "anthropic",
        max_tokens=20,
        tools=[{"name": "lookup", "input_schema": TOOL["function"]["parameters"]}],
        tool_choice={"type": "any"},
    ),
}


def read(name: str, *pieces: bytes) -> Answer[Any]:
    """The answer in a stream that comes in such pieces."""

    async def put_together() -> dict[str, Any]:
        assembly = (
            CompletionAssembly(completion_usage)
            if name.startswith("openai")
            else MessageAssembly(message_usage)
        )
        reading = _Reading("p:m", assembly, CancelScope())
        for piece in pieces:
            assert reading.take(piece)
        return reading.result(None)

    body = anyio.run(put_together)
    return read_completion(body) if name.startswith("openai") else read_message(body)


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 20_000), max_size=40))
def test_pieces_of_any_length_are_the_same_answer(name: str, cuts: list[int]) -> None:
    stream = STREAMS[name]
    at = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(at)]
    assert read(name, *pieces) == read(name, stream)


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_byte_by_byte_with_other_line_ends_it_is_the_same_answer(name: str) -> None:
    stream = STREAMS[name]
    for end in (b"\n", b"\r", b"\r\n"):
        other = stream.replace(b"\n", end)
        assert read(name, *(bytes([byte]) for byte in other)) == read(name, stream)


def became(name: str, part: bytes) -> Answer[Any] | BadResponseError:
    try:
        return read(name, part)
    except BadResponseError as error:
        return error


@given(st.sampled_from(sorted(STREAMS)), st.integers(0, 20_000))
def test_a_part_of_a_stream_is_never_taken_for_another_answer(name: str, kept: int) -> None:
    whole, part = read(name, STREAMS[name]), STREAMS[name][: kept % len(STREAMS[name])]
    of_part = became(name, part)
    assert of_part.usage in (None, whole.usage)
    if isinstance(of_part, Answer):
        # The bill and the choices beside the first one may be missing.
        assert replace(of_part, usage=whole.usage, raw=whole.raw) == whole
