from __future__ import annotations

import json
import math
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cascade.errors import BadResponseError
from cascade.providers import PROVIDERS
from cascade.providers._reading import LOGPROB_FLOOR
from cascade.providers.openai import read_completion, read_response
from cascade.simulated import script, serve
from cascade.tier import Tier
from cascade.types import Answer, Request, TokenLogprob, ToolCall, Usage
from tests.providers.support import completion, scripted

KEYS = st.text(min_size=1, max_size=8).filter(lambda key: key not in ("model", "stream"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=8), JSON, max_size=4), min_size=1, max_size=3),
    st.dictionaries(KEYS.filter(lambda key: key != "messages"), JSON, max_size=5),
)
def test_a_request_reaches_the_provider_as_it_was_given(
    messages: list[dict[str, Any]], params: dict[str, Any]
) -> None:
    async def send() -> str:
        async with scripted(completion()) as s:
            await s.tier.send(Request.of({"messages": messages, **params}))
            assert s.server.requests[0].method == "POST"
            assert s.server.requests[0].path == "/v1/chat/completions"
            return s.server.requests[0].body.decode()

    body = json.loads(anyio.run(send))
    expected = {"model": "m", "messages": messages, **params}
    assert json.dumps(body) == json.dumps(expected), "values and the order of keys"


REQUEST: dict[str, Any] = {
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function"}]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
    "seed": 7,
    "stop": ["\n"],
    "logprobs": True,
    "top_logprobs": 5,
    "metadata": {"id": "1"},
    "guided_regex": "a+",
    "n": 2,
    "temperature": 0.0,
    "user": None,
}


@pytest.mark.anyio
async def test_every_parameter_of_the_format_is_passed_on() -> None:
    async with scripted(completion()) as s:
        await s.tier.send(Request.of(REQUEST))
        assert s.sent() == {"model": "m", **REQUEST}


@pytest.mark.anyio
async def test_any_mapping_is_an_object_on_the_wire() -> None:
    message = MappingProxyType({"role": "user", "content": (MappingProxyType({"type": "x"}),)})
    async with scripted(completion()) as s:
        await s.tier.chat([message])
        assert s.sent()["messages"] == [{"role": "user", "content": [{"type": "x"}]}]


@pytest.mark.anyio
async def test_parameters_to_drop_are_left_out_and_only_they() -> None:
    async with scripted(completion(), drop_params=["seed", "messages"]) as s:
        await s.tier.chat("hi", seed=1, stop="x")
        assert s.sent() == {
            "model": "m",
            "messages": [{"role": "user", "content": "hi"}],
            "stop": "x",
        }


@pytest.mark.anyio
@pytest.mark.parametrize(
    "provider", sorted(name for name, known in PROVIDERS.items() if known.module == "openai")
)
async def test_providers_of_the_format(provider: str) -> None:
    async with serve(script(completion())) as server:
        answer = await Tier("t", model=f"{provider}:a/b:c", base_url=f"{server.url}/v1/").chat("hi")
        assert answer.text == "hello"
        assert server.requests[0].path == "/v1/chat/completions"
        assert server.requests[0].json()["model"] == "a/b:c"


def choice_of(message: dict[str, Any], **choice: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, **choice}]}


def test_an_answer_keeps_every_fact() -> None:
    body: dict[str, Any] = {
        "model": "gpt-x-2025",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hi",
                    "reasoning_content": "thinking",
                    "tool_calls": [
                        {"id": "c1", "function": {"name": "f", "arguments": '{"a": 1}'}},
                        {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "raw"}},
                    ],
                },
                "finish_reason": "tool_calls",
                "logprobs": {
                    "content": [
                        {
                            "token": "H",
                            "logprob": -0.5,
                            "bytes": [72],
                            "top_logprobs": [
                                {"token": "H", "logprob": -0.5, "bytes": [72]},
                                {"token": "X", "logprob": -9999.0},
                            ],
                        },
                        {"token": "i", "logprob": 0},
                    ]
                },
            },
            {"index": 1, "message": {"content": "other"}},
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
    }
    answer = read_completion(body)
    assert answer.value == answer.text == "Hi"
    assert answer.tool_calls == (ToolCall("c1", "f", '{"a": 1}'), ToolCall("c2", "g", "raw"))
    assert answer.finish_reason == "tool_calls"
    assert answer.logprobs == (
        TokenLogprob("H", -0.5, (("H", -0.5), ("X", LOGPROB_FLOOR)), b"H"),
        TokenLogprob("i", 0.0),
    )
    assert answer.usage == Usage(10, 5, 4, 2, 3)
    assert answer.reasoning == "thinking"
    assert answer.refusal is None
    assert answer.model == "gpt-x-2025"
    assert answer.raw is body


@pytest.mark.parametrize(
    ("message", "text", "refusal"),
    [
        ({"content": "a"}, "a", None),
        ({"content": ""}, "", None),
        ({"content": None}, None, None),
        ({}, None, None),
        ({"content": []}, None, None),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", None),
        ({"content": [{"type": "thinking", "thinking": "t"}, "x", 5]}, None, None),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, None, "no"),
        ({"content": None, "refusal": "no"}, None, "no"),
    ],
)
def test_the_text_and_the_refusal(
    message: dict[str, Any], text: str | None, refusal: str | None
) -> None:
    answer = read_completion(choice_of(message))
    assert (answer.value, answer.text, answer.refusal) == (text, text, refusal)
    assert answer.usage is None
    assert answer.finish_reason is None


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        ({"tool_calls": None}, ()),
        ({"tool_calls": []}, ()),
        ({"function_call": {"name": "f", "arguments": "{}"}}, (ToolCall(None, "f", "{}"),)),
        ({"tool_calls": [{"function": {"name": "f"}}]}, (ToolCall(None, "f", ""),)),
        (
            {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"ä": 1}}}]},
            (ToolCall("1", "f", '{"ä": 1}'),),
        ),
    ],
)
def test_tool_calls(message: dict[str, Any], calls: tuple[ToolCall, ...]) -> None:
    assert read_completion(choice_of(message)).tool_calls == calls


@pytest.mark.parametrize(
    ("given_reason", "read"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("function_call", "tool_calls"),
        ("eos_token", "stop"),
        ("model_length", "length"),
        ("error", "error"),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_finish_reasons(given_reason: Any, read: str | None) -> None:
    assert read_completion(choice_of({}, finish_reason=given_reason)).finish_reason == read


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 2}, Usage(1, 2)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        (
            {"prompt_tokens": 1, "completion_tokens": 2, "prompt_cache_hit_tokens": 1},
            Usage(1, 2, 1),
        ),
        # Reasoning that a provider leaves out of completion_tokens is in the total.
        ({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 9}, Usage(1, 8)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 3}, Usage(5, 2)),
        ({"prompt_tokens": 1, "completion_tokens": -2}, None),
        ({"prompt_tokens": 1.5, "completion_tokens": 2}, None),
        ({"prompt_tokens": True, "completion_tokens": 2}, None),
        ({"prompt_tokens": "1", "completion_tokens": 2}, None),
        ({"prompt_tokens": 1}, None),
        ({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": -5}, Usage(1, 2)),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": -1},
                "completion_tokens_details": None,
            },
            Usage(1, 2),
        ),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_usage(usage: Any, read: Usage | None) -> None:
    assert read_completion({**choice_of({}), "usage": usage}).usage == read


@pytest.mark.parametrize(
    ("logprob", "read"),
    [
        (-0.25, -0.25),
        (1e-9, 0.0),
        (-math.inf, LOGPROB_FLOOR),
        (-9999.0, LOGPROB_FLOOR),
        pytest.param(-(10**400), LOGPROB_FLOOR, id="huge"),
    ],
)
def test_log_probabilities_are_at_most_0_and_never_endless(logprob: float, read: float) -> None:
    logprobs = {"content": [{"token": "a", "logprob": logprob}]}
    answer = read_completion(choice_of({}, logprobs=logprobs))
    assert answer.logprobs == (TokenLogprob("a", read),)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        [{"token": "a"}],
        [{"token": "a", "logprob": math.nan}],
        [{"token": "a", "logprob": True}],
        [{"token": "a", "logprob": "-1"}],
        [{"token": 5, "logprob": -1}],
        [{"token": "a", "logprob": -1}, None],
    ],
)
def test_unreadable_log_probabilities_are_none_at_all(content: Any) -> None:
    assert read_completion(choice_of({}, logprobs={"content": content})).logprobs is None


@pytest.mark.parametrize("utf8", [[256], [-1], ["a"], [1.5], "ab", 5])
def test_bytes_that_are_none(utf8: Any) -> None:
    logprobs = {"content": [{"token": "a", "logprob": -1, "bytes": utf8}]}
    answer = read_completion(choice_of({}, logprobs=logprobs))
    assert answer.logprobs == (TokenLogprob("a", -1.0),)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"text": "legacy"}]},
        {"choices": [{"message": {"content": 5}}]},
        {"choices": [{"message": {"content": {"text": "a"}}}]},
        {"choices": [{"message": {"tool_calls": [{}]}}]},
        {"choices": [{"message": {"tool_calls": [{"function": {"name": None}}]}}]},
        {"choices": [{"message": {"function_call": "f"}}]},
    ],
)
def test_a_body_without_an_answer_is_a_bad_response(body: dict[str, Any]) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    with pytest.raises(BadResponseError) as caught:
        read_completion({**body, "usage": usage})
    assert caught.value.usage == Usage(1, 2), "billed all the same"
    assert caught.value.body == {**body, "usage": usage}


WORDS = [
    *("choices", "message", "content", "tool_calls", "function", "function_call", "name", "id"),
    *("arguments", "logprobs", "token", "logprob", "top_logprobs", "bytes", "usage", "type"),
    *("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "text"),
    *("output", "status", "refusal", "summary", "input_tokens", "output_tokens", "error"),
]
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["text", "message", "function_call", "reasoning", "completed", "incomplete"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)
    ),
    max_leaves=25,
)
MESSAGES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("content", "tool_calls", "function_call", "refusal"), ANY_JSON)
)
CHOICES = st.fixed_dictionaries(
    {"message": MESSAGES}, optional=dict.fromkeys(("logprobs", "finish_reason"), ANY_JSON)
)
COMPLETIONS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2)}, optional={"usage": ANY_JSON, "model": ANY_JSON}
)


def check_answer(answer: Answer[Any]) -> None:
    assert answer.text is None or isinstance(answer.text, str)
    assert all(isinstance(call.arguments, str) for call in answer.tool_calls)
    assert all(LOGPROB_FLOOR <= t.logprob <= 0 for t in answer.logprobs or ())
    assert answer.usage is None or answer.usage.output_tokens >= 0


@given(COMPLETIONS | st.dictionaries(st.sampled_from(WORDS), ANY_JSON))
@example({"choices": [{"message": {"tool_calls": [{"function": {"name": "f", "arguments": 0}}]}}]})
def test_any_completion_is_an_answer_or_a_bad_response(body: dict[str, Any]) -> None:
    with suppress(BadResponseError):
        check_answer(read_completion(body))


RESPONSES = st.fixed_dictionaries(
    {"output": st.lists(ANY_JSON, max_size=4)},
    optional=dict.fromkeys(("status", "usage", "incomplete_details", "error"), ANY_JSON),
)


@given(RESPONSES | st.dictionaries(st.sampled_from(WORDS), ANY_JSON))
def test_any_response_object_is_an_answer_or_a_bad_response(body: dict[str, Any]) -> None:
    with suppress(BadResponseError):
        check_answer(read_response(body))


def test_a_response_object_keeps_every_fact() -> None:
    body: dict[str, Any] = {
        "status": "completed",
        "model": "gpt-x",
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "why"}]},
            {
                "type": "message",
                "content": [
                    {
                        "type": "output_text",
                        "text": "Hi",
                        "logprobs": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}],
                    },
                    {"type": "refusal", "refusal": "not that"},
                ],
            },
            {"type": "function_call", "call_id": "c", "id": "i", "name": "f", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "d", "name": "g", "input": "raw"},
            {"type": "web_search_call", "id": "w"},
        ],
        "usage": {
            "input_tokens": 10,
            "output_tokens": 5,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens_details": {"reasoning_tokens": 3},
        },
    }
    answer = read_response(body)
    assert answer.value == answer.text == "Hi"
    assert answer.refusal == "not that"
    assert answer.reasoning == "why"
    assert answer.tool_calls == (ToolCall("c", "f", "{}"), ToolCall("d", "g", "raw"))
    assert answer.finish_reason == "tool_calls"
    assert answer.logprobs == (TokenLogprob("Hi", -0.1, (), b"Hi"),)
    assert answer.usage == Usage(10, 5, 4, None, 3)
    assert answer.model == "gpt-x"
    assert answer.raw is body


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"status": "completed"}, "stop"),
        ({}, "stop"),
        ({"status": "incomplete"}, None),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "length",
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            "content_filter",
        ),
    ],
)
def test_why_a_response_object_ended(body: dict[str, Any], reason: str | None) -> None:
    assert read_response({"output": [], **body}).finish_reason == reason


@pytest.mark.parametrize("status", ["failed", "cancelled", "in_progress", "queued"])
def test_a_response_object_that_is_not_completed_is_a_bad_response(status: str) -> None:
    body = {"status": status, "output": [], "error": {"code": "server_error", "message": "..."}}
    with pytest.raises(BadResponseError) as caught:
        read_response(body)
    assert caught.value.code == "server_error"


@pytest.mark.parametrize("body", [{}, {"output": None}, {"output": [{"type": "function_call"}]}])
def test_a_response_object_without_an_answer_is_a_bad_response(body: dict[str, Any]) -> None:
    with pytest.raises(BadResponseError):
        read_response(body)
