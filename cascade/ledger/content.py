"""Content on its way into a ledger: only when it is switched on, and only as redacted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

from cascade.errors import ConfigError
from cascade.ledger.rows import Record, record_of
from cascade.types import Answer, Result

__all__ = ["ContentKept", "Converter", "Redact"]

ContentKept: TypeAlias = Literal["none", "answers"]
Redact: TypeAlias = Callable[[str], str]
"""Text as it may be stored. It runs in the ledger's thread."""


class Converter:
    """Turns results into rows.

    Args:
        content: "none", or "answers": the text of every attempt's answer, with its tool calls.
        redact: what each text goes through, one after the other.

    Attributes:
        dropped: how many texts were left out because a redaction broke.
    """

    def __init__(
        self, content: ContentKept = "none", redact: Redact | Iterable[Redact] = ()
    ) -> None:
        if content not in ("none", "answers"):
            raise ConfigError(f'content={content!r}; write "none" or "answers"')
        self._redact = (redact,) if callable(redact) else tuple(redact)
        for hook in self._redact:
            if not callable(hook):
                raise ConfigError(f"a redaction is a {type(hook).__name__}; give a function")
        if self._redact and content == "none":
            raise ConfigError('redact has no effect with content="none"; leave it out')
        self._keeps_answers = content == "answers"
        self.dropped = 0

    def __call__(self, result: Result[Any]) -> Record:
        record = record_of(result)
        if self._keeps_answers:
            for number, attempt in enumerate(result.attempts):
                if attempt.answer is not None:
                    self._add(record, number, "answer", _text_of(attempt.answer))
        return record

    def _add(self, record: Record, attempt: int, kind: str, text: str | None) -> None:
        if text is None:
            return
        redacted = self._redacted(text)
        if redacted is None:
            self.dropped += 1
        else:
            record.contents.append((attempt, kind, redacted))

    def _redacted(self, text: str) -> str | None:
        """The text as it may be stored. None: a redaction broke, so that it must not be."""
        redacted: Any = text
        try:
            for redact in self._redact:
                redacted = redact(redacted)
        except Exception:
            return None
        return redacted if isinstance(redacted, str) else None


def _text_of(answer: Answer[Any]) -> str | None:
    """An answer as text. None: there is nothing in it that is text."""
    if not answer.tool_calls:
        return answer.text
    calls = [{"name": call.name, "arguments": call.arguments} for call in answer.tool_calls]
    return json.dumps({"text": answer.text, "tool_calls": calls})
