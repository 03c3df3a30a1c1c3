"""What events amount to: the body that a plain call would have got."""

from __future__ import annotations

from typing import Any

import pytest

from cascade.errors import BadResponseError
from cascade.providers._completion_stream import CompletionAssembly
from cascade.providers._message_stream import MessageAssembly
from cascade.providers.anthropic import _usage as message_usage
from cascade.providers.anthropic import read_message
from cascade.providers.openai import _usage as completion_usage
from cascade.providers.openai import read_completion
from cascade.types import ToolCall, Usage


def completed(*chunks: dict[str, Any]) -> dict[str, Any]:
    assembly = CompletionAssembly(completion_usage)
    for chunk in chunks:
        assembly.take(chunk)
    return assembly.body()


def said(*deltas: dict[str, Any], **of_choice: Any) -> dict[str, Any]:
    """The message that such deltas amount to."""
    chunks = [{"choices": [{"index": 0, "delta": delta, **of_choice}]} for delta in deltas]
    message: dict[str, Any] = completed(*chunks)["choices"][0]["message"]
    return message


def test_the_head_of_a_completion_is_kept_and_what_is_of_chunks_is_not() -> None:
    head = {"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "m-1"}
    body = completed(
        {**head, "choices": [], "prompt_filter_results": [1], "usage": None},
        {**head, "choices": [{"index": 0, "delta": {"content": "a"}}], "obfuscation": "xyz"},
        {**head, "choices": [], "system_fingerprint": "f", "usage": {"prompt_tokens": 1}},
        {**head, "choices": [], "usage": None},
    )
    choice = {
        "index": 0,
        "message": {"content": "a"},
        "logprobs": None,
        "finish_reason": None,
    }
    assert body == {
        **head,
        "object": "chat.completion",
        "prompt_filter_results": [1],
        "system_fingerprint": "f",
        "usage": {"prompt_tokens": 1},
        "choices": [choice],
    }


def test_texts_are_joined_and_what_comes_whole_is_kept() -> None:
    message = said(
        {"role": "assistant", "content": "", "refusal": None},
        {"reasoning_content": "so", "reasoning": "s"},
        {"reasoning_content": " be it", "reasoning": "o"},
        {"content": "hel", "annotations": [1]},
        {"content": None, "role": "assistant"},
        {"content": "lo", "annotations": [2], "provider_field": 5},
    )
    assert message == {
        "role": "assistant",
        "content": "hello",
        "refusal": None,
        "reasoning_content": "so be it",
        "reasoning": "so",
        "annotations": [1, 2],
        "provider_field": 5,
    }


def test_content_in_parts_stays_in_parts() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    message = said({"content": [thinking]}, {"content": "hel"}, {"content": "lo"})
    body = {"choices": [{"message": message}]}
    assert message["content"][0] == thinking
    assert read_completion(body).text == "hello"


def piece(index: int | None, call_id: str | None, name: str | None, arguments: Any) -> Any:
    function = {"name": name, "arguments": arguments}
    place = {} if index is None else {"index": index}
    return {"tool_calls": [{**place, "id": call_id, "function": function}]}


CALLS: list[tuple[str, list[Any]]] = [
    (
        "by index",
        [
            piece(0, "a", "f", ""),
            piece(1, "b", "g", "{"),
            piece(0, None, None, '{"x":'),
            piece(1, None, None, "}"),
            piece(0, None, None, "1}"),
        ],
    ),
    ("out of order", [piece(1, "b", "g", "{}"), piece(0, "a", "f", '{"x":1}')]),
    ("one index for all", [piece(0, "a", "f", '{"x":1}'), piece(0, "b", "g", "{}")]),
    (
        "without an index",
        [
            piece(None, "a", "f", '{"x":'),
            piece(None, None, None, "1}"),
            piece(None, "b", "g", "{}"),
        ],
    ),
    (
        "repeated names and ids",
        [piece(0, "a", "f", '{"x":'), piece(0, "a", "f", "1}"), piece(1, "b", "g", "{}")],
    ),
]


@pytest.mark.parametrize(("how", "deltas"), CALLS, ids=[how for how, _ in CALLS])
def test_tool_calls_are_put_together(how: str, deltas: list[Any]) -> None:
    answer = read_completion({"choices": [{"message": said(*deltas)}]})
    assert answer.tool_calls == (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", "{}"))


def test_tool_calls_look_as_in_a_plain_answer() -> None:
    begun = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": "{}"}}
    assert said({"content": None, "tool_calls": [begun]}, {"tool_calls": [more]}) == {
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    }


def test_other_kinds_of_calls_are_put_together_too() -> None:
    custom = [
        {"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "SEL"}},
        {"index": 0, "custom": {"input": "ECT"}},
    ]
    message = said(
        *({"tool_calls": [part]} for part in custom),
        {"function_call": {"name": "g", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
        {"audio": {"id": "s", "data": "QU", "transcript": "h"}},
        {"audio": {"data": "I=", "transcript": "i"}},
    )
    assert message["tool_calls"][0]["custom"] == {"name": "f", "input": "SELECT"}
    assert message["function_call"] == {"name": "g", "arguments": "{}"}
    assert message["audio"] == {"id": "s", "data": "QUI=", "transcript": "hi"}
    whole = said(piece(0, "a", "f", {"x": 1}))
    assert read_completion({"choices": [{"message": whole}]}).tool_calls[0].arguments == '{"x": 1}'


def test_logprobs_are_one_list_and_choices_stand_by_their_index() -> None:
    def chunk(index: int, content: Any, **more: Any) -> Any:
        logprobs = {"content": content, "refusal": None}
        return {"choices": [{"index": index, "delta": {}, "logprobs": logprobs, **more}]}

    body = completed(
        chunk(1, [1]), chunk(0, None), chunk(0, [2]), chunk(0, [3]), chunk(1, None),
        {"choices": [{"index": 0, "finish_reason": "stop", "stop_reason": 7, "logprobs": None}]},
    )  # fmt: skip
    first, second = body["choices"]
    assert first["logprobs"] == {"content": [2, 3], "refusal": None}
    assert second["logprobs"] == {"content": [1], "refusal": None}
    assert (first["finish_reason"], first["stop_reason"]) == ("stop", 7)
    assert second["finish_reason"] is None


NONSENSE: list[Any] = [
    {},
    {"choices": 5},
    {"choices": [None, 5, []]},
    {"choices": [{"index": "x", "delta": 5, "logprobs": 5, "finish_reason": 5}]},
    {"choices": [{"delta": {"tool_calls": 5, "content": 5, "audio": None}}]},
]


@pytest.mark.parametrize("chunk", NONSENSE, ids=str)
def test_chunks_that_make_no_sense_break_nothing(chunk: Any) -> None:
    finished = {"choices": [{"delta": {"role": "assistant"}, "finish_reason": "stop"}]}
    assert read_completion(completed(chunk, finished)).finish_reason in ("stop", None)


def test_a_tool_call_without_a_name_is_no_call() -> None:
    body = completed({"choices": [{"delta": {"tool_calls": [None, {"index": -1, "function": 5}]}}]})
    with pytest.raises(BadResponseError, match="p:m: a tool call in a chat completion has no name"):
        read_completion(body, "p:m")
    nameless = block(0, {"type": "tool_use", "input": {}})
    with pytest.raises(BadResponseError, match="p:m: a tool call in a message has no name"):
        read_message(message_of(START, *nameless), "p:m")


def message_of(*events: dict[str, Any]) -> dict[str, Any]:
    assembly = MessageAssembly(message_usage)
    for event in events:
        assembly.take(event)
    return assembly.body()


START = {
    "type": "message_start",
    "message": {
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 1},
    },
}


def end(reason: str) -> dict[str, Any]:
    usage = {"output_tokens": 9, "input_tokens": None}
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def block(index: int, begun: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": begun},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def test_a_message_is_put_together_from_its_blocks() -> None:
    written = [{"type": "input_json_delta", "partial_json": text} for text in ("", '{"x":', "1}")]
    cited = {"type": "citations_delta", "citation": {"cited_text": "c"}}
    body = message_of(
        START,
        {"type": "ping"},
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "so"},
            {"type": "signature_delta", "signature": "abc"},
        ),
        *block(
            1,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "hel"},
            cited,
            {"type": "text_delta", "text": "lo"},
        ),
        *block(2, {"type": "tool_use", "id": "t", "name": "f", "input": {}}, *written),
        *block(3, {"type": "tool_use", "id": "u", "name": "g", "input": {}}),
        *block(4, {"type": "redacted_thinking", "data": "xyz"}),
        {"type": "an_event_yet_to_come"},
        end("tool_use"),
        {"type": "message_stop"},
    )
    assert body["content"] == [
        {"type": "thinking", "thinking": "so", "signature": "abc"},
        {"type": "text", "text": "hello", "citations": [{"cited_text": "c"}]},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "u", "name": "g", "input": {}},
        {"type": "redacted_thinking", "data": "xyz"},
    ]
    answer = read_message(body)
    assert answer.tool_calls == (ToolCall("t", "f", '{"x": 1}'), ToolCall("u", "g", "{}"))
    assert (answer.text, answer.reasoning, answer.model) == ("hello", "so", "claude-x")
    assert (answer.finish_reason, answer.usage) == ("tool_calls", Usage(7, 9, 4))


def test_arguments_that_were_cut_short_are_not_taken_for_none() -> None:
    cut = {"type": "input_json_delta", "partial_json": '{"plan": "Te'}
    tool = block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}}, cut)
    answer = read_message(message_of(START, *tool, end("max_tokens")))
    assert answer.tool_calls == (ToolCall("t", "f", '{"plan": "Te'),)
    assert answer.finish_reason == "length"


def test_the_bill_of_a_message_is_unknown_until_its_end() -> None:
    assembly = MessageAssembly(message_usage)
    assembly.take(START)
    assert assembly.usage() is None
    assembly.take(end("end_turn"))
    assert assembly.usage() == Usage(7, 9, 4)
    assert assembly.has_finished
    assert not assembly.is_last


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": 5},
        {"type": "message_start", "message": 5},
        {"type": "content_block_start", "index": "x"},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": 5}},
        {"type": "content_block_delta", "index": 7, "delta": None},
        {"type": "message_delta", "delta": None, "usage": 5},
    ],
    ids=str,
)
def test_events_that_make_no_sense_break_nothing(event: Any) -> None:
    body = message_of(event, START, end("end_turn"))
    assert read_message(body).finish_reason == "stop"
