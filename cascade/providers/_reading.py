"""Reading JSON that someone else wrote: each helper takes anything and never raises."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from cascade.types import TokenLogprob, Usage

__all__ = [
    "LOGPROB_FLOOR",
    "as_count",
    "as_json",
    "as_list",
    "as_mapping",
    "as_text",
    "joined",
    "read_logprobs",
    "usage_of_counts",
]

LOGPROB_FLOOR: Final = -100.0
"""Natural log-probabilities below this are set to it: e^-100 is as good as never.

Servers write -inf or -9999.0 for a token outside the ones they keep; either would drown a mean.
"""


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The object itself, or an empty one when it is not a JSON object."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def as_list(value: Any) -> Sequence[Any]:
    """The list itself, or an empty one when it is not a JSON array."""
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()


def as_text(value: Any) -> str | None:
    """The string, or None when it is not one."""
    return value if isinstance(value, str) else None


def as_count(value: Any) -> int | None:
    """The whole number of 0 or more, or None when it is not one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value


def as_json(value: Any) -> str | None:
    """The value written as JSON, or None when it cannot be."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return None


def joined(texts: Sequence[str], separator: str = "") -> str | None:
    """The texts as one. None when there are none."""
    return separator.join(texts) if texts else None


def usage_of_counts(
    read: Any, written: Any, *, cached: Any, cache_write: Any, reasoning: Any
) -> Usage | None:
    """Usage from what may be token counts. None when either total is no count."""
    input_tokens, output_tokens = as_count(read), as_count(written)
    if input_tokens is None or output_tokens is None:
        return None
    return Usage(
        input_tokens, output_tokens, as_count(cached), as_count(cache_write), as_count(reasoning)
    )


def read_logprobs(entries: Any) -> tuple[TokenLogprob, ...] | None:
    """Token log-probabilities in the OpenAI shape.

    None when there are none, and as soon as one entry is unreadable: a list with holes would
    make the answer look surer than it is.
    """
    if not isinstance(entries, list) or not entries:
        return None
    tokens: list[TokenLogprob] = []
    for entry in map(as_mapping, as_list(entries)):
        token, logprob = as_text(entry.get("token")), _logprob(entry.get("logprob"))
        if token is None or logprob is None:
            return None
        tokens.append(
            TokenLogprob(token, logprob, _top(entry.get("top_logprobs")), _utf8(entry.get("bytes")))
        )
    return tuple(tokens)


def _top(entries: Any) -> tuple[tuple[str, float], ...]:
    pairs: list[tuple[str, float]] = []
    for entry in map(as_mapping, as_list(entries)):
        token, logprob = as_text(entry.get("token")), _logprob(entry.get("logprob"))
        if token is not None and logprob is not None:
            pairs.append((token, logprob))
    return tuple(pairs)


def _logprob(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Bounded before float(): JSON integers can be too large for one.
    bounded = float(min(max(value, LOGPROB_FLOOR), 0.0))
    return None if value != value else bounded  # NaN alone differs from itself


def _utf8(value: Any) -> bytes | None:
    try:
        return bytes(as_list(value)) if isinstance(value, list) else None
    except (TypeError, ValueError):
        return None
