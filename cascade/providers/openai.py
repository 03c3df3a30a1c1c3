"""The OpenAI wire format: chat completions sent and read, and Responses objects read.

Ollama, vLLM, LM Studio and OpenRouter speak it too. A request is sent as it was given, the
parameters this module has never heard of included. Answers are read tolerantly: what a server
leaves out is None, and only a body without an answer in it is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cascade.errors import BadResponseError
from cascade.providers import Endpoint, Provider
from cascade.providers._completion_stream import CompletionAssembly
from cascade.providers._failures import label
from cascade.providers._http import check_endpoint, key_of, post
from cascade.providers._reading import (
    as_count,
    as_json,
    as_list,
    as_mapping,
    as_text,
    joined,
    read_logprobs,
    usage_of_counts,
)
from cascade.providers._streaming import post_streamed
from cascade.types import Answer, Request, ToolCall, Usage

__all__ = ["OpenAIChat", "provide", "read_completion", "read_response"]

# The words of other servers for the same reasons.
_FINISH_REASONS: Final[Mapping[str, str]] = {
    "eos": "stop",  # Together
    "eos_token": "stop",  # Text Generation Inference
    "stop_sequence": "stop",  # Text Generation Inference
    "model_length": "length",  # Mistral
    "function_call": "tool_calls",  # OpenAI, before tools
}
_PATH: Final = "/chat/completions"
_CALLS: Final = ("function_call", "custom_tool_call")
_INCOMPLETE: Final[Mapping[str, str]] = {"max_output_tokens": "length"}


class OpenAIChat:
    """One model behind a chat completions endpoint."""

    __slots__ = ("_endpoint",)

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def complete(self, request: Request) -> Answer[Any]:
        """One request, one answer. Raises ProviderError when the call broke."""
        endpoint = self._endpoint
        key = key_of(endpoint)
        body = {"model": endpoint.model, "messages": request.messages, **request.params}
        headers = {"authorization": f"Bearer {key}"} if key else {}
        if endpoint.first_token_s is None:
            answered = await post(endpoint, _PATH, headers, body)
        else:
            body.update(_streaming(endpoint, request.params))
            assembly = CompletionAssembly(_usage)
            answered = await post_streamed(endpoint, _PATH, headers, body, assembly)
        return read_completion(answered, label(endpoint))


def provide(endpoint: Endpoint) -> Provider:
    """The provider for one endpoint. Raises ConfigError when its address is none."""
    check_endpoint(endpoint)
    return OpenAIChat(endpoint)


def _streaming(endpoint: Endpoint, params: Mapping[str, Any]) -> dict[str, Any]:
    """What asks for a stream, and for the bill at its end."""
    if "stream_options" in endpoint.drop_params:
        return {"stream": True}
    own = as_mapping(params.get("stream_options"))
    return {"stream": True, "stream_options": {"include_usage": True, **own}}


def read_completion(body: Mapping[str, Any], who: str | None = None) -> Answer[Any]:
    """The answer in a chat completion: its first choice; `raw` keeps the others.

    Args:
        who: the model that was asked, for messages. None: it is not known.

    Raises:
        BadResponseError: there is no choice with a readable message in it.
    """
    usage = _usage(as_mapping(body.get("usage")))
    choice = as_mapping(next(iter(as_list(body.get("choices"))), None))
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise _bad("a chat completion has no choice with a message", usage, body, who=who)
    message = as_mapping(message)
    content = message.get("content")
    if not isinstance(content, str | list | None):
        raise _bad(
            "the content of a chat completion is neither text nor parts", usage, body, who=who
        )
    text = content if isinstance(content, str) else _text_of_parts(as_list(content))
    calls = _tool_calls(message)
    if calls is None:
        raise _bad("a tool call in a chat completion has no name", usage, body, who=who)
    reason = as_text(choice.get("finish_reason"))
    return Answer(
        text,
        text=text,
        tool_calls=calls,
        finish_reason=_FINISH_REASONS.get(reason, reason) if reason else None,
        logprobs=read_logprobs(as_mapping(choice.get("logprobs")).get("content")),
        usage=usage,
        refusal=_refusal(message),
        reasoning=as_text(message.get("reasoning_content")) or as_text(message.get("reasoning")),
        model=as_text(body.get("model")),
        raw=body,
    )


def read_response(body: Mapping[str, Any]) -> Answer[Any]:
    """The answer in an object of the OpenAI Responses API.

    Raises:
        BadResponseError: the response failed, is not finished, or has no output.
    """
    usage = _response_usage(as_mapping(body.get("usage")))
    status = as_text(body.get("status")) or "completed"
    if status not in ("completed", "incomplete"):
        code = as_text(as_mapping(body.get("error")).get("code"))
        raise _bad("a response is not completed", usage, body, code=code)
    if not isinstance(body.get("output"), list):
        raise _bad("a response has no output", usage, body)
    items = [as_mapping(item) for item in as_list(body["output"])]
    parts = [
        as_mapping(part)
        for item in items
        if item.get("type") == "message"
        for part in as_list(item.get("content"))
    ]
    calls = [_response_call(item) for item in items if item.get("type") in _CALLS]
    if not all(call.name for call in calls):
        raise _bad("a tool call in a response has no name", usage, body)
    text = _text_of_parts(parts)
    return Answer(
        text,
        text=text,
        tool_calls=tuple(calls),
        finish_reason=_response_finish_reason(status, body, bool(calls)),
        logprobs=read_logprobs([e for part in parts for e in as_list(part.get("logprobs"))]),
        usage=usage,
        refusal=joined([t for p in parts if (t := as_text(p.get("refusal")))]),
        reasoning=_response_reasoning(items),
        model=as_text(body.get("model")),
        raw=body,
    )


def _bad(
    what: str,
    usage: Usage | None,
    body: Mapping[str, Any],
    *,
    code: str | None = None,
    who: str | None = None,
) -> BadResponseError:
    told = what if who is None else f"{who}: {what}"
    return BadResponseError(f"{told}; the body is on the error", usage=usage, body=body, code=code)


def _text_of_parts(parts: Sequence[Any]) -> str | None:
    kinds = ("text", "output_text")
    mappings = [as_mapping(part) for part in parts]
    return joined([t for p in mappings if p.get("type") in kinds and (t := as_text(p.get("text")))])


def _refusal(message: Mapping[str, Any]) -> str | None:
    parts = [as_mapping(part) for part in as_list(message.get("content"))]
    in_parts = [t for p in parts if p.get("type") == "refusal" and (t := as_text(p.get("refusal")))]
    return as_text(message.get("refusal")) or joined(in_parts)


def _tool_calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...] | None:
    """None when one of them has no name: half a list would be another answer."""
    calls: list[ToolCall] = []
    entries = [as_mapping(entry) for entry in as_list(message.get("tool_calls"))]
    if message.get("function_call"):
        entries.append({"function": message["function_call"]})
    for entry in entries:
        called = as_mapping(entry.get("function") or entry.get("custom"))
        name = as_text(called.get("name"))
        if name is None:
            return None
        written = called.get("arguments", called.get("input"))
        calls.append(ToolCall(as_text(entry.get("id")), name, _arguments(written)))
    return tuple(calls)


def _arguments(written: Any) -> str:
    # Some servers give the parsed object where the format promises its text.
    return written if isinstance(written, str) else (as_json(written) or "") if written else ""


def _usage(usage: Mapping[str, Any]) -> Usage | None:
    read, written = as_count(usage.get("prompt_tokens")), as_count(usage.get("completion_tokens"))
    total = as_count(usage.get("total_tokens"))
    if read is not None and written is not None and total is not None:
        # Where a provider (xAI, Gemini) leaves hidden reasoning out of completion_tokens, it is
        # in the total, and on the bill.
        written = max(written, total - read)
    of_input = as_mapping(usage.get("prompt_tokens_details"))
    return usage_of_counts(
        read,
        written,
        cached=of_input.get("cached_tokens", usage.get("prompt_cache_hit_tokens")),
        cache_write=of_input.get("cache_write_tokens"),
        reasoning=as_mapping(usage.get("completion_tokens_details")).get("reasoning_tokens"),
    )


def _response_usage(usage: Mapping[str, Any]) -> Usage | None:
    of_input = as_mapping(usage.get("input_tokens_details"))
    return usage_of_counts(
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        cached=of_input.get("cached_tokens"),
        cache_write=of_input.get("cache_write_tokens"),
        reasoning=as_mapping(usage.get("output_tokens_details")).get("reasoning_tokens"),
    )


def _response_call(item: Mapping[str, Any]) -> ToolCall:
    written = item.get("arguments", item.get("input"))
    called = as_text(item.get("call_id")) or as_text(item.get("id"))
    return ToolCall(called, as_text(item.get("name")) or "", _arguments(written))


def _response_finish_reason(status: str, body: Mapping[str, Any], called: bool) -> str | None:
    if status == "incomplete":
        reason = as_text(as_mapping(body.get("incomplete_details")).get("reason"))
        return _INCOMPLETE.get(reason, reason) if reason else None
    return "tool_calls" if called else "stop"


def _response_reasoning(items: Sequence[Mapping[str, Any]]) -> str | None:
    texts = [
        text
        for item in items
        if item.get("type") == "reasoning"
        for part in (*as_list(item.get("content")), *as_list(item.get("summary")))
        if (text := as_text(as_mapping(part).get("text")))
    ]
    return joined(texts, "\n")
