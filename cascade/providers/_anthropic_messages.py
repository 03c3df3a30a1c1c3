"""Messages in the OpenAI format, as the Anthropic Messages API knows them.

Content blocks in Anthropic's own format (documents, thinking, search results, cache marks) pass
as they are. What has no counterpart refuses the request: nothing is left out in silence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cascade.providers._failures import refuse
from cascade.providers._reading import as_list, as_mapping, as_text
from cascade.types import Message

__all__ = ["translate_messages"]

Block = Mapping[str, Any]

# Keys of an assistant message that tell of it, and that no wire format reads back.
_TOLD_OF: Final = frozenset({"annotations", "reasoning", "reasoning_content", "reasoning_details"})
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset({"content"}),
    "developer": frozenset({"content"}),
    "user": frozenset({"content"}),
    "assistant": frozenset({"content", "refusal", "tool_calls"}) | _TOLD_OF,
    "tool": frozenset({"content", "tool_call_id"}),
}


def translate_messages(
    who: str, messages: Iterable[Message]
) -> tuple[str | list[Block] | None, list[dict[str, Any]]]:
    """The system prompt (None: there is none) and the turns of user and assistant.

    System messages are put together at the front, wherever they stood. Neighbours of one role
    become one turn.

    Raises:
        BadRequestError: something has no counterpart.
    """
    system: list[Any] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = as_text(message.get("role"))
        _check_keys(who, role, message)
        if role in ("system", "developer"):
            system.append(message.get("content"))
            continue
        content = _content_of(who, message)
        speaker = "assistant" if role == "assistant" else "user"
        if turns and turns[-1]["role"] == speaker:
            turns[-1]["content"] = [*_blocks(who, turns[-1]["content"]), *_blocks(who, content)]
        elif content or speaker == "user":  # an assistant that said nothing had no turn
            turns.append({"role": speaker, "content": content})
    return _system(who, system), turns


def _check_keys(who: str, role: str | None, message: Message) -> None:
    allowed = _KEYS.get(role or "")
    if allowed is None:
        raise refuse(who, "a message's role is none of " + ", ".join(_KEYS))
    for key, value in message.items():
        if value and key != "role" and key not in allowed:
            raise refuse(
                who,
                f"the Anthropic Messages API has no counterpart for {key!r} in a {role} message; "
                "leave it out of the message",
            )


def _system(who: str, contents: list[Any]) -> str | list[Block] | None:
    if not contents:
        return None
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(contents)
    return [block for content in contents for block in _blocks(who, content)]


def _content_of(who: str, message: Message) -> str | list[Block]:
    if message["role"] == "tool":
        return [_tool_result(who, message)]
    said = [said for key in ("content", "refusal") if (said := message.get(key))]
    calls = as_list(message.get("tool_calls"))
    if not calls and (not said or (len(said) == 1 and isinstance(said[0], str))):
        return said[0] if said else ""
    blocks = [block for content in said for block in _blocks(who, content)]
    return [*blocks, *(_tool_use(who, as_mapping(call)) for call in calls)]


def _blocks(who: str, content: Any) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    parts = [as_mapping(part) for part in as_list(content)]
    if not all(parts) or (content and not parts):
        raise refuse(who, "a message's content is neither text nor a list of objects")
    return [_block(who, part) for part in parts]


def _block(who: str, part: Block) -> Block:
    match part.get("type"):
        case "image_url":
            return _image(who, part)
        case "file":
            return _document(who, part)
        case "refusal":
            return {"type": "text", "text": part.get("refusal")}
        case "input_audio":
            raise refuse(who, "the Anthropic Messages API takes no audio")
        case _:
            return part


def _image(who: str, part: Block) -> Block:
    image = as_mapping(part.get("image_url"))
    if image.get("detail") not in (None, "auto"):
        raise refuse(
            who,
            "the Anthropic Messages API has no counterpart for an image's 'detail'; "
            "leave it out of the message",
        )
    url = as_text(image.get("url")) or ""
    source: Block = {"type": "url", "url": url}
    if url.startswith("data:"):
        media_type, data = _data_url(who, url)
        source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "image", "source": source, **_rest(part, "image_url")}


def _document(who: str, part: Block) -> Block:
    file = as_mapping(part.get("file"))
    url = as_text(file.get("file_data"))
    if url is None:
        raise refuse(who, "a file is known to OpenAI alone; give it as file_data, a data: URL")
    media_type, data = _data_url(who, url)
    title = {"title": file["filename"]} if file.get("filename") else {}
    source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "document", "source": source, **title, **_rest(part, "file")}


def _data_url(who: str, url: str) -> tuple[str, str]:
    """The media type and the base64 text of a data: URL (RFC 2397)."""
    head, comma, data = url.removeprefix("data:").partition(",")
    if not comma or not head.endswith(";base64"):
        raise refuse(who, "a data: URL is not base64; write data:TYPE;base64,DATA")
    return head.removesuffix(";base64").partition(";")[0], data


def _rest(part: Block, payload: str) -> dict[str, Any]:
    """What stands beside the payload, such as a cache mark."""
    return {k: v for k, v in part.items() if k not in ("type", payload)}


def _tool_use(who: str, call: Block) -> Block:
    function = as_mapping(call.get("function"))
    if not function:
        raise refuse(who, "only calls of function tools have a counterpart in tool_calls")
    name, written = function.get("name"), function.get("arguments") or "{}"
    try:
        arguments = json.loads(written)
    except (TypeError, ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        # Not from the parser's error: that quotes what the model wrote.
        raise refuse(who, "the arguments of a call in tool_calls are not a JSON object")
    return {"type": "tool_use", "id": call.get("id"), "name": name, "input": arguments}


def _tool_result(who: str, message: Message) -> Block:
    called = message.get("tool_call_id")
    if not called:
        raise refuse(who, "a tool message has no tool_call_id")
    content = message.get("content") or ""
    said = content if isinstance(content, str) else _blocks(who, content)
    return {"type": "tool_result", "tool_use_id": called, "content": said}
