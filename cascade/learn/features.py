"""What a learned router sees of a request: n-grams of its text, its shape, and its signals.

The same functions serve training and inference, so that both see the same numbers. Linear time:
of a long text both ends are read and no more.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise, repeat
from typing import Final, TypeAlias, TypeVar, cast

from cascade.types import Fact

__all__ = [
    "FEATURES_VERSION",
    "SHAPE",
    "WINDOW_CHARS",
    "Embed",
    "Key",
    "Reading",
    "embedded",
    "read",
    "seen",
    "spoken",
    "tokens_of",
]

Embed: TypeAlias = Callable[[str], Sequence[float]]
"""An embedding of the user's: as many finite numbers for every text. It runs in the event
loop before anything is asked, so it has to be quick and must not wait."""

Key: TypeAlias = str | tuple[str, str]
"""A token, two tokens in a row, or a signal with its value ("stakes=high")."""

T = TypeVar("T")

FEATURES_VERSION: Final = 1
"""Of this module. Weights that were learnt with another version mean nothing with this one."""

WINDOW_CHARS: Final = 4_000
"""What is read of each end of a text that is longer than twice this; not the middle."""

_TOKEN: Final = re.compile(r"\w++(?:[.,]\d++)*+|\S")
_ASCII_TOKEN: Final = re.compile(r"[a-z0-9_]++(?:[.,][0-9]++)*+|\S")
"""Finds the same in lower-case ASCII, a third faster."""

_LONGEST_PIECE: Final = 32
_MOST_PIECES: Final = 16_384
"""What is remembered of earlier texts at most: some megabytes."""

_CAPITALISED: Final = re.compile(r"[A-Z]+[a-z]*")
_NEGATIONS: Final = frozenset({"NOT", "EXCEPT", "LEAST", "FALSE"})
_LONG_WORD: Final = 9

_STOP: Final = (
    "a an and are as at be by for from in is it of on or that the this to was which with".split()
)
_NOT: Final = "except false incorrect least never no not".split()
_QUANTITY: Final = (
    "double each every half less left more per quarter remaining rest than third thirds times "
    "total triple twice".split()
)
_COUNTING: Final = (
    "dozen eight five four hundred nine one seven six ten three twelve twenty two".split()
)
_OPERATORS: Final = tuple("+-*/=^<>")

SHAPE: Final = (
    "length of the text",
    "number of tokens",
    "number of lines",
    "how many numbers",
    "share of numbers",
    "size of the largest number",
    "decimal points and thousands marks",
    "share of punctuation",
    "share of capitals",
    "words in capitals",
    "length of words",
    "share of long words",
    "variety of words",
    "share of function words",
    "operators such as + and =",
    "brackets",
    "dollar amounts",
    "percentages",
    "negations",
    "negations in capitals",
    "sentences",
    "question marks",
    "words of quantity such as each, half, per",
    "numbers in words",
    "letters beyond ASCII",
    "distinct capitalised words",
    "a blank to fill in",
)
"""What each number of a shape is, in words."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one request.

    Attributes:
        tokens: words, numbers and marks, as they follow each other.
        counts: how often each token occurs; each signal with its value once.
        words: the distinct words; numbers and punctuation left out.
        shape: one number for each entry of `SHAPE`; after them the embedding, where there is one.
        chars: length of what was read: of a long text that of both ends, as a router at work is
            handed no more.
    """

    tokens: Sequence[str]
    counts: Mapping[str, int]
    words: Sequence[str]
    shape: Sequence[float]
    chars: int

    def keys(self) -> Counter[Key]:
        """How often each key occurs: the counts, and those of two tokens in a row."""
        keys: Counter[Key] = Counter(pairwise(self.tokens))
        keys.update(self.counts)
        return keys

    def among(self, known: Mapping[Key, T]) -> dict[T, int]:
        """How often each key occurs that is known, by what it is known as: no two as the same.

        That of `keys`, without counting all the pairs that nobody knows.
        """
        get = known.get
        found: dict[T | None, int] = dict(Counter(map(get, pairwise(self.tokens))))
        found.update(zip(map(get, self.counts), self.counts.values(), strict=True))
        found.pop(None, None)
        return cast("dict[T, int]", found)


def read(
    text: str, signals: Mapping[str, Fact] | None = None, names: Sequence[str] = ()
) -> Reading:
    """Read one request.

    Args:
        text: what the user asks.
        signals: the request's signals. None: it has none.
        names: of the signals to use; a number counts by its order of magnitude.
    """
    text = seen(text)
    tokens, capitalised = _taken_apart(text)
    counts = Counter(tokens)
    words, shape = _shape(text, capitalised, len(tokens), counts)
    for name in names:
        value = None if signals is None else signals.get(name)
        counts[f"{name}={_level(value)}".replace(" ", "_")] = 1
    return Reading(tokens, counts, words, shape, len(text))


def seen(text: str) -> str:
    """What is read of a text: all of it, or both ends. Of what is cut already, all."""
    if len(text) <= 2 * WINDOW_CHARS:
        return text
    return f"{text[:WINDOW_CHARS]}\n{text[-WINDOW_CHARS:]}"


def tokens_of(text: str) -> list[str]:
    """The words, numbers and marks of a text, in lower case."""
    return _taken_apart(text)[0]


def _taken_apart(text: str) -> tuple[list[str], list[str]]:
    """The tokens, and what is capitalised."""
    pieces = list(map(_PIECES.__getitem__, text.split()))
    tokens = chain.from_iterable([piece[0] for piece in pieces])
    return list(tokens), list(chain.from_iterable([piece[1] for piece in pieces]))


class _Pieces(dict[str, tuple[list[str], list[str]]]):
    """The tokens of what stands between white space, and what is capitalised in it.

    The same words come again and again, and to look them up takes two thirds of the time that it
    takes to find their tokens anew.
    """

    def __missing__(self, piece: str) -> tuple[list[str], list[str]]:
        lower = piece.lower()
        tokens = (_ASCII_TOKEN if lower.isascii() else _TOKEN).findall(lower)
        found = tokens, _CAPITALISED.findall(piece)
        if len(piece) <= _LONGEST_PIECE:
            if len(self) >= _MOST_PIECES:
                self.clear()
            self[piece] = found
        return found


_PIECES: Final = _Pieces()


def embedded(reading: Reading, embed: Embed, text: str) -> Reading:
    """The same reading with the numbers of an embedding of what is read of the text.

    Raises:
        ValueError: the embedding gives none, or one that is not finite.
    """
    numbers = tuple(float(number) for number in embed(seen(text)))
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ValueError("the embedding gave no numbers, or one that is not finite")
    return replace(reading, shape=(*reading.shape, *numbers))


def spoken(key: Key) -> str:
    """A key for people, and for the file."""
    return key if isinstance(key, str) else " ".join(key)


def _level(value: Fact) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).lower()
    if not math.isfinite(value):
        return "none"
    return f"{math.copysign(2.0 ** math.floor(math.log2(abs(value))), value):g}" if value else "0"


def _total(counts: Mapping[str, int], words: Sequence[str]) -> int:
    return sum(map(counts.get, words, repeat(0)))


def _largest(numbers: Sequence[str]) -> float:
    """The logarithm of the largest number, to a billion; what follows a point is cut off."""
    wholes = [number.partition(".")[0].replace(",", "")[:10] for number in numbers]
    return math.log1p(min(max([int(w) for w in wholes if w.isdecimal()], default=0), 1e9))


@dataclass(slots=True)
class _Kinds:
    """How many tokens of which kind there are."""

    words: int = 0
    letters: int = 0
    long: int = 0
    numbers: int = 0
    decimals: int = 0
    marks: int = 0


def _kinds(counts: Mapping[str, int], words: list[str], numbers: list[str]) -> _Kinds:
    """Counts the kinds, and puts the distinct words and numbers into the lists."""
    of = _Kinds()
    for token, count in counts.items():
        if token[0].isalpha():
            size = len(token)
            of.words += count
            of.letters += count * size
            if size >= _LONG_WORD:
                of.long += count
            words.append(token)
        elif token[0].isdecimal():
            of.numbers += count
            if not token.isdecimal():
                of.decimals += count
            numbers.append(token)
        else:
            of.marks += count
    return of


def _shape(
    text: str, capitalised: Sequence[str], found: int, counts: Counter[str]
) -> tuple[list[str], list[float]]:
    """The distinct words, and the shape."""
    words: list[str] = []
    numbers: list[str] = []
    of = _kinds(counts, words, numbers)
    names = set(capitalised)
    shouts = [name for name in capitalised if len(name) > 1 and name.isupper()]
    log, of_tokens, of_words = math.log1p, max(found, 1), max(of.words, 1)
    shape = [
        log(len(text)),
        log(found),
        log(text.count("\n")),
        log(of.numbers),
        of.numbers / of_tokens,
        _largest(numbers),
        log(of.decimals),
        of.marks / of_tokens,
        len(capitalised) / of_words,
        len(shouts) / of_words,
        of.letters / of_words,
        of.long / of_words,
        len(counts) / of_tokens,
        _total(counts, _STOP) / of_words,
        log(_total(counts, _OPERATORS)),
        log(counts["("]),
        log(counts["$"]),
        log(counts["%"] + counts["percent"]),
        log(_total(counts, _NOT)),
        float(not _NEGATIONS.isdisjoint(names)),
        log(counts["."]),
        log(counts["?"]),
        log(_total(counts, _QUANTITY)),
        log(_total(counts, _COUNTING)),
        log(len(text.encode("utf-8", "replace")) - len(text)),
        log(len(names)),
        float("_" in text),
    ]
    return words, shape
