"""Conditions of rules: what they say of a signal's value, and the exact set of values that meet it.

A condition and a signal's domain are sets of values; that one is empty, or lies within another, is
decided on the sets, so that what is reported of rules is proven and not guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from cascade.errors import ConfigError
from cascade.types import Fact

__all__ = ["ANYTHING", "COUNTS", "FLAGS", "NOTHING", "TEXTS", "Interval", "Values", "parse"]

Interval: TypeAlias = tuple[float, bool, float, bool]
"""From, whether it is in, to, whether it is in."""

_COMPARISON: Final = re.compile(r"(<=|>=|!=|<|>)\s*(\S+)")
_JOIN: Final = re.compile(r"\s+and\s+")


@dataclass(frozen=True, slots=True)
class Values:
    """A set of signal values.

    Attributes:
        numbers: disjoint intervals, in order.
        texts: the texts in it; where `but` is true, those that are not.
        but: whether it holds all texts but `texts`.
        flags: which of True and False are in it.
        unknown: whether None is.
    """

    numbers: tuple[Interval, ...] = ()
    texts: frozenset[str] = frozenset()
    but: bool = False
    flags: frozenset[bool] = frozenset()
    unknown: bool = False

    def __contains__(self, value: Fact) -> bool:
        if isinstance(value, str):
            return (value in self.texts) is not self.but
        if value is None:
            return self.unknown
        if isinstance(value, bool):
            return value in self.flags
        return any(_within(value, interval) for interval in self.numbers)

    def __or__(self, other: Values) -> Values:
        return Values(
            _joined((*self.numbers, *other.numbers)),
            *_either_text(self, other),
            self.flags | other.flags,
            self.unknown or other.unknown,
        )

    def __and__(self, other: Values) -> Values:
        return Values(
            _joined(_overlaps(self.numbers, other.numbers)),
            *_both_texts(self, other),
            self.flags & other.flags,
            self.unknown and other.unknown,
        )

    def __invert__(self) -> Values:
        """All other known values: what is unknown is neither equal nor unequal to anything."""
        return Values(
            _gaps(self.numbers), self.texts, not self.but, frozenset((True, False)) - self.flags
        )

    def __le__(self, other: Values) -> bool:
        """Whether every value of it is in `other`."""
        return (self & other) == self

    @property
    def is_empty(self) -> bool:
        """Whether no value is in it."""
        return self == NOTHING

    def whole(self) -> Values:
        """For counts: as intervals of whole numbers, so that `>5` is the same as `>=6`."""
        numbers = [
            (math.ceil(low) + (not low_in and low == math.ceil(low)) if low > -math.inf else low,
             low > -math.inf,
             math.floor(high) - (not high_in and high == math.floor(high))
             if high < math.inf else high,
             high < math.inf)
            for low, low_in, high, high_in in self.numbers
        ]  # fmt: skip
        kept = [(a, b, c, d) for a, b, c, d in numbers if a <= c]
        # 1..3 and 4..6 are one interval of whole numbers.
        return Values(_joined(kept, gap=1), self.texts, self.but, self.flags, self.unknown)


NOTHING: Final = Values()
NUMBERS: Final[tuple[Interval, ...]] = ((-math.inf, False, math.inf, False),)
ANYTHING: Final = Values(NUMBERS, frozenset(), True, frozenset((True, False)), True)
COUNTS: Final = Values(((0, True, math.inf, False),), unknown=True)
TEXTS: Final = Values(but=True, unknown=True)
FLAGS: Final = Values(flags=frozenset((True, False)), unknown=True)


def parse(where: str, condition: Any) -> Values:
    """The values that meet a condition.

    Args:
        where: what it is a condition on, for messages.
        condition: a value (text, number, True, False; None for "unknown"); a comparison such as
            ">8000", "<=3", "!=chat" or ">100 and <=8000"; a list, any of which will do; or
            `{"not": ...}`, which an unknown value does not meet either; or `{"unknown": True}`,
            which is the same as None, or `{"unknown": False}`, which any known value meets.

    Raises:
        ConfigError: it is none of these.
    """
    if condition is None:
        return Values(unknown=True)
    if isinstance(condition, bool):
        return Values(flags=frozenset((condition,)))
    if isinstance(condition, int | float):
        if not math.isfinite(condition):
            raise ConfigError(f"{where}: {condition!r} is not a number to compare with")
        return Values(((condition, True, condition, True),))
    if isinstance(condition, str):
        return _parse_text(where, condition)
    if isinstance(condition, list | tuple | set | frozenset):
        return _any_of(where, cast("Sequence[Any]", condition))
    if isinstance(condition, Mapping):
        negated = cast("Mapping[str, Any]", condition)
        if list(negated) == ["not"]:
            return ~parse(where, negated["not"])
        if list(negated) == ["unknown"] and isinstance(negated["unknown"], bool):
            return Values(unknown=True) if negated["unknown"] else ~NOTHING
    what = _shown(cast("object", condition))
    raise ConfigError(
        f"{where}: {what} is no condition; give a value, a list of values, a comparison such as "
        '">8000", or { not = ... }'
    )


def _shown(condition: object) -> str:
    if not isinstance(condition, Mapping):
        return f"a {type(condition).__name__}"
    keys = (str(key) for key in cast("Mapping[object, object]", condition))
    return f"a table of {', '.join(keys)}"


def _any_of(where: str, conditions: Iterable[Any]) -> Values:
    found = NOTHING
    for condition in conditions:
        found |= parse(where, condition)
    if found.is_empty:
        raise ConfigError(f"{where}: an empty list matches nothing; name at least one value")
    return found


def _parse_text(where: str, condition: str) -> Values:
    text = condition.strip()
    if not text.startswith(("<", ">", "!=", "=")):
        return Values(texts=frozenset((condition,)))
    found = ANYTHING
    for part in _JOIN.split(text):
        found &= _comparison(where, condition, part)
    return found


def _comparison(where: str, whole: str, part: str) -> Values:
    match = _COMPARISON.fullmatch(part.strip())
    if match is None:
        raise ConfigError(
            f"{where}: {whole!r} is no comparison; write one like '>8000', '<=3', '!=chat' or "
            "'>100 and <=8000'"
        )
    sign, value = match.groups()
    if sign == "!=":
        number = _number(value)
        same = () if number is None else ((number, True, number, True),)
        return ~Values(same, frozenset((value,)))
    number = _number(value)
    if number is None:
        raise ConfigError(f"{where}: {whole!r} compares with {value!r}, which is no number")
    if sign[0] == ">":
        return Values(((number, sign == ">=", math.inf, False),))
    return Values(((-math.inf, False, number, sign == "<="),))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _within(value: float, interval: Interval) -> bool:
    low, low_in, high, high_in = interval
    return (low < value or (low_in and low == value)) and (
        value < high or (high_in and high == value)
    )


def _joined(intervals: Iterable[Interval], gap: float = 0) -> tuple[Interval, ...]:
    """The same numbers as disjoint intervals in order. Those at most `gap` apart become one."""
    found: list[Interval] = []
    for low, low_in, high, high_in in sorted(intervals, key=lambda one: (one[0], not one[1])):
        if found:
            first, first_in, last, last_in = found[-1]
            touches = low == last and (low_in or last_in)
            if low < last or touches or (gap and low <= last + gap):
                if (high, high_in) > (last, last_in):
                    last, last_in = high, high_in
                found[-1] = (first, first_in, last, last_in)
                continue
        found.append((low, low_in, high, high_in))
    return tuple(found)


def _overlaps(ours: Iterable[Interval], others: Sequence[Interval]) -> list[Interval]:
    found: list[Interval] = []
    for a_low, a_in, a_high, a_high_in in ours:
        for b_low, b_in, b_high, b_high_in in others:
            low, not_in = max((a_low, not a_in), (b_low, not b_in))
            high, high_in = min((a_high, a_high_in), (b_high, b_high_in))
            if low < high or (low == high and not not_in and high_in):
                found.append((low, not not_in, high, high_in))
    return found


def _gaps(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """All numbers that are in none of them."""
    found: list[Interval] = []
    low, low_in = -math.inf, False
    for first, first_in, last, last_in in intervals:
        if low < first or (low_in and not first_in):
            found.append((low, low_in, first, not first_in))
        low, low_in = last, not last_in
    if low < math.inf:
        found.append((low, low_in, math.inf, False))
    return tuple(found)


def _either_text(a: Values, b: Values) -> tuple[frozenset[str], bool]:
    if a.but and b.but:
        return a.texts & b.texts, True
    if a.but:
        return a.texts - b.texts, True
    if b.but:
        return b.texts - a.texts, True
    return a.texts | b.texts, False


def _both_texts(a: Values, b: Values) -> tuple[frozenset[str], bool]:
    if a.but and b.but:
        return a.texts | b.texts, True
    if a.but:
        return b.texts - a.texts, False
    if b.but:
        return a.texts - b.texts, False
    return a.texts & b.texts, False
