"""Events of a streamed message of the Anthropic Messages API, put together to the message.

https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from cascade.providers._reading import as_count, as_mapping, as_text
from cascade.types import Usage

__all__ = ["MessageAssembly"]

# The field of a block that each kind of delta adds to. Citations come whole, one at a time.
_TEXTS: Final[Mapping[str, str]] = {
    "input_json_delta": "partial_json",
    "signature_delta": "signature",
    "text_delta": "text",
    "thinking_delta": "thinking",
}
_BEGUN_EMPTY: Final = frozenset({"text", "thinking"})


class MessageAssembly:
    """One message in the making.

    Args:
        read_usage: reads the message's usage.

    Attributes:
        has_begun: whether the first token has come.
        has_finished: whether it is said why the message ended.
        is_last: whether no event can follow.
    """

    __slots__ = (
        "_blocks",
        "_message",
        "_read_usage",
        "_usage",
        "has_begun",
        "has_finished",
        "is_last",
    )

    def __init__(self, read_usage: Callable[[Mapping[str, Any]], Usage | None]) -> None:
        self._read_usage = read_usage
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self.has_begun = False
        self.has_finished = False
        self.is_last = False

    def take(self, event: Mapping[str, Any]) -> None:
        """Add an event."""
        match event.get("type"):
            case "message_start":
                self._message = dict(as_mapping(event.get("message")))
                self._usage = dict(as_mapping(self._message.get("usage")))
            case "content_block_start":
                begun = as_mapping(event.get("content_block"))
                self._blocks[_index(event)] = _Block(begun)
                self.has_begun = self.has_begun or begun.get("type") not in _BEGUN_EMPTY
            case "content_block_delta":
                block = self._blocks.setdefault(_index(event), _Block({}))
                self.has_begun = block.take(as_mapping(event.get("delta"))) or self.has_begun
            case "message_delta":
                self._end(event)
            case "message_stop":
                self.is_last = True
            case _:
                pass  # a ping, the end of a block, or one of the kinds that are yet to come

    def usage(self) -> Usage | None:
        """What is billed. None until the end: before it the output is not counted."""
        return self._read_usage(self._usage) if self.has_finished else None

    def body(self) -> dict[str, Any]:
        """The message so far."""
        if not self._message:
            return {}
        blocks = [block.body() for _, block in sorted(self._blocks.items())]
        return {**self._message, "content": blocks, "usage": self._usage}

    def _end(self, event: Mapping[str, Any]) -> None:
        self._message.update(as_mapping(event.get("delta")))
        counts = as_mapping(event.get("usage"))  # of the whole message, not of this event
        self._usage.update((k, v) for k, v in counts.items() if v is not None)
        self.has_begun = True
        self.has_finished = self.has_finished or bool(self._message.get("stop_reason"))


class _Block:
    """One content block."""

    __slots__ = ("_begun", "_citations", "_pieces")

    def __init__(self, begun: Mapping[str, Any]) -> None:
        self._begun = begun
        self._pieces: dict[str, list[str]] = {}
        self._citations: list[Any] = []

    def take(self, delta: Mapping[str, Any]) -> bool:
        """Add a delta, and say whether anything was in it."""
        field = _TEXTS.get(as_text(delta.get("type")) or "")
        piece = None if field is None else as_text(delta.get(field))
        if field is not None and piece is not None:
            self._pieces.setdefault(field, []).append(piece)
        elif delta.get("type") == "citations_delta":
            self._citations.append(delta.get("citation"))
        return bool(piece)

    def body(self) -> dict[str, Any]:
        """The block so far."""
        body = dict(self._begun)
        for field, pieces in self._pieces.items():
            written = "".join(pieces)
            if field != "partial_json":
                body[field] = (as_text(body.get(field)) or "") + written
            elif written:
                body["input"] = _input(written)
        if self._citations:
            body["citations"] = self._citations
        return body


def _index(event: Mapping[str, Any]) -> int:
    return as_count(event.get("index")) or 0


def _input(written: str) -> Any:
    """A tool's input; as it was written where it is no JSON, such as one cut short by a limit."""
    try:
        return json.loads(written)
    except (ValueError, RecursionError):
        return written
