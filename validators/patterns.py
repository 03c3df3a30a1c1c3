"""Regular expressions that cannot hang.

Python's `re` holds the interpreter while it matches and cannot be stopped. The `regex` package can:
it takes a timeout. It is needed where a match can blow up.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Final

from cascade.errors import ConfigError

__all__ = ["bounded", "check_pattern", "search"]

SCHEMA_TIMEOUT_S: Final = 0.1
"""Seconds that one pattern of a schema may take on one string."""

_MAX_STEPS: Final = 10_000_000  # what `re` does in some tenths of a second at worst

# What `re` says of patterns that `regex`, whose syntax is larger, does not take either.
_WRONG_ANYWAY: Final = (
    "bad character range",
    "bad escape (end of pattern)",
    "min repeat greater than max repeat",
    "missing ), unterminated",
    "nothing to repeat",
    "unbalanced parenthesis",
    "unterminated character set",
)

# An escape, a character class, a group's start or end, a repeat, or an alternative.
_PART: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()|]|[*+]|\{\d*,?\d*\}", re.DOTALL)
_ENDLESS: Final = re.compile(r"[*+]|\{\d*,\}|\{\d*,?\d{3,}\}")


def bounded(pattern: str, *, timeout_s: float, name: str, flags: str = "") -> Callable[..., bool]:
    """A function `(text, full) -> bool` that raises TimeoutError after `timeout_s` seconds.

    Args:
        flags: any of a (ASCII), i (ignore case), m (multi-line), s (dot matches all), x (verbose).

    Raises:
        ConfigError: the package `regex` is missing, or the pattern or a flag is wrong.
    """
    if find_spec("regex") is None:
        _check_wrong_anyway(pattern, name)
        raise ConfigError(
            f"{name}: the pattern {pattern!r} needs the package `regex`, which can stop a match "
            'that takes too long: pip install "cascade-engine[regex]"'
        )
    import regex

    if set(flags) - set("aimsx"):
        raise ConfigError(f"{name}: flags={flags!r}; write any of a, i, m, s, x")
    try:
        compiled = regex.compile(f"(?{flags}){pattern}" if flags else pattern, regex.V0)
    except regex.error as error:
        raise ConfigError(f"{name}: the pattern {pattern!r} is wrong: {error}") from None

    def matches(text: str, full: bool) -> bool:
        match = compiled.fullmatch if full else compiled.search
        # concurrent=False keeps the interpreter's lock: giving it up costs more than most matches.
        return match(text, timeout=timeout_s, concurrent=False) is not None

    return matches


def _check_wrong_anyway(pattern: str, name: str) -> None:
    """Raises ConfigError when a pattern is wrong in the syntax of `re` and in that of `regex`."""
    try:
        _compiled(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        if str(error).startswith(_WRONG_ANYWAY):
            raise ConfigError(f"{name}: the pattern {pattern!r} is wrong: {error}") from None


def check_pattern(pattern: str, name: str) -> None:
    """Check that `search` can look for a pattern.

    Raises:
        ConfigError: it is no regular expression, or could blow up and `regex` is missing.
    """
    try:
        _compiled(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"{name}: the pattern {pattern!r} is no regular expression of Python: {error}"
        ) from None
    if _can_blow_up(pattern):
        bounded(pattern, timeout_s=SCHEMA_TIMEOUT_S, name=name)


def search(pattern: str, text: str) -> bool:
    """Whether a schema's pattern is found in `text`.

    Raises:
        TimeoutError: it took too long, or could have and `regex` is missing.
    """
    if len(text) ** _degree(pattern) <= _MAX_STEPS and not _can_blow_up(pattern):
        return _compiled(pattern).search(text) is not None
    if find_spec("regex") is None:
        raise TimeoutError("the match could take long, and nothing could stop it")
    return _bounded_for_schemas(pattern)(text, full=False)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    with warnings.catch_warnings():
        # What a later Python may read as a nested set, such as [[a], is not the user's to change.
        warnings.simplefilter("ignore", FutureWarning)
        return re.compile(pattern)


@lru_cache(maxsize=256)
def _bounded_for_schemas(pattern: str) -> Callable[..., bool]:
    return bounded(pattern, timeout_s=SCHEMA_TIMEOUT_S, name="json_schema")


@lru_cache(maxsize=256)
def _can_blow_up(pattern: str) -> bool:
    """Whether a repeat or an alternative stands inside an endless repeat: exponential, maybe."""
    branching = [False]  # for each open group: whether it holds a repeat or an alternative
    for part in _PART.finditer(pattern):
        said = part[0]
        if said == "(":
            branching.append(False)
        elif said == ")" and len(branching) > 1:
            inner = branching.pop()
            if inner and _ENDLESS.match(pattern, part.end()):
                return True
            branching[-1] |= inner
        elif said == "|" or _ENDLESS.fullmatch(said):
            branching[-1] = True
    return False


@lru_cache(maxsize=256)
def _degree(pattern: str) -> int:
    """The power of the text's length that a match takes at worst, when no repeats are nested.

    Each endless repeat may try every length, and a pattern that is not anchored every start.
    """
    repeats = sum(_ENDLESS.fullmatch(part[0]) is not None for part in _PART.finditer(pattern))
    return repeats + (not pattern.startswith(("^", "\\A")))
