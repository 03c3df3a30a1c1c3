"""How sure the model says it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.options import check_threshold
from cascade.types import UNSET, Answer, Verdict
from cascade.validation import Check, Validator
from cascade.validators._compare import field_reader
from cascade.validators._paths import parse_path

__all__ = ["verbalised"]

_NUMBER: Final = re.compile(r"\s*([0-9]{0,20}(?:\.[0-9]{1,20})?)\s*(%?)\s*")
_TAIL_CHARS: Final = 4000


def verbalised(
    field: str | None = None,
    *,
    pattern: str | None = None,
    scale: int = 1,
    words: Mapping[str, float] | None = None,
) -> Validator:
    """Judges by the confidence that the answer states, as its prompt asked it to. Free.

    Models tuned by feedback often state better calibrated numbers than their log-probabilities
    are (Tian et al., Just Ask for Calibration, EMNLP 2023), though mostly too high: `calibrated`
    mends that.

    Args:
        field: the path of the JSON field that states it, such as "$.confidence", which it is
            unless a pattern is given.
        pattern: a regular expression; its first group, or all of it, is the statement. The last
            match in the last 4,000 characters counts.
        scale: the number that means sure: 1, 10 or 100. It is never guessed, for a bare 1 can be
            all or nothing. With a percent sign a number is out of 100, whatever the scale.
        words: scores of words, such as {"high" = 0.9, "low" = 0.3} in a config file. None:
            numbers only.

    Named "verbalised".

    Reasons: not_stated (no such field or match), not_a_number (nor one of the words),
    out_of_range.

    Raises:
        ConfigError: the options do not fit together.
    """
    if scale not in (1, 10, 100):
        raise ConfigError(
            f"verbalised: scale={scale!r}; give the number that means sure: 1, 10, 100"
        )
    find = _finder(field, pattern)
    known = _checked_words(words)

    def judges(answer: Answer[Any], context: Context) -> Verdict:
        stated = find(answer, context)
        if stated is UNSET or stated is None:
            return Verdict.abstained("not_stated")
        score = _score(stated, scale, known)
        if score is None:
            return Verdict.abstained("not_a_number")
        return Verdict.scored(score) if 0 <= score <= 1 else Verdict.abstained("out_of_range")

    return Check("verbalised", judges, scored=True)


def _finder(field: str | None, pattern: str | None) -> Callable[[Answer[Any], Context], Any]:
    if pattern is None:
        path = parse_path("verbalised: field", "$.confidence" if field is None else field)
        return field_reader(path)
    if field is not None:
        raise ConfigError("verbalised has both a field and a pattern; give one of them")
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ConfigError(f"verbalised: pattern is no regular expression: {error}") from None
    return lambda answer, _: _last_match(compiled, answer.text)


def _last_match(pattern: re.Pattern[str], text: object) -> Any:
    if not isinstance(text, str):
        return UNSET
    last: re.Match[str] | None = None
    for match in pattern.finditer(text[-_TAIL_CHARS:]):
        last = match
    if last is None:
        return UNSET
    return last[1] if pattern.groups else last[0]


def _checked_words(words: Mapping[str, float] | None) -> dict[str, float]:
    if words is not None and not isinstance(words, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"verbalised: words is a {type(words).__name__}; give scores by word, such as "
            '{"high": 0.9, "low": 0.3}'
        )
    for word, score in (words or {}).items():
        check_threshold(f"verbalised: the word {word!r}", score)
    return {word.strip().casefold(): score for word, score in (words or {}).items()}


def _score(stated: object, scale: int, words: Mapping[str, float]) -> float | None:
    """The statement as a share of sure. None: it is neither a number nor a known word."""
    if isinstance(stated, int | float) and not isinstance(stated, bool):
        return cast("float", min(stated, 1000)) / scale
    if not isinstance(stated, str):
        return None
    word = stated.strip().casefold()
    if word in words:
        return words[word]
    number = _NUMBER.fullmatch(stated)
    if number is None or not number[1]:
        return None
    return float(number[1]) / (100 if number[2] else scale)
