"""The answer's text against patterns, choices, lengths and words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.options import check_count, check_seconds
from cascade.types import Answer, Verdict
from cascade.validation import Check, Validator
from cascade.validators.patterns import bounded

__all__ = ["contains", "equals", "length", "one_of", "regex"]

_NO_TEXT: Final = Verdict.abstained("no_text")


def regex(pattern: str, *, flags: str = "", full: bool = True, timeout_s: float = 0.1) -> Validator:
    """Passes when a regular expression matches the text, the white space around it left out.

    Needs the package `regex` (`pip install "cascade-engine[regex]"`), whose syntax is that of
    Python's `re` and more: it can stop a match that would take for ever.

    Args:
        pattern: the regular expression.
        flags: any of a (ASCII), i (ignore case), m (multi-line), s (dot matches all), x (verbose).
        full: whether it must match the whole text, or may be found anywhere in it.
        timeout_s: seconds that one match may take.

    Reasons: no_match. Abstains with no_text, and with timeout.

    Raises:
        ConfigError: the package is missing, or an option is wrong.
    """
    if not isinstance(pattern, str) or not pattern:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"regex: pattern={pattern!r}; give a regular expression")
    check_seconds("regex: timeout_s", timeout_s)
    matches = bounded(pattern, timeout_s=timeout_s, name="regex", flags=flags)

    def judge(answer: Answer[Any], context: Context) -> Verdict | bool:
        text = _text(answer)
        if text is None:
            return _NO_TEXT
        try:
            return matches(text.strip(), full) or Verdict.failed(
                "no_match", feedback=f"The answer does not match the pattern {pattern}"
            )
        except TimeoutError:
            return Verdict.abstained("timeout")

    return Check("regex", judge, scored=False)


def one_of(
    *words: str | Sequence[str],
    choices: Sequence[str] = (),
    case: bool = False,
    strip: str = ".,;:!\"'`*()",
) -> Validator:
    """Passes when the text is one of the choices, which then is the accepted value as written here.

    Args:
        words: the choices, or lists of them.
        choices: the choices as a list, for configuration files.
        case: whether upper and lower case are told apart.
        strip: characters to leave out at both ends of the text, besides white space.

    Reasons: not_a_choice. Abstains with no_text.

    Raises:
        ConfigError: there are no choices, or two that cannot be told apart.
    """

    def plain(text: str) -> str:
        kept = text.strip().strip(strip + " \t\r\n")
        return kept if case else kept.casefold()

    known: dict[str, str] = {}
    for choice in _words("one_of: a choice", [*words, choices]):
        if plain(choice) in known or not plain(choice):
            raise ConfigError(
                f"one_of: the choice {choice!r} is empty or the same as another once stripped; "
                "leave it out, or pass case=True or strip=''"
            )
        known[plain(choice)] = choice
    if not known:
        raise ConfigError('one_of has no choices; give some, such as one_of("yes", "no")')
    longest = max(map(len, known))
    feedback = f"Answer with exactly one of: {', '.join(map(repr, known.values()))}."[:1000]

    def judge(answer: Answer[Any], context: Context) -> Verdict:
        text = _text(answer)
        if text is None:
            return _NO_TEXT
        choice = known.get(plain(text)) if len(text) < 100 * longest + 1000 else None
        if choice is None:
            return Verdict.failed("not_a_choice", feedback=feedback)
        return Verdict.passed(value=choice)

    return Check("one_of", judge, scored=False)


def length(
    *,
    min_chars: int | None = None,
    max_chars: int | None = None,
    min_words: int | None = None,
    max_words: int | None = None,
    min_lines: int | None = None,
    max_lines: int | None = None,
) -> Validator:
    """Passes when the text is neither too short nor too long; None is no limit.

    Args:
        min_chars, max_chars: Unicode characters, the white space around the text left out.
        min_words, max_words: words, as white space divides them.
        min_lines, max_lines: lines that are not blank.

    Reasons: too_short, too_long. Abstains with no_text.

    Raises:
        ConfigError: there is no limit, or a range that nothing fits in.
    """
    ranges = (
        ("chars", min_chars, max_chars),
        ("words", min_words, max_words),
        ("lines", min_lines, max_lines),
    )
    limits = [_checked_range(*each) for each in ranges if each[1:] != (None, None)]
    if not limits:
        raise ConfigError("length has no limit; give it one, such as max_words=200")

    def judge(answer: Answer[Any], context: Context) -> Verdict | bool:
        text = _text(answer)
        if text is None:
            return _NO_TEXT
        for unit, least, most in limits:
            count = _count(text.strip(), unit)
            if least is not None and count < least:
                said = f"The answer has {count} {unit}; at least {least} are asked for."
                return Verdict.failed("too_short", feedback=said)
            if most is not None and count > most:
                said = f"The answer has {count} {unit}; at most {most} are allowed."
                return Verdict.failed("too_long", feedback=said)
        return True

    return Check("length", judge, scored=False)


def contains(
    *,
    all: str | Sequence[str] = (),
    any: str | Sequence[str] = (),
    none: str | Sequence[str] = (),
    case: bool = False,
) -> Validator:
    """Passes when the text holds the words it must and none that it must not.

    Args:
        all: each of these must be in the text.
        any: at least one of these must.
        none: none of these may.
        case: whether upper and lower case are told apart.

    Reasons: missing, forbidden. Abstains with no_text.

    Raises:
        ConfigError: there is nothing to look for.
    """

    def plain(text: str) -> str:
        return text if case else text.casefold()

    needed = [(word, plain(word)) for word in _words("contains: all", [all])]
    either = [(word, plain(word)) for word in _words("contains: any", [any])]
    banned = [(word, plain(word)) for word in _words("contains: none", [none])]
    if not needed and not either and not banned:
        raise ConfigError('contains has nothing to look for; give it all=["..."], any= or none=')

    def judge(answer: Answer[Any], context: Context) -> Verdict | bool:
        text = _text(answer)
        if text is None:
            return _NO_TEXT
        text = plain(text)
        missing = [word for word, found in needed if found not in text]
        if missing:
            return Verdict.failed("missing", feedback=_listed("The answer must hold", missing))
        if either and not [word for word, found in either if found in text]:
            words = [word for word, _ in either]
            return Verdict.failed("missing", feedback=_listed("The answer must hold one of", words))
        present = [word for word, found in banned if found in text]
        if present:
            return Verdict.failed(
                "forbidden", feedback=_listed("The answer must not hold", present)
            )
        return True

    return Check("contains", judge, scored=False)


def equals(
    expected: str | None = None, *, argument: str | None = None, case: bool = True
) -> Validator:
    """Passes when the text is an expected one, the white space around both left out.

    Args:
        expected: the text.
        argument: the name of the call's argument that holds it, in place of `expected`.
        case: whether upper and lower case are told apart.

    Reasons: different. Abstains with no_text, and with no_argument when the call has no text
    argument of that name.

    Raises:
        ConfigError: not exactly one of `expected` and `argument` is given.
    """
    if (expected is None) == (argument is None):
        raise ConfigError("equals: give it either the expected text or argument=, not both")
    for option, value in (("expected", expected), ("argument", argument)):
        if value is not None and not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"equals: {option} is a {type(value).__name__}; give a text")

    def plain(text: str) -> str:
        return text.strip() if case else text.strip().casefold()

    def judge(answer: Answer[Any], context: Context) -> Verdict | bool:
        text = _text(answer)
        if text is None:
            return _NO_TEXT
        wanted = expected if argument is None else context.arguments.get(argument)
        if not isinstance(wanted, str):
            return Verdict.abstained("no_argument")
        return plain(text) == plain(wanted) or Verdict.failed("different")

    return Check("equals", judge, scored=False)


def _text(answer: Answer[Any]) -> str | None:
    text: object = answer.text
    return text if isinstance(text, str) else None


def _checked_range(
    unit: str, least: int | None, most: int | None
) -> tuple[str, int | None, int | None]:
    for option, limit in ((f"min_{unit}", least), (f"max_{unit}", most)):
        if limit is not None:
            check_count(f"length: {option}", limit, least=0)
    if least is not None and most is not None and least > most:
        raise ConfigError(f"length: min_{unit}={least} is above max_{unit}={most}; swap them")
    return unit, least, most


def _count(text: str, unit: str) -> int:
    if unit == "chars":
        return len(text)
    if unit == "words":
        return len(text.split())
    return sum(not line.isspace() and line != "" for line in text.splitlines())


def _words(option: str, given: Iterable[str | Sequence[str]]) -> list[str]:
    """Words from words and lists of them, in order."""
    words: list[str] = []
    for each in given:
        words.extend(each if isinstance(each, list | tuple) else [cast("str", each)])
    for word in words:
        if not isinstance(word, str) or not word:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"{option} is {word!r}; give texts that are not empty")
    return words


def _listed(lead: str, words: Sequence[str]) -> str:
    return f"{lead}: {', '.join(map(repr, words))}."
