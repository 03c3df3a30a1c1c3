from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import BadRequestError, BadResponseError
from cascade.providers._anthropic_messages import translate_messages
from cascade.providers.anthropic import read_message
from cascade.simulated import Reply
from cascade.types import NO_USAGE, Request, ToolCall, Usage
from tests.providers.support import failure_of, scripted

MESSAGE = {
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


async def sent_for(body: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The JSON body that reaches the Messages API for an OpenAI-format body."""
    async with scripted(Reply(body=MESSAGE), provider="anthropic", **options) as s:
        answer = await s.tier.send(Request.of(body))
        assert answer.text == "hello"
        assert s.server.requests[0].path == "/v1/messages"
        assert s.server.requests[0].headers["anthropic-version"] == "2023-06-01"
        sent: dict[str, Any] = s.sent()
        return sent


HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]


@pytest.mark.anyio
async def test_a_plain_request() -> None:
    assert await sent_for({"messages": HI}) == {
        "model": "m",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "hi"}],
    }


CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "developer", "content": "Be kind."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look:", "cache_control": {"type": "ephemeral"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUI="}},
            {
                "type": "image_url",
                "image_url": {"url": "https://host/a.png", "detail": "auto"},
                "cache_control": {"type": "ephemeral"},
            },
            {
                "type": "file",
                "file": {"file_data": "data:application/pdf;base64,QQ==", "filename": "a.pdf"},
            },
            {"type": "document", "source": {"type": "url", "url": "https://host/b.pdf"}},
        ],
    },
    {
        "role": "assistant",
        "content": "One moment.",
        "refusal": None,
        "annotations": [{"type": "url_citation"}],
        "reasoning_content": "hm",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "f", "arguments": '{"a": [1, null, "ä"]}'},
            },
            {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "42"},
    {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "43"}]},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": "Well?"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]},
]


@pytest.mark.anyio
async def test_a_conversation_with_images_files_and_tools() -> None:
    sent = await sent_for({"messages": CONVERSATION})
    assert sent["system"] == "Be brief.\n\nBe kind."
    user, assistant, results, last = sent["messages"]
    assert user == {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look:", "cache_control": {"type": "ephemeral"}},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "QUI="},
            },
            {
                "type": "image",
                "source": {"type": "url", "url": "https://host/a.png"},
                "cache_control": {"type": "ephemeral"},
            },
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="},
                "title": "a.pdf",
            },
            {"type": "document", "source": {"type": "url", "url": "https://host/b.pdf"}},
        ],
    }
    assert assistant == {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "One moment."},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": [1, None, "ä"]}},
            {"type": "tool_use", "id": "c2", "name": "g", "input": {}},
        ],
    }
    assert results == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": "42"},
            {
                "type": "tool_result",
                "tool_use_id": "c2",
                "content": [{"type": "text", "text": "43"}],
            },
            {"type": "text", "text": "And now?"},
            {"type": "text", "text": "Well?"},
        ],
    }
    assert last == {"role": "assistant", "content": [{"type": "text", "text": "I cannot."}]}


@pytest.mark.anyio
async def test_system_parts_keep_their_cache_marks() -> None:
    marked = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}
    messages = [
        {"role": "system", "content": [marked]},
        {"role": "system", "content": "Short."},
        *HI,
    ]
    sent = await sent_for({"messages": messages})
    assert sent["system"] == [marked, {"type": "text", "text": "Short."}]


@pytest.mark.anyio
async def test_a_native_system_prompt_stands_before_the_system_messages() -> None:
    messages = [{"role": "system", "content": "Second."}, *HI]
    assert (await sent_for({"messages": messages, "system": "First."}))["system"] == (
        "First.\n\nSecond."
    )


TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"a": 1}}}

# An OpenAI parameter, and what the Messages API is sent for it.
TRANSLATIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_tokens": 5}, {"max_tokens": 5}),
    ({"max_completion_tokens": 6, "max_tokens": 5}, {"max_tokens": 6}),
    ({"max_tokens": None}, {}),
    ({"stop": "x"}, {"stop_sequences": ["x"]}),
    ({"stop": ["x", "y"]}, {"stop_sequences": ["x", "y"]}),
    ({"stop": None}, {}),
    ({"user": "u"}, {"metadata": {"user_id": "u"}}),
    ({"safety_identifier": "u"}, {"metadata": {"user_id": "u"}}),
    ({"metadata": {"user_id": "u"}}, {"metadata": {"user_id": "u"}}),
    ({"metadata": {}}, {}),
    (
        {"temperature": 0.5, "top_p": 0.9, "top_k": 4},
        {"temperature": 0.5, "top_p": 0.9, "top_k": 4},
    ),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "service_tier": "auto"},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "service_tier": "auto"},
    ),
    ({"something_new": {"a": 1}}, {"something_new": {"a": 1}}),
    ({"response_format": {"type": "text"}}, {}),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "s", "strict": True, "schema": {"type": "object"}},
            },
            "output_config": {"effort": "low"},
        },
        {
            "output_config": {
                "effort": "low",
                "format": {"type": "json_schema", "schema": {"type": "object"}},
            }
        },
    ),
    ({"tools": []}, {"tools": []}),
    (
        {"tools": [TOOL]},
        {"tools": [{"name": "f", "description": "d", "input_schema": {"a": 1}}]},
    ),
    (
        {
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "f", "strict": True, "description": None},
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
                {"type": "custom", "name": "own", "input_schema": {}},
            ]
        },
        {
            "tools": [
                {
                    "name": "f",
                    "strict": True,
                    "input_schema": {"type": "object", "properties": {}},
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
                {"type": "custom", "name": "own", "input_schema": {}},
            ]
        },
    ),
    ({"tool_choice": "auto"}, {"tool_choice": {"type": "auto"}}),
    ({"tool_choice": "none"}, {"tool_choice": {"type": "none"}}),
    ({"tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
    (
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tool_choice": {"type": "tool", "name": "f"}},
    ),
    (
        {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
    ),
    ({"parallel_tool_calls": True}, {}),
    ({"parallel_tool_calls": False}, {}),
    # Values that ask for nothing beyond what is done anyway.
    (
        {
            "n": 1,
            "logprobs": False,
            "presence_penalty": 0,
            "frequency_penalty": 0.0,
            "logit_bias": {},
            "store": False,
            "modalities": ["text"],
            "seed": None,
        },
        {},
    ),
]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("params", "expected"), TRANSLATIONS, ids=[f"{i}" for i in range(len(TRANSLATIONS))]
)
async def test_parameters_are_translated(params: dict[str, Any], expected: dict[str, Any]) -> None:
    sent = await sent_for({"messages": HI, **params})
    assert sent == {"model": "m", "messages": HI, "max_tokens": 4096, **expected}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
    ],
)
async def test_one_tool_at_a_time(choice: Any, expected: dict[str, Any]) -> None:
    sent = await sent_for(
        {"messages": HI, "tools": [TOOL], "tool_choice": choice, "parallel_tool_calls": False}
    )
    assert sent["tool_choice"] == expected


REFUSED: list[tuple[str, Any]] = [
    ("audio", {"voice": "x"}),
    ("frequency_penalty", 0.5),
    ("function_call", "auto"),
    ("functions", []),
    ("logit_bias", {"1": 5}),
    ("logprobs", True),
    ("metadata", {"id": "1"}),
    ("modalities", ["audio"]),
    ("n", 2),
    ("prediction", {}),
    ("presence_penalty", -1),
    ("prompt_cache_key", "k"),
    ("reasoning_effort", "low"),
    ("response_format", {"type": "json_object"}),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "no schema"}}),
    ("seed", 0),
    ("store", True),
    ("stream_options", {}),
    ("tool_choice", "sometimes"),
    ("tool_choice", ["auto"]),
    ("tool_choice", {"type": "allowed_tools"}),
    ("tool_choice", {}),
    ("tools", [{"type": "custom", "custom": {"name": "f"}}]),
    ("tools", "f"),
    ("top_logprobs", 5),
    ("verbosity", "low"),
    ("web_search_options", {}),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "value"), REFUSED, ids=lambda value: str(value)[:30])
async def test_a_parameter_without_a_counterpart_is_refused_with_its_mend(
    name: str, value: Any
) -> None:
    async with scripted(provider="anthropic") as s:
        error = await failure_of(s.tier, **{name: value})
        assert type(error) is BadRequestError
        assert f"drop_params=['{name}']" in str(error)
        assert error.usage == NO_USAGE
        assert not s.server.requests
    sent = await sent_for({"messages": HI, name: value}, drop_params=[name])
    assert sent == {"model": "m", "messages": HI, "max_tokens": 4096}


def part(**content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [content]}


BAD_MESSAGES: list[tuple[dict[str, Any], str]] = [
    ({"content": "x"}, "role"),
    ({"role": "function", "content": "x"}, "role"),
    ({"role": "user", "content": "x", "name": "ann"}, "'name'"),
    ({"role": "assistant", "content": "x", "audio": {"id": "a"}}, "'audio'"),
    ({"role": "assistant", "function_call": {"name": "f"}}, "'function_call'"),
    ({"role": "user", "content": "x", "cache_control": {"type": "x"}}, "'cache_control'"),
    ({"role": "user", "content": 5}, "content"),
    ({"role": "user", "content": ["text"]}, "content"),
    ({"role": "user", "content": {"type": "text"}}, "content"),
    (part(type="input_audio", input_audio={}), "audio"),
    (part(type="image_url", image_url={"url": "https://h/a", "detail": "high"}), "'detail'"),
    (part(type="image_url", image_url={"url": "data:image/svg+xml,<svg/>"}), "base64"),
    (part(type="file", file={"file_id": "file-1"}), "file_data"),
    (part(type="file", file={"file_data": "QQ=="}), "base64"),
    ({"role": "tool", "content": "x"}, "tool_call_id"),
    (
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{SECRET"}}]},
        "arguments",
    ),
    (
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]},
        "arguments",
    ),
    ({"role": "assistant", "tool_calls": [{"type": "custom", "custom": {}}]}, "tool_calls"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("message", "named"), BAD_MESSAGES, ids=[f"{i}" for i in range(len(BAD_MESSAGES))]
)
async def test_a_message_without_a_counterpart_is_refused(
    message: dict[str, Any], named: str
) -> None:
    async with scripted(provider="anthropic") as s:
        with pytest.raises(BadRequestError) as caught:
            await s.tier.chat([*HI, message])
        assert named in str(caught.value)
        assert "SECRET" not in str(caught.value)
        assert caught.value.usage == NO_USAGE
        assert not s.server.requests


TEXTS = st.text(min_size=1, max_size=6)
TURNS = st.lists(
    st.builds(
        lambda role, text, parts: {
            "role": role,
            "content": [{"type": "text", "text": text}] if parts else text,
        },
        st.sampled_from(["system", "user", "assistant"]),
        TEXTS,
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def texts_of(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content]


@given(TURNS)
def test_every_text_arrives_once_and_in_order(messages: list[dict[str, Any]]) -> None:
    system, turns = translate_messages("anthropic:m", messages)
    for role in ("user", "assistant"):
        given_texts = [t for m in messages if m["role"] == role for t in texts_of(m["content"])]
        sent = [t for turn in turns if turn["role"] == role for t in texts_of(turn["content"])]
        assert sent == given_texts
    said = [m["content"] for m in messages if m["role"] == "system"]
    if all(isinstance(content, str) for content in said):
        assert system == ("\n\n".join(said) if said else None)
    else:
        assert texts_of(system) == [text for content in said for text in texts_of(content)]
    roles = [turn["role"] for turn in turns]
    assert all(a != b for a, b in pairwise(roles))


def test_an_answer_keeps_every_fact() -> None:
    body: dict[str, Any] = {
        **MESSAGE,
        "content": [
            {"type": "thinking", "thinking": "first", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "Hi "},
            {"type": "server_tool_use", "id": "w", "name": "web_search", "input": {}},
            {"type": "text", "text": "there"},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"ä": [1, None]}},
            {"type": "tool_use", "id": "d", "name": "g"},
        ],
        "stop_reason": "tool_use",
        "usage": {
            "input_tokens": 10,
            "cache_read_input_tokens": 200,
            "cache_creation_input_tokens": 30,
            "output_tokens": 7,
            "output_tokens_details": {"thinking_tokens": 4},
        },
    }
    answer = read_message(body)
    assert answer.value == answer.text == "Hi there"
    assert answer.reasoning == "first"
    assert answer.tool_calls == (ToolCall("c", "f", '{"ä": [1, null]}'), ToolCall("d", "g", "{}"))
    assert answer.finish_reason == "tool_calls"
    assert answer.usage == Usage(240, 7, 200, 30, 4)
    assert answer.model == "claude-x"
    assert answer.raw is body


@pytest.mark.parametrize(
    ("reason", "read"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        (None, None),
        (5, None),
    ],
)
def test_stop_reasons(reason: Any, read: str | None) -> None:
    assert read_message({**MESSAGE, "stop_reason": reason}).finish_reason == read


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"stop_reason": "end_turn"}, None),
        ({"stop_reason": "refusal"}, "hello"),
        ({"stop_reason": "refusal", "content": []}, "refused"),
        ({"stop_reason": "refusal", "stop_details": {"explanation": "why"}}, "why"),
    ],
)
def test_refusals(body: dict[str, Any], refusal: str | None) -> None:
    assert read_message({**MESSAGE, **body}).refusal == refusal


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"input_tokens": 1, "output_tokens": 2}, Usage(1, 2)),
        (
            {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": None},
            Usage(1, 2),
        ),
        ({"input_tokens": -1, "output_tokens": 2}, None),
        ({"input_tokens": 1}, None),
        (None, None),
    ],
)
def test_usage(usage: Any, read: Usage | None) -> None:
    assert read_message({**MESSAGE, "usage": usage}).usage == read


@pytest.mark.parametrize(
    "body", [{}, {"content": None}, {"content": "hi"}, {"content": [{"type": "tool_use"}]}]
)
def test_a_body_without_an_answer_is_a_bad_response(body: dict[str, Any]) -> None:
    with pytest.raises(BadResponseError) as caught:
        read_message({**body, "usage": MESSAGE["usage"]})
    assert caught.value.usage == Usage(3, 2)


def test_a_tool_input_that_cannot_be_written_is_a_bad_response() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(BadResponseError):
        read_message({"content": [{"type": "tool_use", "name": "f", "input": deep}]})


WORDS = ["type", "text", "thinking", "name", "id", "input", "content", "usage", "stop_reason"]
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["text", "tool_use", "thinking", "refusal"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(
    st.fixed_dictionaries(
        {"content": st.lists(ANY_JSON, max_size=4)},
        optional={"usage": ANY_JSON, "stop_reason": ANY_JSON, "stop_details": ANY_JSON},
    )
    | st.dictionaries(st.sampled_from(WORDS), ANY_JSON)
)
def test_any_message_is_an_answer_or_a_bad_response(body: dict[str, Any]) -> None:
    try:
        answer = read_message(body)
    except BadResponseError:
        return
    assert answer.text is None or isinstance(answer.text, str)
    for call in answer.tool_calls:
        json.loads(call.arguments)
