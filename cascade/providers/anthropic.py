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
from cascade.providers._message_stream import MessageAssembly
from cascade.providers._reading import (
    as_count,
    as_json,
    as_list,
    as_mapping,
    as_text,
    joined,
    usage_of_counts,
)
from cascade.providers._streaming import post_streamed
from cascade.types import Answer, Request, ToolCall, Usage

__all__ = ["AnthropicMessages", "provide", "read_message"]

VERSION: Final = "2023-06-01"
_PATH: Final = "/messages"

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
        body = _body(endpoint, request)
        if endpoint.first_token_s is None:
            answered = await post(endpoint, _PATH, headers, body)
        else:
            body["stream"] = True
            answered = await post_streamed(endpoint, _PATH, headers, body, MessageAssembly(_usage))
        return read_message(answered, label(endpoint))


def provide(endpoint: Endpoint) -> Provider:
    """The provider for one endpoint. Raises ConfigError when its address is none."""
    check_endpoint(endpoint)
    return AnthropicMessages(endpoint)


def read_message(body: Mapping[str, Any], who: str | None = None) -> Answer[Any]:
    """The answer in an object of the Messages API.

    Args:
        who: the model that was asked, for messages. None: it is not known.

    Raises:
        BadResponseError: it has no content, or a tool call without a name.
    """
    usage = _usage(as_mapping(body.get("usage")))
    if not isinstance(body.get("content"), list):
        raise _bad("a message has no list of content", usage, body, who)
    blocks = [as_mapping(block) for block in as_list(body["content"])]
    text = joined([t for b in blocks if b.get("type") == "text" and (t := _text(b)) is not None])
    thinking = [t for b in blocks if (t := as_text(b.get("thinking")))]
    reason = as_text(body.get("stop_reason"))
    return Answer(
        text,
        text=text,
        tool_calls=_tool_calls(blocks, usage, body, who),
        finish_reason=_FINISH_REASONS.get(reason, reason) if reason else None,
        usage=usage,
        refusal=_refusal(text, body) if reason == "refusal" else None,
        reasoning=joined(thinking, "\n"),
        model=as_text(body.get("model")),
        raw=body,
    )


def _body(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    who = label(endpoint)
    params = translate_params(who, request.params)
    first = ({"role": "system", "content": params.pop("system")},) if "system" in params else ()
    system, turns = translate_messages(who, (*first, *request.messages))
    if system is not None:
        params["system"] = system
    return {"model": endpoint.model, "messages": turns, **params}


def _text(block: Mapping[str, Any]) -> str | None:
    return as_text(block.get("text"))


def _bad(
    what: str, usage: Usage | None, body: Mapping[str, Any], who: str | None
) -> BadResponseError:
    told = what if who is None else f"{who}: {what}"
    return BadResponseError(f"{told}; the body is on the error", usage=usage, body=body)


def _tool_calls(
    blocks: list[Mapping[str, Any]], usage: Usage | None, body: Mapping[str, Any], who: str | None
) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for block in blocks:
        if block.get("type") != "tool_use":
            continue
        name, given = as_text(block.get("name")), block.get("input", {})
        # A text is what was written of it in a stream where that is no JSON.
        arguments = given if isinstance(given, str) else as_json(given)
        if name is None or arguments is None:
            what = "a tool call in a message has no name, or no readable input"
            raise _bad(what, usage, body, who)
        calls.append(ToolCall(as_text(block.get("id")), name, arguments))
    return tuple(calls)


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
