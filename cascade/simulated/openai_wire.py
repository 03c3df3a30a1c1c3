"""The OpenAI chat-completions wire format: requests in; bodies, chunk streams and errors out.

Source: the API reference of OpenAI, "Chat Completions" and "Streaming".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cascade.simulated.chat import ChatRequest, Completion, Finish, Token, Tool, Usage
from cascade.simulated.fields import (
    Body,
    WireError,
    messages,
    objects,
    optional,
    required,
    temperature,
    whole_number,
)

CREATED = 1_767_225_600  # 2026-01-01, the same for every reply: a clock would change the bytes
FINGERPRINT = "simulated"
FINISH: dict[Finish, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "refusal": "stop",
}
ERROR_TYPES = {401: "invalid_request_error", 429: "requests", 500: "server_error"}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OpenAIWire:
    """Speaks the chat-completions format."""

    key_headers = (("authorization", "Bearer "),)
    id_header = "x-request-id"
    overloaded = 503

    def read(self, body: Body) -> ChatRequest:
        """The request. Raises WireError (400) where the real API does."""
        tools = [self._tool(item) for item in objects(body, "tools")]
        limit = whole_number(body, "max_completion_tokens", 1)
        json_mode, schema = _response_format(body)
        options: Body = optional(body, "stream_options", dict, "an object") or {}
        return ChatRequest(
            model=required(body, "model", str, "a string"),
            messages=messages(body),
            temperature=temperature(body, 2),
            max_tokens=limit or whole_number(body, "max_tokens", 1),
            stop=_stop(body),
            n=whole_number(body, "n", 1, 128) or 1,
            json_mode=json_mode,
            schema=schema,
            tools=tuple(tools),
            tool_choice=_tool_choice(body),
            top_logprobs=_top_logprobs(body),
            seed=optional(body, "seed", int, "an integer"),
            stream=bool(optional(body, "stream", bool, "a boolean")),
            include_usage=bool(optional(options, "include_usage", bool, "a boolean")),
            cache=True,
        )

    def reply(
        self, reply_id: str, request: ChatRequest, done: Sequence[Completion], usage: Usage
    ) -> Json:
        """The body of a chat completion."""
        choices = [
            {
                "index": index,
                "message": _message(item),
                "logprobs": _logprobs(request, item),
                "finish_reason": FINISH[item.finish],
            }
            for index, item in enumerate(done)
        ]
        return {**_head(reply_id, request), "choices": choices, "usage": _usage(usage)}

    def events(
        self, reply_id: str, request: ChatRequest, done: Sequence[Completion], usage: Usage
    ) -> Iterator[tuple[int, bytes]]:
        """The stream as (tokens, bytes) pairs: how many tokens each event had to wait for."""
        head = _head(reply_id, request) | {"object": "chat.completion.chunk"}
        if request.include_usage:
            head["usage"] = None
        for index, item in enumerate(done):
            for tokens, delta, finish, logprobs in _deltas(request, item):
                choice = {
                    "index": index,
                    "delta": delta,
                    "logprobs": logprobs,
                    "finish_reason": finish,
                }
                yield tokens, _event(head | {"choices": [choice]})
        if request.include_usage:
            yield 0, _event(head | {"choices": [], "usage": _usage(usage)})
        yield 0, b"data: [DONE]\n\n"

    def error(self, error: WireError) -> Json:
        """The body of an error."""
        kind = ERROR_TYPES.get(error.status, "invalid_request_error")
        kind = "server_error" if error.status > 500 else kind
        fields = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
        return {"error": fields}

    def unknown_model(self, name: str) -> WireError:
        """The error for a model which is not served."""
        message = f"The model `{name}` does not exist or you do not have access to it."
        return WireError(404, message, None, "model_not_found")

    def models(self, names: Sequence[str]) -> Json:
        """The body of GET /v1/models."""
        data = [
            {"id": name, "object": "model", "created": CREATED, "owned_by": "simulated"}
            for name in names
        ]
        return {"object": "list", "data": data}

    def _tool(self, item: Body) -> Tool:
        function = required(item, "function", dict, "an object")
        name = required(function, "name", str, "a string")
        return Tool(name, optional(function, "parameters", dict, "an object") or {})


def _response_format(body: Body) -> tuple[bool, Body | None]:
    wanted = optional(body, "response_format", dict, "an object")
    kind = "text" if wanted is None else required(wanted, "type", str, "a string")
    if wanted is None or kind == "text":
        return False, None
    if kind == "json_object":
        return True, None
    if kind == "json_schema":
        described = required(wanted, "json_schema", dict, "an object")
        return True, optional(described, "schema", dict, "an object")
    message = "Invalid 'response_format.type': must be text, json_object or json_schema."
    raise WireError(400, message, "response_format.type")


def _stop(body: Body) -> tuple[str, ...]:
    stop = optional(body, "stop", (str, list), "a string or an array of strings") or ()
    texts: list[Any] = [stop] if isinstance(stop, str) else list(stop)
    if len(texts) > 4 or not all(isinstance(text, str) and text for text in texts):
        raise WireError(400, "Invalid 'stop': must be up to 4 strings that are not empty.", "stop")
    return tuple(texts)


def _tool_choice(body: Body) -> str:
    choice = optional(body, "tool_choice", (str, dict), "a string or an object") or "auto"
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            message = "Invalid 'tool_choice': must be auto, none, required or an object."
            raise WireError(400, message, "tool_choice")
        return choice
    function = required(choice, "function", dict, "an object")
    name: str = required(function, "name", str, "a string")
    return name


def _top_logprobs(body: Body) -> int | None:
    wanted = bool(optional(body, "logprobs", bool, "a boolean"))
    count = whole_number(body, "top_logprobs", 0, 20)
    if count is not None and not wanted:
        message = "'logprobs' must be true when 'top_logprobs' is given."
        raise WireError(400, message, "top_logprobs")
    return count or 0 if wanted else None


def _head(reply_id: str, request: ChatRequest) -> Json:
    return {
        "id": f"chatcmpl-sim{reply_id}",
        "object": "chat.completion",
        "created": CREATED,
        "model": request.model,
        "system_fingerprint": FINGERPRINT,
    }


def _message(item: Completion) -> Json:
    message: Json = {"role": "assistant", "content": item.text, "refusal": None}
    if item.refused:
        message |= {"content": None, "refusal": item.text}
    if item.tool_calls:
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in item.tool_calls
        ]
        message |= {"content": None, "tool_calls": calls}
    return message


def _logprobs(request: ChatRequest, item: Completion) -> Json | None:
    if request.top_logprobs is None or item.tool_calls:
        return None
    listed = [_logprob(token) for token in item.tokens]
    return {
        "content": None if item.refused else listed,
        "refusal": listed if item.refused else None,
    }


def _logprob(token: Token) -> Json:
    return {
        **_token(token.text, token.logprob),
        "top_logprobs": [_token(text, logprob) for text, logprob in token.alternatives],
    }


def _token(text: str, logprob: float) -> Json:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _deltas(
    request: ChatRequest, item: Completion
) -> Iterator[tuple[int, Json, str | None, Json | None]]:
    """The deltas of one choice, each with its tokens, finish reason and log-probabilities."""
    name = "refusal" if item.refused else "content"
    opening: Json = {"role": "assistant", "content": None, "refusal": None}
    if not item.tool_calls:
        opening[name] = ""
    yield 0, opening, None, None
    for token in item.tokens:
        single = Completion((token,), item.finish, refused=item.refused)
        yield 1, {name: token.text}, None, _logprobs(request, single)
    for index, call in enumerate(item.tool_calls):
        function = {"name": call.name, "arguments": ""}
        begun = {"index": index, "id": call.id, "type": "function", "function": function}
        yield 1, {"tool_calls": [begun]}, None, None
        arguments = {"index": index, "function": {"arguments": call.arguments}}
        yield 1, {"tool_calls": [arguments]}, None, None
    yield 0, {}, FINISH[item.finish], None


def _event(data: Json) -> bytes:
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
