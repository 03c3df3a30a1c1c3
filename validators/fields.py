"""How sure the model was of one field of the JSON it wrote."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from cascade.context import Context
from cascade.types import UNSET, Answer, TokenLogprob, Verdict
from cascade.validation import Check, Validator
from cascade.validators._paths import Path, key_of, parse_path, slug
from cascade.validators._tokens import Tokens, read_tokens, statistic_named
from cascade.validators.json_text import Parsed, read_json
from cascade.validators.jsons import parsed

__all__ = ["field_logprob"]


def field_logprob(path: str, statistic: str = "min") -> Validator:
    """Judges by the log-probabilities of the tokens that wrote one JSON field's value. Free.

    The field that matters counts, and not the hundred sure brackets and names around it. Counted
    are the tokens that overlap the value: for a string its characters without the quotes (with
    them when it is empty), for an object or array all of it. The JSON may stand in a fence or in
    prose, as for `json_value`.

    Args:
        path: leads to the field: `$.order.lines[0].total`, `order.lines.0.total` or `$["a b"]`.
        statistic: over the value's natural logprobs, as for `logprob`; the score is its
            exponential. "min", the value's least likely token, notices one wrong digit.

    Named "field_logprob_", the statistic and the path: "field_logprob_min_order_total".

    Reasons: no_logprobs, bad_logprobs, no_text, no_field (there is none at the path),
    tokens_do_not_match_text, and those of `json_value`, such as not_json.

    Raises:
        ConfigError: there is no such statistic, or the path does not lead to one value.
    """
    of = statistic_named("field_logprob", statistic, ("mean", "min", "sum", "perplexity"))
    steps = parse_path("field_logprob", path)

    def judges(answer: Answer[Any], context: Context) -> Verdict:
        read = read_tokens(answer, context)
        if isinstance(read, str):
            return Verdict.abstained(read)
        if not isinstance(answer.text, str):
            return Verdict.abstained("no_text")
        span = value_span(answer.text, steps, _json_in(answer, answer.text, context))
        if isinstance(span, str):
            return Verdict.abstained(span)
        chosen = tokens_of_span(read, answer.text, span)
        if isinstance(chosen, str):
            return Verdict.abstained(chosen)
        score = math.exp(of(read.logprobs[chosen.start : chosen.stop]))
        return Verdict.scored(score, feedback=f"The value of {path} is uncertain; check it.")

    return Check(f"field_logprob_{statistic}_{slug(steps)}", judges, scored=True)


def tokens_of_span(read: Tokens, text: str, span: tuple[int, int]) -> range | str:
    """The places of the tokens that overlap `text[start:end]`; or a reason code.

    Tokens are matched by their bytes: one of them can be a part of a character. What comes after
    the text, such as an end marker, does no harm.
    """
    try:
        pieces = [_bytes_of(token) for token in read.tokens]
        written = b"".join(pieces)
    except (AttributeError, TypeError):
        return "bad_logprobs"
    if not written.startswith(_utf8(text)):
        return "tokens_do_not_match_text"
    start, end = (len(_utf8(text[:place])) for place in span)
    ends: Sequence[int] = list(accumulate(map(len, pieces)))
    return range(bisect_right(ends, start), bisect_left(ends, end) + 1)


def _bytes_of(token: TokenLogprob) -> bytes:
    return _utf8(token.token) if token.utf8 is None else token.utf8


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_DECODER: Final = json.JSONDecoder()
# Finds where a value ends without making anything of its numbers, of which some are too long.
_EXTENT: Final = json.JSONDecoder(parse_int=str, parse_float=str)
_BRACKET: Final = re.compile(r"[\[{]")
_SPACE: Final = re.compile(r"[ \t\n\r]*")


def _json_in(answer: Answer[Any], text: str, context: Context) -> Parsed:
    """The JSON in the text, where `parsed` prefers what the function made of it."""
    return parsed(answer, context) if answer.value is text else read_json(text)


def value_span(text: str, path: Path, read: Parsed) -> tuple[int, int] | str:
    """Where in `text` the value at `path` stands; or a reason code. Linear in the text.

    Args:
        text: the whole text.
        path: leads to the value.
        read: what `read_json` read from the text.
    """
    if read.value is UNSET:
        return read.reason
    try:
        start = _find(text, read.value)
    except RecursionError:  # brackets beside the JSON that was read
        return "too_deep"
    for step in path:
        start = None if start is None else _member(text, start, step)
    if start is None:
        return "no_field"
    end = _EXTENT.raw_decode(text, start)[1]
    if text[start] == '"' and end - start > 2:
        return start + 1, end - 1
    return start, end


def _find(text: str, value: Any) -> int | None:
    """Where the object or array that was read as `value` starts, the last of several."""
    place, found = 0, None
    while bracket := _BRACKET.search(text, place):
        start = bracket.start()
        try:
            place = _EXTENT.raw_decode(text, start)[1]
        except json.JSONDecodeError as error:
            place = max(error.pos, start + 1)
            continue
        if _reads_as(text[start:place], value):
            found = start
    return found


def _reads_as(text: str, value: Any) -> bool:
    try:
        return bool(_DECODER.decode(text) == value)
    except ValueError:
        return False


def _member(text: str, start: int, step: str | int) -> int | None:
    """Where the member or element at `step` starts, within the container that starts at `start`."""
    if text[start] not in "{[":
        return None
    key = key_of(step, in_object=text[start] == "{")
    return next((place for name, place in _children(text, start) if name == key), None)


def _children(text: str, start: int) -> Iterator[tuple[str | int, int]]:
    """The members of an object or the elements of an array, each with where its value starts."""
    in_object = text[start] == "{"
    place, count = _after_space(text, start + 1), 0
    while text[place] not in "}]":
        name: str | int = count
        if in_object:
            name, place = _EXTENT.raw_decode(text, place)
            place = _after_space(text, _after_space(text, place) + 1)  # past the colon
        yield name, place
        place = _after_space(text, _EXTENT.raw_decode(text, place)[1])
        if text[place] == ",":
            place = _after_space(text, place + 1)
        count += 1


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return place if match is None else match.end()
