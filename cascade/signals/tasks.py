"""What kind of task a request is, guessed from its words and its shape.

Each cue speaks for one task with a weight, and counts once however often it stands there. The task
with the greatest sum is the guess. A sum of weights is no probability and is not called one; the
cues that decided are kept, so that `cascade explain` can show them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from cascade.signals.cues import ADDRESSES, OPENINGS, PHRASES, WORDS
from cascade.signals.shape import has_code

__all__ = ["TASKS", "Cue", "Detection", "detect_task"]

TASKS: Final[tuple[str, ...]] = (
    "classification",
    "extraction",
    "lookup",
    "conversion",
    "summarising",
    "drafting",
    "reasoning",
    "coding",
    "planning",
    "chat",
    "other",
)
"""What `detect_task` can say. Declared tasks may be any word."""

READ_CHARS: Final = 1_500
"""What is read of each end of the text: an instruction stands before or after what it is about."""
SYSTEM_CHARS: Final = 600
SYSTEM_SHARE: Final = 0.5
"""How much a cue in the instructions of the system counts, beside one in the user's words."""
LEAST: Final = 2.0
"""The least sum that names a task; with less it is "chat" or "other"."""
CHAT_CHARS: Final = 200
"""A shorter text without any cue is talk."""
LEAST_ROWS: Final = 2

_WORDS: Final = re.compile(r"[a-z]+|[.!?:;\n]+|\d[\d.,]*")


_TELLING: Final = frozenset(WORDS) | frozenset(PHRASES)
"""The words at which a cue may begin: hardly any of a text, so that the others take no time."""
_NONE: Final[dict[str, list[tuple[tuple[str, ...], str, float]]]] = {}


class Cue(NamedTuple):
    """Something that speaks for a task: what it is, and how strongly."""

    what: str
    task: str
    weight: float


class Detection(NamedTuple):
    """The guessed task, and every cue there was, the strongest of each task first."""

    task: str
    cues: tuple[Cue, ...]


def detect_task(text: str, system: str = "") -> Detection:
    """Guess the task of a request.

    Args:
        text: what the user says; of long texts the first and the last `READ_CHARS` are read.
        system: the system's instructions, whose cues count half.
    """
    found: dict[tuple[str, str], Cue] = {}
    for cue in _cues(_read(text)):
        found.setdefault((cue.what, cue.task), cue)
    for cue in _word_cues(_tokens(system[:SYSTEM_CHARS])):
        found.setdefault((cue.what, cue.task), cue._replace(weight=cue.weight * SYSTEM_SHARE))
    sums: dict[str, float] = dict.fromkeys(TASKS, 0.0)
    for cue in found.values():
        sums[cue.task] += cue.weight
    best = max(TASKS, key=sums.__getitem__)
    if sums[best] < LEAST:
        best = "chat" if 0 < len(text) <= CHAT_CHARS else "other"
    ordered = sorted(found.values(), key=lambda cue: (-sums[cue.task], cue.task, -cue.weight))
    return Detection(best, tuple(ordered))


def _read(text: str) -> str:
    if len(text) <= 2 * READ_CHARS:
        return text
    return f"{text[:READ_CHARS]}\n{text[-READ_CHARS:]}"


def _tokens(text: str) -> list[str]:
    return _WORDS.findall(text.lower())


def _cues(text: str) -> Iterator[Cue]:
    tokens = _tokens(text)
    yield from _word_cues(tokens)
    if has_code(text):
        yield Cue("code", "coding", 3)
    numbers = sum([token[0].isdigit() for token in tokens])
    is_asked = "?" in text
    if is_asked and _rows(text) >= LEAST_ROWS:
        yield Cue("a question over records", "lookup", 3)
    elif is_asked and numbers >= 2 and ("how" in tokens or numbers >= 4):
        yield Cue("a question over numbers", "reasoning", 2)
    if any(sign in text for sign in ("=", "\\frac", "^", "√", "∑")) and numbers >= 2:
        yield Cue("formula", "reasoning", 2)


def _rows(text: str) -> int:
    """How many lines have columns."""
    return sum(1 for line in text.split("\n") if " | " in line or "\t" in line)


def _word_cues(words: list[str]) -> Iterator[Cue]:
    is_opening = True
    for place, word in enumerate(words):
        if is_opening:
            opening = OPENINGS.get(word)
            if opening is not None:
                yield Cue(f"opens with {word!r}", *opening)
            is_opening = word in ADDRESSES or not word.isalpha()
        elif word[0] in ".!?:;\n":
            is_opening = True
        if word in _TELLING:
            yield from _phrases_at(words, place)


def _phrases_at(words: list[str], place: int) -> Iterator[Cue]:
    word, after = words[place], words[place + 1] if place + 1 < len(words) else ""
    if word in WORDS:
        yield Cue(word, *WORDS[word])
    for rest, task, weight in PHRASES.get(word, _NONE).get(after, ()):
        if tuple(words[place + 2 : place + 2 + len(rest)]) == rest:
            yield Cue(" ".join((word, after, *rest)), task, weight)
