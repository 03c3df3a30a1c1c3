"""Whether an answer keeps to its source: its wording, its quotations, its numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.options import check_count
from cascade.types import Answer, Verdict
from cascade.validation import Check, Validator
from cascade.validators._numbers import KnownNumbers, Number, numbers_in, plain_number
from cascade.validators._source import Source, source_text
from cascade.validators._text import said, shortened

__all__ = ["grounded", "numbers_from_context"]

_MOST_QUOTES: Final = 200
_SHOWN: Final = 5

# Scripts written without spaces (CJK, Thai, Lao, Khmer, Burmese): there each character is a word.
_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_ASCII_WORD: Final = re.compile(r"[a-z0-9]+")

# Each excludes its own opening mark, so that a run of them is read once.
_QUOTED: Final = re.compile(
    r'"([^"\n]+)"|“([^“”\n]+)”|„([^„“”\n]+)[“”]|«([^«»\n]+)»|»([^«»\n]+)«|「([^「」\n]+)」|『([^『』\n]+)』'
)
_OMISSION: Final = re.compile(r"\[?(?:…|\.\.\.)\]?")
_LIST_NUMBER: Final = re.compile(r"^[ \t>#*_+-]*\d{1,3}[.)][*_]*[ \t]+(?=\S)", re.MULTILINE)


class _Words(NamedTuple):
    """A text as words, ready to be searched."""

    joined: str  # between single spaces, one at each end too
    grams: frozenset[tuple[str, ...]]


def grounded(
    source: Source | None = None,
    *,
    argument: str | None = None,
    ngram: int = 2,
    quotes: bool = True,
    min_quote_words: int = 3,
) -> Validator:
    """Scores how much of the answer's wording is in its source; an invented quotation fails it.

    The score is the share of the answer's different word n-grams that occur in the source: the
    containment of Broder, "On the resemblance and containment of documents" (1997), which is the
    precision that ROUGE-N measures (Lin, 2004) without counting repeats. 1: all of its wording
    is there; 0: none. It tells copying from inventing, not true from false: an honest paraphrase
    scores low, and so suits extraction and summaries that should keep to the text.

    Quotations, in straight or typographic quotation marks, must stand in the source word by word,
    apart from case, punctuation and omissions marked by an ellipsis. Of a JSON answer the values
    are judged. In scripts without spaces each character counts as a word.

    Args:
        source: the source text, or a function of the context that gives it.
        argument: the name of the wrapped function's argument that holds it; texts within lists
            and mappings count. With neither: the request's messages but the assistant's.
        ngram: words to an n-gram; more is stricter.
        quotes: whether quotations are checked.
        min_quote_words: shorter quotations are names or irony and not checked.

    Reasons: "unknown_quote"; abstains with "no_text", "no_source", "too_short" (fewer words than
    `ngram`), or "too_many_quotes" (more than 200, which would take too long).

    Raises:
        ConfigError: the options do not fit together.
    """
    check_count("grounded: ngram", ngram, least=1)
    check_count("grounded: min_quote_words", min_quote_words, least=1)
    find_source = source_text("grounded", source, argument)
    prepared = _words(source, ngram) if isinstance(source, str) else None

    def judge(answer: Answer[Any], context: Context) -> Verdict:
        text = said(answer, context)
        if text is None:
            return Verdict.abstained("no_text")
        given = find_source(context)
        if given is None:
            return Verdict.abstained("no_source")
        known = prepared or _words(given, ngram)
        if quotes:
            broken = _judge_quotes(text, known, min_quote_words)
            if broken is not None:
                return broken
        grams = _words(text, ngram).grams
        if not grams:
            return Verdict.abstained("too_short")
        share = len(grams & known.grams) / len(grams)
        feedback = f"Only {share:.0%} of the wording is in the source. Keep to what it says."
        return Verdict.scored(share, feedback=feedback)

    return Check("grounded", judge, scored=True)


def _words(text: str, ngram: int) -> _Words:
    words = _split(text)
    grams = frozenset(zip(*(words[start:] for start in range(ngram)), strict=False))
    return _Words(f" {' '.join(words)} ", grams)


def _split(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _judge_quotes(text: str, known: _Words, min_words: int) -> Verdict | None:
    """The verdict that the quotations alone decide. None when they decide nothing."""
    quoted = dict.fromkeys(found[found.lastindex or 0] for found in _QUOTED.finditer(text))
    long = [passage for passage in quoted if len(_split(passage)) >= min_words]
    if len(long) > _MOST_QUOTES:
        return Verdict.abstained("too_many_quotes")
    missing = [passage for passage in long if not _stands_in(passage, known)]
    if not missing:
        return None
    shown = "; ".join(f'"{shortened(passage)}"' for passage in missing[:_SHOWN])
    feedback = f"The source does not say: {shown}. Quote it word by word, or not at all."
    return Verdict.failed("unknown_quote", feedback=feedback)


def _stands_in(passage: str, known: _Words) -> bool:
    pieces = (_split(piece) for piece in _OMISSION.split(passage))
    return all(f" {' '.join(piece)} " in known.joined for piece in pieces if piece)


def numbers_from_context(
    source: Source | None = None,
    *,
    argument: str | None = None,
    allow: Sequence[float | str] = (),
    tolerance: float = 0.0,
    ignore_up_to: int | None = None,
) -> Validator:
    """Passes when every number in the answer is also in its source; an answer without one passes.

    Ways of writing one number are the same: 1,234.50 and 1.234,50 and 1 234.5; 12% and 0.12; 3k
    and 3,000; 2.5 million and 2,500,000; 05 and 5. What can be read in two ways, as 1.234, need
    be known in one. Dates, times and codes are judged by their digits. Numbers and months in
    English words count in the source. Signs, currencies, and the numbers of a list's points are
    not judged, and numbers computed from those in the source are not known: see `allow`.

    The score is the share of the answer's different numbers that are known, for the record.

    Args:
        source, argument: where the source text comes from, as in `grounded`.
        allow: numbers that are fine without a source, such as [24, "3.5%"].
        tolerance: the share by which a number may be off, such as 0.005 for rounding. Below 1.
        ignore_up_to: whole numbers up to this one are not judged. None: all are.

    Reasons: "unknown_number"; abstains with "no_text" or "no_source".

    Raises:
        ConfigError: the options do not fit together.
    """
    slack, allowed = _checked(allow, tolerance, ignore_up_to)
    find_source = source_text("numbers_from_context", source, argument)
    prepared = KnownNumbers(source, slack) if isinstance(source, str) else None

    def judge(answer: Answer[Any], context: Context) -> Verdict | bool:
        text = said(answer, context)
        if text is None:
            return Verdict.abstained("no_text")
        given = find_source(context)
        if given is None:
            return Verdict.abstained("no_source")
        numbers = [
            number
            for number in numbers_in(_LIST_NUMBER.sub("", text))
            if ignore_up_to is None or not _is_small(number, ignore_up_to)
        ]
        known = prepared or KnownNumbers(given, slack)
        unknown = [n for n in numbers if not known.holds(n) and not allowed.holds(n)]
        return _verdict(unknown, len(numbers)) if unknown else True

    return Check("numbers_from_context", judge, scored=False)


def _verdict(unknown: list[Number], count: int) -> Verdict:
    shown = ", ".join(shortened(number.written) for number in unknown[:_SHOWN])
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    feedback = f"These numbers are not in the source: {shown}{more}. Use only those that are."
    score = 1 - len(unknown) / count
    return Verdict.failed("unknown_number", score=score, feedback=feedback)


def _is_small(number: Number, most: int) -> bool:
    return number.written.isdecimal() and all(v <= most for v in number.readings[0])


def _checked(
    allow: Iterable[float | str], tolerance: float, ignore_up_to: int | None
) -> tuple[Decimal, KnownNumbers]:
    """The tolerance and the allowed numbers."""
    if ignore_up_to is not None:
        check_count("numbers_from_context: ignore_up_to", ignore_up_to, least=0)
    is_number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not is_number or not 0 <= tolerance < 1:
        raise ConfigError(
            f"numbers_from_context: tolerance={tolerance!r} is not a share; "
            "give one of 0 or more and below 1, such as 0.005"
        )
    if not isinstance(allow, list | tuple | set | frozenset):
        raise ConfigError(f"numbers_from_context: allow={allow!r} is not a list of numbers")
    listed = list(allow)
    for number in listed:
        if plain_number(number) is None:
            raise ConfigError(f"numbers_from_context: allow has {number!r}, which is not a number")
    slack = Decimal(str(tolerance))
    return slack, KnownNumbers("\n".join(map(str, listed)), Decimal(0))
