"""The Anthropic Messages API (version 2023-06-01): requests translated, messages read.

https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cascade.errors import BadResponseError
from cascade.providers import Endpoint, Provider
from cascade.providers._anthropic_messages import translate_messages
from cascade.providers._anthropic_params import translate_params
from cascade.providers._failures import label
from cascade.providers._http import check_endpoint, key_of, post
from cascade.providers._reading import (
    as_count,
    as_json,
    as_list,
    as_mapping,
    as_text,
    joined,
    usage_of_counts,
)
from cascade.types import Answer, Request, ToolCall, Usage

__all__ = ["AnthropicMessages", "provide", "read_message"]

VERSION: Final = "2023-06-01"

_FINISH_REASONS: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
}


class AnthropicMessages:
    """One model behind a Messages API endpoint."""

    __slots__ = ("_endpoint",)

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def complete(self, request: Request) -> Answer[Any]:
        """One request, one answer. Raises ProviderError when the call broke."""
        endpoint = self._endpoint
        key = key_of(endpoint)
        headers = {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}
        return read_message(await post(endpoint, "/messages", headers, _body(endpoint, request)))


def provide(endpoint: Endpoint) -> Provider:
    """The provider for one endpoint. Raises ConfigError when its address is none."""
    check_endpoint(endpoint)
    return AnthropicMessages(endpoint)


def read_message(body: Mapping[str, Any]) -> Answer[Any]:
    """The answer in an object of the Messages API.

    Raises:
        BadResponseError: it has no content, or a tool call without a name.
    """
    usage = _usage(as_mapping(body.get("usage")))
    if not isinstance(body.get("content"), list):
        raise BadResponseError(
            "a message has no list of content; the body is on the error", usage=usage, body=body
        )
    blocks = [as_mapping(block) for block in as_list(body["content"])]
    text = joined([t for b in blocks if b.get("type") == "text" and (t := _text(b)) is not None])
    thinking = [t for b in blocks if (t := as_text(b.get("thinking")))]
    reason = as_text(body.get("stop_reason"))
    return Answer(
        text,
        text=text,
        tool_calls=tuple(_tool_call(b, usage, body) for b in blocks if b.get("type") == "tool_use"),
        finish_reason=_FINISH_REASONS.get(reason, reason) if reason else None,
        usage=usage,
        refusal=_refusal(text, body) if reason == "refusal" else None,
        reasoning=joined(thinking, "\n"),
        model=as_text(body.get("model")),
        raw=body,
    )


def _body(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    who = label(endpoint)
    kept = {k: v for k, v in request.params.items() if k not in endpoint.drop_params}
    params = translate_params(who, kept)
    first = ({"role": "system", "content": params.pop("system")},) if "system" in params else ()
    system, turns = translate_messages(who, (*first, *request.messages))
    if system is not None:
        params["system"] = system
    return {"model": endpoint.model, "messages": turns, **params}


def _text(block: Mapping[str, Any]) -> str | None:
    return as_text(block.get("text"))


def _tool_call(block: Mapping[str, Any], usage: Usage | None, body: Mapping[str, Any]) -> ToolCall:
    name, arguments = as_text(block.get("name")), as_json(block.get("input", {}))
    if name is None or arguments is None:
        raise BadResponseError(
            "a tool call in a message has no name, or no readable input; the body is on the error",
            usage=usage,
            body=body,
        )
    return ToolCall(as_text(block.get("id")), name, arguments)


def _refusal(text: str | None, body: Mapping[str, Any]) -> str:
    explanation = as_text(as_mapping(body.get("stop_details")).get("explanation"))
    return explanation or text or "refused"


def _usage(usage: Mapping[str, Any]) -> Usage | None:
    """The API counts cached input apart; `Usage` counts it in."""
    read = as_count(usage.get("input_tokens"))
    cached = as_count(usage.get("cache_read_input_tokens"))
    cache_write = as_count(usage.get("cache_creation_input_tokens"))
    return usage_of_counts(
        None if read is None else read + (cached or 0) + (cache_write or 0),
        usage.get("output_tokens"),
        cached=cached,
        cache_write=cache_write,
        reasoning=as_mapping(usage.get("output_tokens_details")).get("thinking_tokens"),
    )
