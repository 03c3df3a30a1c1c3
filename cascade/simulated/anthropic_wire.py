"""The Anthropic Messages wire format: requests in; bodies, event streams and errors out.

Source: the API reference of Anthropic, "Messages", "Streaming messages" and "Errors".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cascade.simulated.chat import ChatRequest, Completion, Finish, Tool, Usage
from cascade.simulated.fields import (
    Body,
    WireError,
    messages,
    objects,
    optional,
    required,
    temperature,
    text_of,
    whole_number,
)

STOP_REASONS: dict[Finish, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "refusal": "refusal",
}
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AnthropicWire:
    """Speaks the Messages format."""

    # The API reference documents x-api-key; the official Python SDK (2.12) sends a bearer token.
    key_headers = (("x-api-key", ""), ("authorization", "Bearer "))
    id_header = "request-id"
    overloaded = 529

    def read(self, body: Body) -> ChatRequest:
        """The request. Raises WireError (400) where the real API does."""
        model = required(body, "model", str, "a string")
        limit = whole_number(body, "max_tokens", 1)
        if limit is None:
            raise WireError(400, "max_tokens: Field required", "max_tokens")
        system = text_of(body, "system")
        chat = messages(body)
        tools = [
            Tool(
                required(item, "name", str, "a string"),
                optional(item, "input_schema", dict, "an object") or {},
            )
            for item in objects(body, "tools")
        ]
        return ChatRequest(
            model=model,
            messages=(("system", system), *chat) if system else chat,
            temperature=temperature(body, 1),
            max_tokens=limit,
            stop=_stop(body),
            tools=tuple(tools),
            tool_choice=_tool_choice(body),
            stream=bool(optional(body, "stream", bool, "a boolean")),
            cache='"cache_control"' in json.dumps(body),
        )

    def reply(
        self, reply_id: str, request: ChatRequest, done: Sequence[Completion], usage: Usage
    ) -> Json:
        """The body of a message."""
        return _message(reply_id, request, done[0], usage)

    def events(
        self, reply_id: str, request: ChatRequest, done: Sequence[Completion], usage: Usage
    ) -> Iterator[tuple[int, bytes]]:
        """The stream as (tokens, bytes) pairs: how many tokens each event had to wait for."""
        item = done[0]
        empty = _message(reply_id, request, item, usage)
        empty |= {"content": [], "stop_reason": None, "stop_sequence": None}
        empty["usage"] = _usage(usage) | {"output_tokens": min(1, usage.output_tokens)}
        yield 0, _event("message_start", {"message": empty})
        yield 0, _event("ping", {})
        for index, block in enumerate(_blocks(item)):
            yield from _block_events(index, block, item)
        ending = {"stop_reason": STOP_REASONS[item.finish], "stop_sequence": item.stop_sequence}
        counts = {"output_tokens": usage.output_tokens}
        yield 0, _event("message_delta", {"delta": ending, "usage": counts})
        yield 0, _event("message_stop", {})

    def error(self, error: WireError) -> Json:
        """The body of an error."""
        kind = ERROR_TYPES.get(error.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": error.message}}

    def unknown_model(self, name: str) -> WireError:
        """The error for a model which is not served."""
        return WireError(404, f"model: {name}")

    def models(self, names: Sequence[str]) -> Json:
        """The body of GET /v1/models."""
        data = [
            {
                "type": "model",
                "id": name,
                "display_name": f"{name} (simulated)",
                "created_at": "2026-01-01T00:00:00Z",
            }
            for name in names
        ]
        ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
        return {"data": data, "has_more": False, **ends}


def _stop(body: Body) -> tuple[str, ...]:
    texts: list[Any] = optional(body, "stop_sequences", list, "an array") or []
    if not all(isinstance(text, str) and text for text in texts):
        message = "stop_sequences: each must be a string that is not empty"
        raise WireError(400, message, "stop_sequences")
    return tuple(texts)


def _tool_choice(body: Body) -> str:
    choice = optional(body, "tool_choice", dict, "an object") or {"type": "auto"}
    kind: str = required(choice, "type", str, "a string")
    if kind == "tool":
        name: str = required(choice, "name", str, "a string")
        return name
    if kind not in TOOL_CHOICES:
        raise WireError(400, "tool_choice.type: must be auto, any, none or tool", "tool_choice")
    return TOOL_CHOICES[kind]


def _message(reply_id: str, request: ChatRequest, item: Completion, usage: Usage) -> Json:
    return {
        "id": f"msg_sim{reply_id}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": _blocks(item),
        "stop_reason": STOP_REASONS[item.finish],
        "stop_sequence": item.stop_sequence,
        "usage": _usage(usage),
    }


def _blocks(item: Completion) -> list[Json]:
    blocks: list[Json] = [{"type": "text", "text": item.text}] if item.tokens else []
    for call in item.tool_calls:
        tool_id = f"toolu_{call.id.removeprefix('call_')}"
        arguments = json.loads(call.arguments)
        blocks.append({"type": "tool_use", "id": tool_id, "name": call.name, "input": arguments})
    return blocks


def _usage(usage: Usage) -> Json:
    fresh = usage.input_tokens - usage.cached_tokens - usage.cache_written_tokens
    return {
        "input_tokens": fresh,
        "cache_creation_input_tokens": usage.cache_written_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }


def _block_events(index: int, block: Json, item: Completion) -> Iterator[tuple[int, bytes]]:
    is_text = block["type"] == "text"
    empty: Json = {"text": ""} if is_text else {"input": {}}
    yield 0, _event("content_block_start", {"index": index, "content_block": block | empty})
    if is_text:
        deltas = [{"type": "text_delta", "text": token.text} for token in item.tokens]
    else:
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
    for delta in deltas:
        yield 1, _event("content_block_delta", {"index": index, "delta": delta})
    yield 0, _event("content_block_stop", {"index": index})


def _event(name: str, data: Json) -> bytes:
    text = json.dumps({"type": name, **data}, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode()
