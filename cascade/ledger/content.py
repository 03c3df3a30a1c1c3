"""Content on its way into a ledger: only when it is switched on, and only as redacted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

from cascade.errors import ConfigError
from cascade.ledger.rows import Record, record_of
from cascade.policing import comparable
from cascade.types import Answer, Attempt, Request, Result

__all__ = ["ContentKept", "Converter", "Redact"]

ContentKept: TypeAlias = Literal["none", "answers", "all"]
Redact: TypeAlias = Callable[[str], str]
"""Text as it may be stored. It runs in the ledger's thread."""

T = TypeVar("T")

# What these say in a message is no text of anybody's, and needed to read it again.
_STRUCTURE: Final = frozenset({"role", "type", "id", "tool_call_id", "call_id", "tool_use_id"})


class Converter:
    """Turns results into rows.

    Args:
        content: "none"; "answers": the text of every attempt's answer, with its tool calls; or
            "all": the request that was sent, too.
        redact: what each text goes through, one after the other.

    Attributes:
        dropped: how many texts and requests were left out because a redaction broke.
    """

    def __init__(
        self, content: ContentKept = "none", redact: Redact | Iterable[Redact] = ()
    ) -> None:
        if content not in ("none", "answers", "all"):
            raise ConfigError(f'content={content!r}; write "none", "answers" or "all"')
        self._redact = (redact,) if callable(redact) else tuple(redact)
        for hook in self._redact:
            if not callable(hook):
                raise ConfigError(f"a redaction is a {type(hook).__name__}; give a function")
        if self._redact and content == "none":
            raise ConfigError('redact has no effect with content="none"; leave it out')
        self._keeps_answers = content != "none"
        self._keeps_requests = content == "all"
        self.dropped = 0

    def __call__(self, result: Result[Any]) -> Record:
        record = record_of(result)
        if self._keeps_answers:
            for number, attempt in enumerate(result.attempts):
                if attempt.answer is not None:
                    self._add_answer(record, number, attempt, attempt.answer)
        if self._keeps_requests:
            # A later attempt's may hold what validators said of the answer before it.
            for number, attempt in enumerate(result.attempts):
                if attempt.request is not None:
                    self._add(record, number, "request", attempt.request, self._request)
                    break
        return record

    def _add_answer(
        self, record: Record, number: int, attempt: Attempt, answer: Answer[Any]
    ) -> None:
        text = _text_of(answer)
        if text is not None:
            self._add(record, number, "answer", text, self._redacted)

        def value(attempt: Attempt) -> str | None:
            made = comparable(attempt.value)
            return None if made == comparable(text) else self._redacted(made or "")

        self._add(record, number, "value", attempt, value)

    def _add(
        self, record: Record, attempt: int, kind: str, given: T, made: Callable[[T], str | None]
    ) -> None:
        try:
            text = made(given)
        except Exception:  # a redaction's, or that of some object's own __str__
            self.dropped += 1
        else:
            if text is not None:
                record.contents.append((attempt, kind, _storable(text)))

    def _redacted(self, text: str) -> str:
        """The text as it may be stored. Raises whatever keeps it from being stored."""
        redacted: Any = text
        for redact in self._redact:
            redacted = redact(redacted)
        if not isinstance(redacted, str):
            raise TypeError("a redaction gave no text")
        return redacted

    def _request(self, request: Request) -> str:
        """The messages and parameters as JSON, each text in them redacted."""
        whole = {"messages": request.messages, "params": request.params}
        return json.dumps(self._plain(whole), ensure_ascii=False)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._redacted(value)
        if isinstance(value, Mapping):
            mapping: Mapping[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
            return {
                str(key): one if key in _STRUCTURE and isinstance(one, str) else self._plain(one)
                for key, one in mapping.items()
            }
        if isinstance(value, list | tuple):
            return [self._plain(one) for one in cast("Sequence[Any]", value)]
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        return self._redacted(str(value))


def _storable(text: str) -> str:
    """Text that every database takes: no NUL character, no half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _text_of(answer: Answer[Any]) -> str | None:
    """An answer as text. None: there is nothing in it that is text."""
    if not answer.tool_calls:
        return answer.text
    calls = [{"name": call.name, "arguments": call.arguments} for call in answer.tool_calls]
    return json.dumps({"text": answer.text, "tool_calls": calls})
