"""The shape of a text: code, numbers, questions, demands; in time that grows with its length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

__all__ = ["demands", "has_code", "has_numbers", "questions"]

_CODE_STARTS: Final = (
    "#include", "#!/", "</", "<div", "<html", "@app", "CREATE TABLE", "INSERT INTO", "SELECT ",
    "async def ", "class ", "const ", "def ", "export ", "fn ", "for (", "from ", "func ",
    "function ", "if (", "import ", "let ", "package ", "print(", "private ", "public ", "return ",
    "static ", "struct ", "try:", "use ", "var ", "while (",
)  # fmt: skip
_LOOP: Final = re.compile(r"for \w+(?:, ?\w+)* in .*:$")
_ASSIGNED: Final = re.compile(r"[^\W\d][\w.]* [-+*/]?= \S")
_CODE_ENDS: Final = ("{", "}", "};", "/>", "->", "=>")
# So the items of a list end too: a line needs one of the signs besides, or no word at all.
_ENDS_OF_PROSE: Final = (";", "):")
_CODE_SIGNS: Final = re.compile(r"[={}]|\w[(\[]|^\W+$")
# Words that open sentences too: alone they are no sign of code.
_ALSO_PROSE: Final = ("class ", "from ", "import ", "let ", "public ", "return ", "use ", "static ")
_CODE_LINES: Final = 2
_LINES: Final = 400

_CLOSING: Final = frozenset("!\"'\u2019\u201d\u00bb)]}*<")
"""What may follow a question mark: one before anything else, but white space, is of an address."""
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
    """Whether it holds a fenced block, or at least two lines that look like code.

    Of lines such as "x = 5" one counts: several may be a sum to be worked out.
    """
    if "```" in text:
        return True
    lines = assigned = 0
    for line in map(str.strip, text.split("\n", _LINES)[:_LINES]):
        if _is_code(line):
            lines += 1
        elif not assigned and "= " in line:
            assigned = int(_ASSIGNED.match(line) is not None)
        if lines + assigned >= _CODE_LINES:
            return True
    return False


def _is_code(line: str) -> bool:
    if line.endswith(_CODE_ENDS):
        return True
    if line.endswith(_ENDS_OF_PROSE) and _CODE_SIGNS.search(line):
        return True
    if line.startswith(_CODE_STARTS):
        return not line.startswith(_ALSO_PROSE)
    return line.startswith("for ") and _LOOP.match(line) is not None


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
    # Nothing has to follow a full-width question mark or an Arabic one.
    text = text.replace("\uff1f", "? ").replace("\u061f", "? ")
    for piece, after in pairwise(text.split("?")):
        is_mark = not after or after[0].isspace() or after[0] in _CLOSING
        if is_mark and piece and not piece.isspace():
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
