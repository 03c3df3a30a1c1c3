"""JSON as models write it: bare, fenced or within prose; read strictly, found leniently.

Strict means RFC 8259 plus what interoperability asks for (RFC 7493, I-JSON): no NaN or Infinity,
no member name twice, no lone surrogates. Every road is linear in the length of the text and
bounded in depth, so that no answer can block or break the reader.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

from cascade.types import UNSET
from cascade.validators.json_mending import mended

__all__ = ["MAX_DEPTH", "Parsed", "check_json", "read_json"]

MAX_DEPTH: Final = 64
"""How deep objects and arrays may nest. Python's own limit would be an accident of the stack."""

_THINKING: Final = ("<think>", "</think>")
_FENCE: Final = re.compile(r"```(?:json\w*)?\s*\Z", re.IGNORECASE)
_WHOLE_FENCE: Final = re.compile(r"```(?:json\w*)?\s(.*)```\s*\Z", re.IGNORECASE | re.DOTALL)
# What opens a JSON object or array rather than a set, a footnote or a placeholder in prose.
_OPENING: Final = re.compile(r'\{(?=\s*["}])|\[(?=\s*[\[{"\]tfn\d-])')
# A bracket that starts so was meant as JSON: when it breaks, the answer is broken.
_EARNEST: Final = re.compile(r'\{|\[\s*[\[{"]')
_GOES_ON: Final = re.compile(r"\s*[}\]:,]")
_SHOWN_CHARS: Final = 40
_MAX_CANDIDATES: Final = 1_000


class Unacceptable(ValueError):
    """Text or a value that is not strict JSON: a reason code, and what is wrong in words."""

    def __init__(self, reason: str, detail: str, *, start: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.start = start  # where the JSON that breaks begins. None: not found


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was read from one answer.

    Attributes:
        value: the JSON value. UNSET: there is none, and `reason` says why.
        reason: a code such as "not_json"; "repaired" beside a value that took mending; else "".
        detail: what was wrong, a sentence for the next model. "" when nothing was.
        missing: whether there was nothing to read at all, rather than something wrong.
    """

    value: Any = field(default=UNSET, repr=False)
    reason: str = ""
    detail: str = field(default="", repr=False)
    missing: bool = False


class _Found(NamedTuple):
    """A stretch of prose that is JSON, or was meant to be: `end` is None where it breaks."""

    start: int
    end: int | None
    fenced: bool


def read_json(text: str, *, prose: bool = True, repair: bool = False) -> Parsed:
    """The one JSON value in a model's text. Never raises.

    The whole text, or the whole of one fenced block, may be any value. With `prose`, an object or
    array may stand among other text: fenced ones before others, then objects before arrays. Two
    different ones of the same kind are "ambiguous"; one that breaks off is never passed over for
    a smaller one inside it or after it.
    """
    text = text.removeprefix("\ufeff").strip()
    if prose and text.startswith(_THINKING[0]):
        text = text.partition(_THINKING[1])[2].strip()
    if not text:
        return Parsed(reason="empty", detail="The answer is empty; answer with one JSON value.")
    try:
        return Parsed(_read_strictly(text))
    except Unacceptable as problem:
        first = problem
    if prose and first.reason == "not_json":
        try:
            return Parsed(_read_prose(text))
        except Unacceptable as problem:
            first = problem
    if repair and first.reason == "not_json":
        try:
            return Parsed(_read_mended(text, first.start, prose=prose), reason="repaired")
        except Unacceptable as problem:
            first = first if problem.reason == "not_json" else problem
    return Parsed(reason=first.reason, detail=first.detail)


def check_json(value: object) -> None:
    """Raises Unacceptable unless a Python value is one that strict JSON can hold."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        # By identity: values that share parts, or hold themselves, are looked at once a level.
        level = list({id(part): part for each in level for part in _parts(each)}.values())
        if not level:
            return
    raise _too_deep()


def _parts(value: object) -> Iterator[object]:
    """The values directly inside `value`, which itself is checked."""
    if isinstance(value, dict):
        for name, part in cast("dict[object, object]", value).items():
            if not isinstance(name, str):
                raise Unacceptable("not_json", "A member's name is not a string.")
            yield name
            yield part
    elif isinstance(value, list):
        yield from cast("list[object]", value)
    elif isinstance(value, str):
        _check_encodes(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _not_finite(str(value))
    elif value is not None and not isinstance(value, int):
        raise Unacceptable("not_json", f"A {type(value).__name__} is not a JSON value.")


def _check_encodes(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unacceptable(
                "lone_surrogate", "A string holds half of a surrogate pair, which is no character."
            ) from None


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) < len(members):
        places = {name: place for place, (name, _) in enumerate(members)}
        twice = next(name for place, (name, _) in enumerate(members) if places[name] != place)
        raise Unacceptable("duplicate_key", f"The name {_shown(twice)} stands twice in an object.")
    return made


def _not_finite(word: str) -> Unacceptable:
    return Unacceptable("not_finite", f"{_shown(word)} is not a finite number, so not JSON.")


def _too_deep() -> Unacceptable:
    return Unacceptable("too_deep", f"The JSON nests more than {MAX_DEPTH} levels deep.")


def _refuse_constant(word: str) -> float:
    raise _not_finite(word)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):  # 1e999
        raise _not_finite(digits)
    return number


def _int(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # longer than sys.get_int_max_str_digits()
        raise Unacceptable(
            "number_too_long", f"A number has {len(digits)} digits, more than can be read."
        ) from None


_STRICT: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_float, parse_int=_int
)
# Finds where a value ends without making anything of it.
_EXTENT: Final = json.JSONDecoder(parse_int=len, parse_float=len)


def _read_strictly(text: str) -> Any:
    try:
        value = _STRICT.decode(text)
    except json.JSONDecodeError as error:
        raise Unacceptable("not_json", _said(error)) from None
    except RecursionError:
        raise _too_deep() from None
    _check_encodes(text)
    # Both are rare, and looking for their signs is far cheaper than looking through the value.
    if "\\u" in text or text.count("{") + text.count("[") > MAX_DEPTH:
        check_json(value)
    return value


def _read_prose(text: str) -> Any:
    whole = _WHOLE_FENCE.match(text)
    if whole:
        try:
            return _read_strictly(whole[1].strip())
        except Unacceptable as problem:
            if problem.reason != "not_json":
                raise
    found = _candidates(text)
    found = [each for each in found if each.fenced] or found
    for each in found:
        if each.end is None:
            raise Unacceptable("not_json", _breakage(text, each.start), start=each.start)
    objects = [each for each in found if text[each.start] == "{"]
    values = [_read_strictly(text[each.start : each.end]) for each in objects or found]
    if not values:
        raise Unacceptable(
            "not_json", "There is no JSON object or array in the answer; answer with one."
        )
    if len({repr(value) for value in values}) > 1:
        raise Unacceptable(
            "ambiguous", f"There are {len(values)} JSON values in the answer; answer with one."
        )
    return values[-1]


def _read_mended(text: str, start: int | None, *, prose: bool) -> Any:
    if start is None:
        start = text.find("{") if "{" in text else text.find("[")
    mend = mended(text, start) if start == 0 or (prose and start > 0) else None
    if mend is None:
        raise Unacceptable("not_json", "The JSON cannot be mended.")
    return _read_strictly(mend)


def _candidates(text: str) -> list[_Found]:
    found: list[_Found] = []
    place = tried = 0
    while opening := _OPENING.search(text, place):
        tried += 1
        if tried > _MAX_CANDIDATES:
            raise Unacceptable("ambiguous", "The answer is full of brackets; answer with one JSON.")
        start = opening.start()
        fenced = _FENCE.search(text, max(0, start - _SHOWN_CHARS), start) is not None
        try:
            end = _EXTENT.raw_decode(text, start)[1]
        except json.JSONDecodeError as error:
            if fenced or _EARNEST.match(text, start):
                found.append(_Found(start, None, fenced))
            # Going on where it broke, not inside: each character is read once.
            place = max(error.pos, start + 1)
            continue
        except RecursionError:
            raise _too_deep() from None
        if _GOES_ON.match(text, end) and _EARNEST.match(text, start):
            found.append(_Found(start, None, fenced))
        else:
            found.append(_Found(start, end, fenced))
        place = end
    return found


def _breakage(text: str, start: int) -> str:
    try:
        end = _EXTENT.raw_decode(text, start)[1]
    except json.JSONDecodeError as error:
        return _said(error)
    return _said(json.JSONDecodeError("Too many brackets or commas", text, end))


def _said(error: json.JSONDecodeError) -> str:
    near = _shown(error.doc[max(0, error.pos - _SHOWN_CHARS // 2) : error.pos + _SHOWN_CHARS])
    place = f"line {error.lineno}, column {error.colno}"
    return f"The JSON breaks at {place}: {error.msg}, near {near}."


def _shown(text: str) -> str:
    """A short quotation that encodes, whatever is in the text."""
    short = text if len(text) <= 2 * _SHOWN_CHARS else text[: 2 * _SHOWN_CHARS] + "..."
    return ascii(short)
