"""Refusals: the provider's structured ones, and those that the answer opens with in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import UNSET, Answer, Verdict
from cascade.validation import Check, Validator
from cascade.validators._refusal_openings import LEAD_IN, REFUSAL
from cascade.validators._text import check_words, json_of, text_of

__all__ = ["not_refusal"]

_OPENING_CHARS: Final = 400
_MOST_LEAD_INS: Final = 2
_FEEDBACK: Final = "The answer refuses the request. Answer what was asked."

_APOSTROPHES: Final = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "＇": "'", "`": "'", "´": "'"})  # noqa: RUF001
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*|\n+")  # noqa: RUF001
_MARKUP: Final = " \t\r*_#>~-–—"  # noqa: RUF001


def not_refusal(*, phrases: Sequence[str] = (), field: str | None = None) -> Validator:
    """Fails answers in which the model refuses the task.

    First the structured signs: `Answer.refusal` (the provider's own field), and the finish reason
    "content_filter". Then the opening words, at the start of a sentence and after at most two of
    greeting, thanks or apology: "I'm sorry, but I can't help with that" and its like in English,
    German, French, Spanish, Italian, Portuguese, Dutch, Chinese and Japanese. Words further in are
    not looked at, so a drafted letter that begins with its salutation may hold what it likes.

    Of a JSON answer the string fields of the object are judged, each by its opening.

    Args:
        phrases: more openings that are refusals, as plain text in any case.
        field: the only field of a JSON answer to judge, where others quote people.

    Reasons: "refusal" (structured), "content_filter", "refusal_text" (the opening words);
    abstains with "no_text" when there is neither text nor a tool call.

    Raises:
        ConfigError: `phrases` is not a list of strings, or `field` is no name.
    """
    extra = tuple(_folded(phrase) for phrase in check_words("not_refusal", "phrases", phrases))
    if field is not None and (not isinstance(field, str) or not field):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"not_refusal: field={field!r} is not the name of a JSON field")

    def judge(answer: Answer[Any], context: Context) -> Verdict | bool:
        if isinstance(answer.refusal, str) and answer.refusal:
            return Verdict.failed("refusal", feedback=_FEEDBACK)
        if answer.finish_reason == "content_filter":
            return Verdict.failed("content_filter", feedback=_FEEDBACK)
        text = text_of(answer)
        if text is None:
            return bool(answer.tool_calls) or Verdict.abstained("no_text")
        if any(_refuses(part, extra) for part in _spoken(answer, text, context, field)):
            return Verdict.failed("refusal_text", feedback=_FEEDBACK)
        return True

    return Check("not_refusal", judge, scored=False)


def _spoken(answer: Answer[Any], text: str, context: Context, field: str | None) -> Iterable[str]:
    parsed = json_of(answer, context)
    if parsed is UNSET:
        return (text,)
    if isinstance(parsed, Mapping):
        fields = cast("Mapping[str, object]", parsed)
        held = fields.values() if field is None else (fields.get(field),)
        return [value for value in held if isinstance(value, str)]
    return (parsed,) if isinstance(parsed, str) else ()


def _folded(text: str) -> str:
    return " ".join(text.translate(_APOSTROPHES).casefold().split())


def _refuses(text: str, extra: tuple[str, ...]) -> bool:
    opening = text.lstrip()[:_OPENING_CHARS].translate(_APOSTROPHES)
    lead_ins = 0
    for piece in _SENTENCE_END.split(opening):
        sentence = _folded(piece.strip(_MARKUP))
        if not sentence:
            continue
        if REFUSAL.match(sentence) or sentence.startswith(extra):
            return True
        lead_ins += 1
        if lead_ins > _MOST_LEAD_INS or not LEAD_IN.match(sentence):
            return False
    return False
