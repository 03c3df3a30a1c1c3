"""The source text that an answer is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import Request
from cascade.validators._text import flat_text

Source: TypeAlias = str | Callable[[Context], Any]
SourceText: TypeAlias = Callable[[Context], str | None]


def source_text(owner: str, source: Source | None, argument: str | None) -> SourceText:
    """A function that gives the source text for one call; None when there is none.

    Args:
        owner: the validator's name, for errors.
        source: the text itself, or a function of the context that gives it.
        argument: the name of the wrapped function's argument that holds it.
            Neither: all messages of the request but the assistant's.

    Raises:
        ConfigError: both are given, or one is not what it should be.
    """
    if source is not None and argument is not None:
        raise ConfigError(f"{owner} has both source= and argument=; give one of them")
    if argument is not None:
        if not isinstance(argument, str) or not argument:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"{owner}: argument={argument!r} is not the name of an argument")
        name = argument
        return lambda context: _once(context, f"source.{name}", _of_argument, name)
    if source is None:
        return lambda context: _once(context, "source", _of_request)
    if isinstance(source, str):
        if not source.strip():
            raise ConfigError(f"{owner}: source is empty; give a text, or leave it out")
        text = source
        return lambda context: text
    if callable(source):
        function = source
        return lambda context: flat_text(function(context))
    raise ConfigError(
        f"{owner}: source is a {type(source).__name__}; give a text or a function of the context"
    )


def _once(context: Context, key: str, find: Callable[..., str | None], *args: str) -> str | None:
    if key not in context.cache:
        context.cache[key] = find(context, *args)
    return cast("str | None", context.cache[key])


def _of_argument(context: Context, name: str) -> str | None:
    return flat_text(context.arguments.get(name))


def _of_request(context: Context) -> str | None:
    return None if context.request is None else _messages_text(context.request)


def _messages_text(request: Request) -> str | None:
    # What a model said before proves nothing.
    asked = (m for m in request.messages if m.get("role") != "assistant")
    return flat_text([part for message in asked for part in _parts(message.get("content"))])


def _parts(content: object) -> list[object]:
    """The texts of one message's content: a string, or parts, of which images are left out."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list | tuple):
        return []
    texts: list[object] = []
    for part in cast("list[object] | tuple[object, ...]", content):
        if isinstance(part, Mapping):
            fields = cast("Mapping[str, object]", part)
            texts.append(fields.get("text"))
            if fields.get("type") == "tool_result":
                texts.extend(_parts(fields.get("content")))
    return texts
