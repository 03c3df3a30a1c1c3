"""A chat request and its completions, free of any provider's wire format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Finish = Literal["stop", "stop_sequence", "length", "tool_calls", "refusal"]

# Words with their leading space, numbers in threes, marks one by one: about as fine as the
# tokenizers of real models, and joined together the text comes back unchanged.
TOKEN = re.compile(r" ?[^\W\d_]{1,8}|\d{1,3}|\s+|.", re.DOTALL)
TOKENS_PER_MESSAGE = 4  # what real chat formats add around each message


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `parameters` is its JSON Schema."""

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a client asked for.

    `messages` holds (role, text) pairs. None means: `max_tokens` no limit, `top_logprobs` no
    log-probabilities wanted, `schema` no JSON Schema for the reply, `seed` none given.
    `tool_choice` is "auto", "none", "required" or the name of a tool.
    """

    model: str
    messages: tuple[tuple[str, str], ...]
    temperature: float = 0.0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    json_mode: bool = False
    schema: Mapping[str, Any] | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    top_logprobs: int | None = None
    seed: int | None = None
    stream: bool = False
    include_usage: bool = False
    cache: bool = False

    @property
    def input_tokens(self) -> int:
        """Tokens of all messages, with what the chat format adds."""
        return sum(len(split_tokens(text)) + TOKENS_PER_MESSAGE for _, text in self.messages)


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `alternatives` are (text, logprob) pairs, most likely first, itself included."""

    text: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool with its arguments as JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion: its tokens, the tools it calls, and why it ended.

    `refused` marks a refusal which the wire format has a field of its own for.
    """

    tokens: tuple[Token, ...]
    finish: Finish = "stop"
    tool_calls: tuple[ToolCall, ...] = ()
    refused: bool = False
    stop_sequence: str | None = None

    @property
    def text(self) -> str:
        """The tokens joined."""
        return "".join(token.text for token in self.tokens)

    @property
    def output_tokens(self) -> int:
        """Billed tokens: text and tool arguments."""
        calls = sum(len(split_tokens(call.name + call.arguments)) for call in self.tool_calls)
        return len(self.tokens) + calls


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a reply. `input_tokens` includes the cached and the cache-written ones."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_written_tokens: int = 0


def split_tokens(text: str) -> list[str]:
    """The text as tokens."""
    return TOKEN.findall(text)


def cut(completion: Completion, request: ChatRequest) -> Completion:
    """The completion as `stop` and `max_tokens` leave it; stop sequences are not part of it."""
    found = [(at, stop) for stop in request.stop if (at := completion.text.find(stop)) >= 0]
    if found and not completion.tool_calls:
        end, stop = min(found)
        completion = replace(
            completion,
            tokens=_first_characters(completion.tokens, end),
            finish="stop_sequence",
            stop_sequence=stop,
        )
    limit = request.max_tokens
    if limit is None or len(completion.tokens) <= limit:
        return completion
    return replace(
        completion, tokens=completion.tokens[:limit], finish="length", stop_sequence=None
    )


def _first_characters(tokens: tuple[Token, ...], count: int) -> tuple[Token, ...]:
    kept: list[Token] = []
    for token in tokens:
        if count <= 0:
            break
        kept.append(replace(token, text=token.text[:count]))
        count -= len(token.text)
    return tuple(kept)
