"""Chunks of a streamed chat completion, put together to the completion.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cascade.providers._reading import as_count, as_list, as_mapping, as_text
from cascade.types import Usage

__all__ = ["CompletionAssembly"]

# What comes in pieces; anything else in a delta comes whole.
_WRITTEN: Final = frozenset({"content", "reasoning", "reasoning_content", "refusal"})
_WRITTEN_INSIDE: Final = frozenset({"arguments", "data", "input", "transcript"})
# What a chunk has beside its part of the completion: what it is, and padding against eavesdroppers.
_OF_CHUNKS: Final = frozenset({"choices", "object", "obfuscation"})


class CompletionAssembly:
    """One completion in the making.

    Args:
        read_usage: reads the completion's usage.

    Attributes:
        has_begun: whether the first token has come.
    """

    __slots__ = ("_choices", "_head", "_read_usage", "has_begun")

    def __init__(self, read_usage: Callable[[Mapping[str, Any]], Usage | None]) -> None:
        self._read_usage = read_usage
        self._head: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}
        self.has_begun = False

    @property
    def has_finished(self) -> bool:
        """Whether the first choice has its finish reason."""
        return 0 in self._choices and self._choices[0].finish_reason is not None

    @property
    def is_last(self) -> bool:
        """Only "[DONE]" is: the usage comes after the finish reason."""
        return False

    def take(self, event: Mapping[str, Any]) -> None:
        """Add a chunk."""
        for name, value in event.items():
            if name not in _OF_CHUNKS and (value is not None or name not in self._head):
                self._head[name] = value
        for part in map(as_mapping, as_list(event.get("choices"))):
            choice = self._choices.setdefault(as_count(part.get("index")) or 0, _Choice())
            self.has_begun = choice.take(part) or self.has_begun

    def usage(self) -> Usage | None:
        """What is billed, of which the last chunk tells. None: it has not come."""
        return self._read_usage(as_mapping(self._head.get("usage")))

    def body(self) -> dict[str, Any]:
        """The completion so far."""
        choices = [choice.body(index) for index, choice in sorted(self._choices.items())]
        return {**self._head, "object": "chat.completion", "choices": choices}


class _Choice:
    """One of the completion's answers.

    Attributes:
        finish_reason: None: it is not finished.
    """

    __slots__ = (
        "_beside",
        "_calls",
        "_logprobs",
        "_message",
        "_objects",
        "_pieces",
        "finish_reason",
    )

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._beside: dict[str, Any] = {}
        self._logprobs: dict[str, Any] | None = None
        self._message: dict[str, Any] = {}
        self._pieces: dict[str, list[Any]] = {}
        self._objects: dict[str, _Written] = {}
        self._calls = _Calls()

    def take(self, part: Mapping[str, Any]) -> bool:
        """Add a chunk's part of it, and say whether any of the answer was in it."""
        delta = as_mapping(part.get("delta"))
        for name, value in delta.items():
            self._add(name, value)
        self._add_logprobs(part.get("logprobs"))
        self.finish_reason = as_text(part.get("finish_reason")) or self.finish_reason
        known = ("delta", "finish_reason", "index", "logprobs")
        self._beside.update((k, v) for k, v in part.items() if k not in known and v is not None)
        is_said = any(value for name, value in delta.items() if name != "role")
        return is_said or self.finish_reason is not None

    def body(self, index: int) -> dict[str, Any]:
        """The choice so far."""
        pieces = {name: _joined(pieces) for name, pieces in self._pieces.items()}
        objects = {name: written.body() for name, written in self._objects.items()}
        message = {**self._message, **pieces, **objects}
        calls = self._calls.body()
        return {
            "index": index,
            "message": {**message, "tool_calls": calls} if calls else message,
            "logprobs": self._logprobs,
            "finish_reason": self.finish_reason,
            **self._beside,
        }

    def _add(self, name: str, value: Any) -> None:
        if name == "tool_calls":
            for call in map(as_mapping, as_list(value)):
                self._calls.take(call)
        elif value is None:
            self._message.setdefault(name, None)
        elif isinstance(value, Mapping):
            self._objects.setdefault(name, _Written()).take(as_mapping(value))
        elif name in _WRITTEN or isinstance(value, list):
            self._pieces.setdefault(name, []).append(value)
        else:
            self._message[name] = value

    def _add_logprobs(self, logprobs: Any) -> None:
        if not isinstance(logprobs, Mapping):
            return
        if self._logprobs is None:
            self._logprobs = {}
        for name, entries in as_mapping(logprobs).items():
            if isinstance(entries, list) and isinstance(self._logprobs.get(name), list):
                self._logprobs[name].extend(as_list(entries))
            elif entries is not None or name not in self._logprobs:
                self._logprobs[name] = entries


class _Calls:
    """The tool calls of one message."""

    __slots__ = ("_calls", "_current")

    def __init__(self) -> None:
        self._calls: list[tuple[int, _Call]] = []
        self._current: dict[int, _Call] = {}

    def take(self, part: Mapping[str, Any]) -> None:
        """Add a piece to the call it belongs to."""
        index = as_count(part.get("index"))
        if index is None:  # some servers leave it out: a call of its own, or more of the last one
            index = max(self._current, default=0)
        call = self._current.get(index)
        if call is None or call.is_followed_by(part):
            call = self._current[index] = _Call()
            self._calls.append((index, call))
        call.take(part)

    def body(self) -> list[dict[str, Any]]:
        """The calls so far, in the order of their indexes."""
        return [call.body() for _, call in sorted(self._calls, key=lambda pair: pair[0])]


class _Call:
    """One tool call."""

    __slots__ = ("_fields", "_functions")

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._functions: dict[str, _Written] = {}

    def is_followed_by(self, part: Mapping[str, Any]) -> bool:
        """Whether `part` begins another call: some servers give all of them one index."""
        named = any(as_mapping(part.get(kind)).get("name") for kind in ("function", "custom"))
        return bool(named and part.get("id") and part["id"] != self._fields.get("id"))

    def take(self, part: Mapping[str, Any]) -> None:
        for name, value in part.items():
            if isinstance(value, Mapping):
                self._functions.setdefault(name, _Written()).take(as_mapping(value))
            elif name != "index" and value:
                self._fields.setdefault(name, value)  # some servers repeat them

    def body(self) -> dict[str, Any]:
        return {**self._fields, **{k: written.body() for k, written in self._functions.items()}}


class _Written:
    """An object some of whose fields come in pieces: a function's arguments, a sound."""

    __slots__ = ("_fields", "_pieces")

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._pieces: dict[str, list[str]] = {}

    def take(self, part: Mapping[str, Any]) -> None:
        for name, value in part.items():
            if name in _WRITTEN_INSIDE and isinstance(value, str):
                self._pieces.setdefault(name, []).append(value)
            elif value:
                self._fields.setdefault(name, value)

    def body(self) -> dict[str, Any]:
        return {**self._fields, **{name: "".join(texts) for name, texts in self._pieces.items()}}


def _joined(pieces: list[Any]) -> Any:
    """A text or a list from its pieces. Where both kinds came, a list of parts."""
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    parts: list[Any] = []
    for piece in pieces:
        parts += [{"type": "text", "text": piece}] if isinstance(piece, str) else as_list(piece)
    return parts
