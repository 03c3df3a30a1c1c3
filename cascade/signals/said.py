"""What a call says: its request, found among a function's arguments too, and looks at its text.

Signals that read words look at both ends of the last user message and no further, so that what
they cost does not grow with the prompt. Sums (characters, tokens, images) take one pass over it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard, cast

from cascade.types import Message, Request

__all__ = ["WINDOW_CHARS", "Said", "Survey", "request_in"]

WINDOW_CHARS: Final = 4_000
"""What is read of each end of a text that is longer than twice this; not the middle."""

_PARAMS: Final = (
    "functions",
    "max_completion_tokens",
    "max_tokens",
    "response_format",
    "tool_choice",
    "tools",
)
_TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text"})
_IMAGE_PARTS: Final = frozenset({"image", "image_url", "input_image"})
_DOCUMENT_PARTS: Final = frozenset({"document", "file", "input_file"})
_AUDIO_PARTS: Final = frozenset({"audio", "input_audio"})


@dataclass(slots=True)
class Survey:
    """What one pass over all messages counts."""

    chars: int = 0
    turns: int = 0
    images: int = 0
    documents: int = 0
    audio: int = 0
    tool_calls: int = 0


class Said:
    """What a call says.

    Attributes:
        request: the call's request. None: there is none, and no text was found in the arguments.
    """

    __slots__ = ("_survey", "_system", "_text", "request")

    def __init__(self, request: Request | None) -> None:
        self.request = request
        self._text: str | None = None
        self._system: str | None = None
        self._survey: Survey | None = None

    @property
    def text(self) -> str:
        """The last user message with text in it; of a long one both ends. "" when there is none."""
        if self._text is None:
            self._text = "" if self.request is None else _last_text(self.request.messages)
        return self._text

    @property
    def system(self) -> str:
        """The instructions before the conversation, likewise cut. "" when there are none."""
        if self._system is None:
            messages = () if self.request is None else self.request.messages
            first = (m for m in messages if m.get("role") in ("system", "developer"))
            self._system = _ends([text for message in first for text in _texts(message)])
        return self._system

    @property
    def params(self) -> Mapping[str, Any]:
        """The request's parameters. Empty when there is no request."""
        return {} if self.request is None else self.request.params

    @property
    def survey(self) -> Survey | None:
        """What all messages come to. None when there is no request."""
        if self._survey is None and self.request is not None:
            self._survey = _survey_of(self.request.messages)
        return self._survey


def request_in(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Request | None:
    """The request among a function's arguments.

    In their order, first by place and then by name: the first `Request`, request body
    (`{"messages": [...]}`) or list of messages, with the parameters of the wire format (tools,
    response_format, max_tokens ...) among the named arguments. Where there is none of them, all
    text in the arguments, in lists and mappings too, as one user message.

    Returns:
        None: there is neither.
    """
    for value in (*args, *kwargs.values()):
        if isinstance(value, Request):
            return value
        body = _body_in(value)
        if body is not None:
            messages, params = body
            named = {name: kwargs[name] for name in _PARAMS if name in kwargs}
            return Request(messages, **{**named, **params})
    found = list(_all_text((*args, *(v for k, v in kwargs.items() if k not in _PARAMS))))
    return Request("\n".join(found)) if any(found) else None


def _body_in(value: Any) -> tuple[Sequence[Message], Mapping[str, Any]] | None:
    """The messages and parameters of a body or a list of messages. None: it is neither."""
    if isinstance(value, Mapping):
        body = cast("Mapping[str, Any]", value)
        messages = _messages_in(body.get("messages"))
        params = {name: body[name] for name in _PARAMS if name in body}
        return None if messages is None else (messages, params)
    messages = _messages_in(value)
    return None if messages is None else (messages, {})


def _messages_in(value: Any) -> Sequence[Message] | None:
    if not isinstance(value, list | tuple) or not value:
        return None
    messages = cast("Sequence[Any]", value)
    # The first alone: a list is not walked to find out what it is.
    is_chat = isinstance(messages[0], Mapping) and "role" in messages[0]
    return [cast("Message", m) for m in messages if isinstance(m, Mapping)] if is_chat else None


def _all_text(values: Iterable[Any]) -> Iterator[str]:
    """Every text within, in order. What holds itself is gone into once."""
    seen: set[int] = set()
    left: list[Iterator[Any]] = [iter(values)]
    while left:  # no recursion: the depth is the caller's
        for value in left[-1]:
            if isinstance(value, str):
                yield value
            elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:  # pyright: ignore[reportUnknownArgumentType]
                seen.add(id(value))  # pyright: ignore[reportUnknownArgumentType]
                inner: Any = value.values() if isinstance(value, Mapping) else value  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                left.append(iter(inner))
                break
        else:
            left.pop()


def _texts(message: Message) -> list[str]:
    """The text of one message, its parts in order; not what tools answered."""
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    return [
        part if isinstance(part, str) else part["text"]
        for part in _parts(content)
        if isinstance(part, str)
        or (part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str))
    ]


def _parts(content: Any) -> list[Any]:
    if not isinstance(content, list | tuple):
        return []
    return [part for part in cast("Sequence[Any]", content) if isinstance(part, str | Mapping)]


def _last_text(messages: Sequence[Message]) -> str:
    for message in reversed(messages):
        if message.get("role", "user") == "user":
            text = _ends(_texts(message))
            if text.strip():
                return text
    return ""


def _ends(texts: Sequence[str]) -> str:
    """Texts as one; of a long one the first and the last `WINDOW_CHARS` characters."""
    if sum(map(len, texts)) + len(texts) - 1 <= 2 * WINDOW_CHARS:
        return "\n".join(texts)
    return f"{_first_of(texts)}\n{_first_of(reversed(texts), -1)}"


def _first_of(texts: Iterable[str], step: int = 1) -> str:
    """The first `WINDOW_CHARS` of texts one after the other; the last ones where step is -1."""
    kept: list[str] = []
    room = WINDOW_CHARS
    for text in texts:
        if room <= 0:
            break
        kept.append(text[:room] if step > 0 else text[-room:])
        room -= len(text) + 1
    return "\n".join(kept[::step])


def _survey_of(messages: Sequence[Message]) -> Survey:
    found = Survey()
    for message in messages:
        content = message.get("content")
        found.turns += message.get("role", "user") == "user" and not _is_of_tools(content)
        calls = message.get("tool_calls")
        if isinstance(calls, list | tuple):
            found.tool_calls += len(cast("Sequence[Any]", calls))
        found.tool_calls += bool(message.get("function_call"))
        if isinstance(content, str):
            found.chars += len(content)
            continue
        for part in _parts(content):
            _count_part(found, part)
            if _is_result(part):
                answered = part.get("content")
                for inner in [answered] if isinstance(answered, str) else _parts(answered):
                    _count_part(found, inner)
    return found


def _is_result(part: str | Mapping[str, Any]) -> TypeGuard[Mapping[str, Any]]:
    """Whether it is what a tool answered, in the form of Anthropic."""
    return isinstance(part, Mapping) and part.get("type") == "tool_result"


def _is_of_tools(content: Any) -> bool:
    """Whether nobody but tools speaks in a message."""
    parts = _parts(content)
    return bool(parts) and all(map(_is_result, parts))


def _count_part(found: Survey, part: str | Mapping[str, Any]) -> None:
    if isinstance(part, str):
        found.chars += len(part)
        return
    kind, text = part.get("type"), part.get("text")
    if isinstance(text, str):
        found.chars += len(text)
    # `in` a set of a value that cannot be hashed would raise.
    if isinstance(kind, str):
        found.images += kind in _IMAGE_PARTS
        found.documents += kind in _DOCUMENT_PARTS
        found.audio += kind in _AUDIO_PARTS
        found.tool_calls += kind == "tool_use"
