"""Mends the slips that models make in JSON, token by token and in linear time.

What is mended loses nothing and adds no content: trailing commas, comments, single quotes, Python's
True, False and None, raw line breaks, quotes and backslashes in strings, bare member names, and
closing brackets missing at the very end. A string that breaks off is not mended: what it would have
said is unknown.
"""

from __future__ import annotations

import json
import re
from typing import Final

__all__ = ["mended"]

_TOKEN: Final = re.compile(
    r"""
      (?P<skip>     \s+ | //[^\n]* | \#[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<string>   "(?: [^"\\]++ | \\. | "(?!\s*(?:[,:\]}/\#]|\Z)) )*+" )
    | (?P<quoted>   '(?: [^'\\]++ | \\. | '(?!\s*(?:[,:\]}/\#]|\Z)) )*+' )
    | (?P<opening>  [\[{] )
    | (?P<closing>  [\]}] )
    | (?P<sign>     [:,] )
    | (?P<word>     [^\s\[\]{}:,"'/\#`]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)|[\x00-\x1f\"]", re.DOTALL)
_ESCAPABLE: Final = frozenset('"\\/bfnrtu')
_NAME: Final = re.compile(r"[^\W\d]\w*")
_LITERALS: Final = {"True": "true", "False": "false", "None": "null"}
_CLOSES: Final = {"{": "}", "[": "]"}


def mended(text: str, start: int) -> str | None:
    """The object or array at `start` with its slips mended. None: beyond mending.

    What follows it may be prose but not another object, so that no choice is made here.
    """
    place, out, open_brackets = start, list[str](), list[str]()
    while token := _TOKEN.match(text, place):
        place = token.end()
        kind, said = str(token.lastgroup), token[0]
        if kind == "skip":
            continue
        if kind == "opening":
            open_brackets.append(_CLOSES[said])
        elif kind == "closing":
            if said != open_brackets.pop():
                return None
            _drop_comma(out)
        naming = kind == "word" and open_brackets[-1] == "}" and out[-1] in ("{", ",")
        out.append(_written(kind, said, naming=naming))
        if not open_brackets:
            return None if "{" in text[place:] else "".join(out)
    # What is left is no token, such as a string that breaks off; or nothing but a bracket is there.
    if text[place:].strip("` \n\t\r") or len(out) < 2:
        return None
    _drop_comma(out)
    return "".join(out) + "".join(reversed(open_brackets))


def _drop_comma(out: list[str]) -> None:
    if out[-1:] == [","] and out[-2:-1] and out[-2] not in (",", "[", "{", ":"):
        out.pop()


def _written(kind: str, said: str, *, naming: bool) -> str:
    if kind in ("string", "quoted"):
        return '"' + _ESCAPE.sub(_escaped, said[1:-1]) + '"'
    if naming and _NAME.fullmatch(said):
        return json.dumps(said)
    return _LITERALS.get(said, said)


def _escaped(match: re.Match[str]) -> str:
    said, escaped = match[0], match[1]
    if escaped is None:
        return '\\"' if said == '"' else f"\\u{ord(said):04x}"
    if escaped in _ESCAPABLE:
        return said
    # JSON knows no other escapes: \' stands for the quote, and any other backslash for itself.
    return "'" if escaped == "'" else "\\\\" + _ESCAPE.sub(_escaped, escaped)
