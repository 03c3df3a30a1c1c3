"""The language of a text by its script and its commonest words: cheap, and often unknown.

The validator `language` judges answers with a trained model; a route has no time for one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from typing import Final

__all__ = ["LANGUAGES", "detect_language"]

READ_CHARS: Final = 600
LEAST_LETTERS: Final = 8
LEAST_WORDS: Final = 2

# By the last code point of a block: whose letters stand in it. "" is Latin, which many share.
_BLOCKS: Final = (
    (0x024F, ""), (0x036F, None), (0x03FF, "el"), (0x052F, "ru"), (0x058F, "hy"), (0x05FF, "he"),
    (0x06FF, "ar"), (0x08FF, None), (0x097F, "hi"), (0x09FF, "bn"), (0x0B7F, None), (0x0BFF, "ta"),
    (0x0DFF, None), (0x0E7F, "th"), (0x109F, None), (0x10FF, "ka"), (0x11FF, "ko"), (0x1EFF, ""),
    (0x1FFF, "el"), (0x303F, None), (0x30FF, "ja"), (0x318F, "ko"), (0x9FFF, "zh"),
    (0xABFF, None), (0xD7AF, "ko"),
)  # fmt: skip
_LASTS: Final = tuple(last for last, _ in _BLOCKS)

_COMMON: Final = {
    "en": "the and is of to in that for with are you this what how my please from it on not can",
    "de": "der die das und ist nicht ein eine mit für auf den von zu ich sie wie was bitte wir",
    "fr": "le la les et est une des pour dans que vous je ne pas sur avec du qui quel comment",
    "es": "el la los las y es una para que en por con no mi se del como cuál qué está",
    "it": "il lo gli e è una per che di non con del della sono come mi quale questo nel anche",
    "pt": "o os as e é uma para que em não com do da como meu qual está por mais dos",
    "nl": "de het een en is van niet met voor op dat ik je wat hoe mijn zijn er naar wij",
    "pl": "i w nie na jest się z do to jak czy mój co dla przez od są ten proszę po",
    "da": "og er at det en som for ikke med på jeg af hvad min kan den til du hvordan har mig dig "
          "sig efter noget",
    "no": "og er å det en som for ikke med på jeg av hva min kan den til du hvordan har meg deg "
          "seg etter noe",
    "sv": "och är att det en som för inte med på jag av hur vad min kan den till ett du har mig "
          "dig sig efter något",
    "tr": "ve bir bu için ne nasıl değil ile mi çok da en olarak var benim lütfen kadar ama",  # noqa: RUF001
}  # fmt: skip
_LANGUAGES_OF: Final[dict[str, tuple[str, ...]]] = {}
for _code, _words in _COMMON.items():
    for _word in _words.split():
        _LANGUAGES_OF[_word] = (*_LANGUAGES_OF.get(_word, ()), _code)

LANGUAGES: Final = tuple(sorted({*_COMMON, *(code for _, code in _BLOCKS if code)}))
"""What `detect_language` can say, as ISO 639-1 codes."""

_WORD: Final = re.compile(r"[^\W\d_]+")


def detect_language(text: str) -> str | None:
    """The language of a text, from its first 600 characters.

    Cyrillic is taken for Russian, Han characters without kana for Chinese, Devanagari for Hindi.

    Returns:
        an ISO 639-1 code. None: too little text, or no language of `LANGUAGES` stands out.
    """
    text = text[:READ_CHARS]
    if text.isascii():  # most are, and it takes half of the time
        letters = sum(map(str.isalpha, text))
        return _latin(text) if letters >= LEAST_LETTERS else None
    scripts = Counter(map(_script, filter(str.isalpha, text)))
    if sum(scripts.values()) < LEAST_LETTERS:
        return None
    if scripts["ja"] and scripts["ja"] * 10 >= scripts["zh"]:
        return "ja"
    script, letters = scripts.most_common(1)[0]
    if letters * 2 < sum(scripts.values()) or script is None:
        return None
    return script or _latin(text)


def _script(letter: str) -> str | None:
    point = ord(letter)
    if point < 0x250:
        return ""
    place = bisect_left(_LASTS, point)
    return _BLOCKS[place][1] if place < len(_BLOCKS) else None


def _latin(text: str) -> str | None:
    found = Counter(
        code for word in set(_WORD.findall(text.lower())) for code in _LANGUAGES_OF.get(word, ())
    )
    ranked = found.most_common(2)
    if not ranked or ranked[0][1] < LEAST_WORDS:
        return None
    is_tie = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
    return None if is_tie else ranked[0][0]
