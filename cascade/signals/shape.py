"""The shape of a text: code, numbers, questions, demands; in time that grows with its length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["demands", "has_code", "has_numbers", "questions"]

_CODE_STARTS: Final = (
    "#include", "#!/", "</", "<div", "<html", "@app", "CREATE TABLE", "INSERT INTO", "SELECT ",
    "async def ", "class ", "const ", "def ", "export ", "fn ", "for (", "from ", "func ",
    "function ", "if (", "import ", "let ", "package ", "private ", "public ", "return ",
    "static ", "struct ", "try:", "use ", "var ", "while (",
)  # fmt: skip
_CODE_ENDS: Final = (";", "{", "}", "};", "):", ");", "/>", "->", "=>")
# Words that open sentences too: alone they are no sign of code.
_ALSO_PROSE: Final = ("class ", "from ", "import ", "let ", "public ", "return ", "use ", "static ")
_CODE_LINES: Final = 2
_LINES: Final = 400

_QUESTION_MARKS: Final = {0xFF1F: "?", 0x061F: "?"}  # full-width, Arabic
_ENDS: Final = re.compile(r"[.!:\n]")
_ASKING: Final = frozenset("what where when who whom whose which why how".split())
_WORD: Final = re.compile(r"\w+")
_SENTENCE_CHARS: Final = 300
_NUMBERED: Final = re.compile(r"^[ \t]{0,8}(?:\d{1,2}|[a-z])[.)][ \t]", re.MULTILINE)
_DEMANDING: Final = frozenset(
    "must should shall exactly never always only without ensure avoid include exclude".split()
)
_DEMANDS: Final = ("at most", "at least", "no more than", "do not", "don't", "make sure")


def has_code(text: str) -> bool:
    """Whether it holds a fenced block, or at least two lines that look like code."""
    if "```" in text:
        return True
    lines = 0
    for line in text.split("\n", _LINES)[:_LINES]:
        line = line.strip()
        is_end = line.endswith(_CODE_ENDS)
        if is_end or (line.startswith(_CODE_STARTS) and not line.startswith(_ALSO_PROSE)):
            lines += 1
            if lines >= _CODE_LINES:
                return True
    return False


def has_numbers(text: str) -> bool:
    """Whether any digit stands in it."""
    return any(map(str.isdigit, text))


def questions(text: str) -> int:
    """How many different things are asked.

    Sentences that end in a question mark, what "and" joins to them with a question word of its
    own, and numbered items where there are more of those.
    """
    asked: set[tuple[str, ...]] = set()
    for sentence in _asking_sentences(text):
        asked.update(_parts(sentence))
    items = len(_NUMBERED.findall(text))
    return max(len(asked), items if items > 1 else 0)


def _asking_sentences(text: str) -> Iterator[str]:
    for piece in text.translate(_QUESTION_MARKS).split("?")[:-1]:
        if piece and not piece.isspace():
            yield _ENDS.split(piece[-_SENTENCE_CHARS:])[-1]


def _parts(sentence: str) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(sentence.lower())
    start = 0
    for place in range(1, len(words)):
        if words[place] in _ASKING and words[place - 1] == "and":
            yield tuple(words[start : place - 1])
            start = place
    if words[start:]:
        yield tuple(words[start:])


def demands(text: str) -> int:
    """How often it says what has to be so: must, exactly, at most, do not ..."""
    text = text.lower()
    words = sum(map(_DEMANDING.__contains__, _WORD.findall(text)))
    return words + sum(map(text.count, _DEMANDS))
