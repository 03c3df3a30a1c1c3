"""Numbers as people and models write them, read so that two ways of writing one compare equal."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from decimal import Context as DecimalContext
from decimal import Decimal
from itertools import product
from typing import Final, NamedTuple

_SPACE: Final = " \u00a0\u2009\u202f"
_NUMBER: Final = re.compile(
    rf"(\d{{1,3}}(?:[{_SPACE}]\d{{3}})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,'’]\d+)*)"  # noqa: RUF001
    r"([eE][+-]?\d{1,3}(?!\d))?"
    r"(\s?%|[kKMmB](?![^\W_])"
    r"|\s?(?:bn|mn|mio|mrd|thousand|tausend|milliarde?n?|milliards?|mil+i[oó]n\w{0,3}"
    r"|billi?[oó]n\w{0,3}|trilli?[oó]n\w{0,3})(?![^\W_]))?",
    re.IGNORECASE,
)
# Powers of ten by which a number with this unit may be meant. A letter such as m may also be a
# unit of measure, and a billion is a thousand millions or a million of them by the language.
_UNITS: Final = (
    ("%", (0, -2)),
    ("k", (3,)),
    ("M", (6,)),
    ("m", (0, 6)),
    ("B", (9,)),
    ("bn", (9,)),
    ("mn", (6,)),
    ("mio", (6,)),
    ("mrd", (9,)),
    ("mil", (6,)),
    ("th", (3,)),
    ("ta", (3,)),
    ("bil", (9, 12)),
    ("tri", (12, 18)),
)

_ONES: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_MONTHS: Final = (
    "january february march april may june july august september october november december"
).split()
_SPELLED: Final = {
    **{word: number for number, word in enumerate(_ONES)},
    **{word: 10 * number for number, word in enumerate(_TENS, 2)},
    **{
        f"{tens}-{ones}": 10 * number + unit
        for (number, tens), (unit, ones) in product(
            enumerate(_TENS, 2), list(enumerate(_ONES))[1:10]
        )
    },
}
_LATIN_WORD: Final = re.compile(r"[a-z]+(?:-[a-z]+)?")
# A month counts only beside a day or a year: "may" is also a verb.
_MONTH: Final = re.compile(
    rf"\d(?:st|nd|rd|th)?(?: of)? ({'|'.join(_MONTHS)})\b|\b({'|'.join(_MONTHS)}),? \d"
)

# No traps: beyond its range a bound is infinite, and nothing lies there.
_ROUNDED: Final = DecimalContext(prec=28, traps=[])


class Number(NamedTuple):
    """One number as written, and what it may mean: each reading is numbers that belong together."""

    written: str
    readings: tuple[tuple[Decimal, ...], ...]


def numbers_in(text: str) -> list[Number]:
    """The different numbers of a text, in order. Signs and currencies are no part of them."""
    found = dict.fromkeys(match.group(0, 1, 2, 3) for match in _NUMBER.finditer(text))
    return [
        Number(written.strip(), tuple(_readings(body, exponent or "", unit or "")))
        for written, body, exponent, unit in found
    ]


def plain_number(value: object) -> Number | None:
    """A number given as one, or written as text. None when it is not exactly one."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    found = numbers_in(f"{value:f}" if isinstance(value, Decimal) else str(value))
    return found[0] if len(found) == 1 else None


def _readings(body: str, exponent: str, unit: str) -> Iterable[tuple[Decimal, ...]]:
    for numbers in _written_in(body):
        *before, last = numbers
        for shift in _shifts(unit):
            power = shift + int(exponent[1:] or "0")
            yield (*map(Decimal, before), Decimal(f"{last}E{power}"))


def _shifts(unit: str) -> tuple[int, ...]:
    unit = unit.strip()
    if not unit:
        return (0,)
    unit = unit if len(unit) == 1 and unit != "K" else unit.lower()
    return next((powers for start, powers in reversed(_UNITS) if unit.startswith(start)), (0,))


def _written_in(body: str) -> Iterable[tuple[str, ...]]:
    """The ways to read digits with separators, in the writing that `Decimal` takes."""
    if body.isdecimal():
        return ((body,),)
    spaced = body.split() if any(space in body for space in _SPACE) else []
    if spaced:  # one number in groups, or numbers side by side
        last = next(iter(_written_in(spaced[-1])))
        return (("".join(spaced).replace(",", "."),), (*spaced[:-1], *last))
    parts = re.split(r"\D", body)
    separators = re.findall(r"\D", body.replace("’", "'"))  # noqa: RUF001
    if len(set(separators)) == 1 and len(parts) > 2:
        return (("".join(parts),),) if _grouped(parts) else (tuple(parts),)
    whole, fraction = parts[:-1], parts[-1]
    if len(separators) == 1:
        as_fraction = (f"{parts[0]}.{fraction}",)
        return (as_fraction, ("".join(parts),)) if _grouped(parts) else (as_fraction,)
    only_last_differs = len(set(separators[:-1])) == 1 and separators[-1] != separators[0]
    if only_last_differs and _grouped(whole):
        return ((f"{''.join(whole)}.{fraction}",),)
    return (tuple(parts),)


def _grouped(parts: list[str]) -> bool:
    """Whether these are groups of thousands, or of hundreds up to the last as in India."""
    first, *middle, last = parts
    sizes = {len(part) for part in middle}
    return (
        len(last) == 3
        and len(first) <= 3
        and not (first.startswith("0") and len(parts) == 2)
        and (sizes <= {3} or (sizes == {2} and len(first) <= 2))
    )


class KnownNumbers:
    """The numbers that a text holds, those in English words and the months of dates included.

    Args:
        text: the source.
        tolerance: the share by which another number may be off, as 0.01 for rounding.
    """

    __slots__ = ("_least", "_most", "_sorted", "_values")

    def __init__(self, text: str, tolerance: Decimal) -> None:
        readings = (reading for number in numbers_in(text) for reading in number.readings)
        self._values = {value for reading in readings for value in reading}
        folded = text.casefold()
        words = set(_LATIN_WORD.findall(folded))
        self._values.update(Decimal(_SPELLED[word]) for word in words & _SPELLED.keys())
        if not words.isdisjoint(_MONTHS):
            months = {before or after for before, after in _MONTH.findall(folded)}
            self._values.update(Decimal(_MONTHS.index(month) + 1) for month in months)
        self._least, self._most = 1 + tolerance, 1 - tolerance
        self._sorted = sorted(self._values) if tolerance else []

    def holds(self, number: Number) -> bool:
        """Whether the number, in one of its readings, is among these."""
        return any(all(map(self._known, reading)) for reading in number.readings)

    def _known(self, value: Decimal) -> bool:
        if value in self._values or not self._sorted:
            return value in self._values
        least = _ROUNDED.divide(value, self._least)
        most = _ROUNDED.divide(value, self._most)
        place = bisect_left(self._sorted, least)
        return place < len(self._sorted) and self._sorted[place] <= most
