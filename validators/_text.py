"""The text that a validator judges: what the answer says, its code blocks, its prose."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import UNSET, Answer, Unset

_FENCE: Final = re.compile(r"^([ \t]*)(`{3,}|~{3,})(.*)$", re.MULTILINE)
_INLINE_CODE: Final = re.compile(r"`[^`\n]*`")
_URL: Final = re.compile(r"(?:https?://|www\.)\S+")
_JSON_OPENINGS: Final = ("{", "[", '"')
_FEEDBACK_CHARS: Final = 80


class Block(NamedTuple):
    """A fenced code block: its language (lower case, "" when unmarked) and code, and its place."""

    language: str
    code: str
    start: int
    end: int


def text_of(answer: Answer[Any]) -> str | None:
    """The answer's text. None when there is none to judge, or only white space."""
    text: object = answer.text
    return text if isinstance(text, str) and text.strip() else None


def blocks(text: str) -> Iterator[Block]:
    """The fenced code blocks of Markdown text (CommonMark 0.31.2, section 4.5).

    As there, a block that is never closed runs to the end of the text. A fence may stand at any
    indentation, since models put blocks into lists without counting columns.
    """
    opening: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opening is None:
            # A line such as ```x``` is code in a line, not a fence.
            opening = None if "`" in fence[3] else fence
        elif _closes(fence, opening):
            yield _block(text, opening, fence.start(), fence.end())
            opening = None
    if opening is not None:
        yield _block(text, opening, len(text), len(text))


def _closes(fence: re.Match[str], opening: re.Match[str]) -> bool:
    return (
        fence[2].startswith(opening[2])
        and not fence[3].strip()
        and len(fence[1]) <= len(opening[1]) + 3  # deeper, it belongs to the code
    )


def _block(text: str, opening: re.Match[str], code_end: int, end: int) -> Block:
    code = text[opening.end() + 1 : code_end]
    if opening[1]:
        code = re.sub(rf"^[ \t]{{1,{len(opening[1])}}}", "", code, flags=re.MULTILINE)
    words = opening[3].split(maxsplit=1)
    return Block(words[0].lower() if words else "", code, opening.start(), end)


def code_in(text: str, languages: Collection[str]) -> str | None:
    """The code of an answer: its blocks marked as one of `languages`, else its unmarked ones.

    Several are one program, joined by an empty line. Text without any block is code as a whole.
    None when all blocks are in other languages.
    """
    found = list(blocks(text))
    if not found:
        return text
    marked = [block.code for block in found if block.language in languages]
    plain = [block.code for block in found if not block.language]
    return "\n\n".join(marked or plain) if marked or plain else None


def prose(text: str) -> str:
    """The text without code and addresses, which are in no human language."""
    kept: list[str] = []
    last = 0
    for block in blocks(text):
        kept.append(text[last : block.start])
        last = block.end
    kept.append(text[last:])
    return _URL.sub(" ", _INLINE_CODE.sub(" ", "\n".join(kept)))


def json_of(answer: Answer[Any], context: Context) -> Any:
    """What the answer's text says in JSON, bare or as its only block. UNSET when it is not JSON."""
    if "text.json" not in context.cache:
        context.cache["text.json"] = _read_json(text_of(answer) or "")
    return context.cache["text.json"]


def _read_json(text: str) -> Any | Unset:
    text = text.strip()
    if text.startswith(("```", "~~~")):
        found = list(blocks(text))
        text = found[0].code.strip() if len(found) == 1 and found[0].end == len(text) else ""
    if not text.startswith(_JSON_OPENINGS):
        return UNSET
    try:
        # Numbers stay as they were written: 1.50 is not to become 1.5, nor 1e999 infinity.
        return json.loads(text, parse_int=_written, parse_float=_written)
    except (ValueError, RecursionError):
        return UNSET


def _written(number: str) -> str:
    return number


def said(answer: Answer[Any], context: Context) -> str | None:
    """What the answer says: its text, or of JSON the values, since names are the schema's.

    None when it says nothing.
    """
    parsed = json_of(answer, context)
    return text_of(answer) if parsed is UNSET else flat_text(parsed)


def flat_text(value: object) -> str | None:
    """The texts, numbers and dates anywhere in `value`, one a line. None when there are none."""
    pieces: list[str] = []
    seen: dict[int, object] = {}  # a list can hold itself
    rest: list[object] = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif isinstance(item, int | float | Decimal | date | time) and not isinstance(item, bool):
            pieces.append(_as_written(item))
        elif id(item) not in seen:
            seen[id(item)] = item
            rest.extend(reversed(_held_by(item)))
    text = "\n".join(pieces)
    return text if text.strip() else None


def _held_by(item: object) -> list[object]:
    if isinstance(item, Mapping):
        return list(cast("Mapping[object, object]", item).values())
    if isinstance(item, list | tuple | set | frozenset):
        return list(cast("Collection[object]", item))
    return []


def _as_written(item: object) -> str:
    try:
        return str(item)
    except ValueError:  # an int of more digits than Python is set to write out
        return ""


def shortened(text: str) -> str:
    """A passage for feedback: one line, and not more of it than a model needs to find it."""
    line = " ".join(text[: 2 * _FEEDBACK_CHARS].split())
    return line if len(line) <= _FEEDBACK_CHARS else f"{line[: _FEEDBACK_CHARS - 1]}…"


def check_words(owner: str, name: str, given: object) -> tuple[str, ...]:
    """The option `name` as a tuple of non-empty strings.

    Raises:
        ConfigError: it is anything but a list of them.
    """
    if isinstance(given, list | tuple | set | frozenset):
        words = tuple(cast("Collection[object]", given))
        if all(isinstance(word, str) and word.strip() for word in words):
            return cast("tuple[str, ...]", words)
    raise ConfigError(f"{owner}: {name}={given!r} is not a list of strings; write {name}=[...]")
