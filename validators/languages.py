"""The human language an answer is written in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final, Protocol, cast

from cascade.context import Context
from cascade.errors import ConfigError, did_you_mean
from cascade.options import check_count
from cascade.types import Answer, Verdict
from cascade.validation import Check, Validator
from cascade.validators._text import check_words, prose, said

__all__ = ["language"]

# More of a text tells no more of its language, and takes longer.
_JUDGED_CHARS: Final = 4_000
_NO_LANGUAGE: Final = "zxx"  # ISO 639-2: "no linguistic content"
_SAME_AS: Final = {"cmn": "zh", "fil": "tl", "in": "id", "iw": "he", "ji": "yi", "nb": "no"}


class _Identifier(Protocol):
    labels: list[str]

    def rank(self, text: str) -> list[tuple[str, float]]:
        """Every language with its probability, the likeliest first."""
        ...


def language(
    expected: str | Sequence[str],
    *,
    candidates: Sequence[str] | None = None,
    min_chars: int = 20,
) -> Validator:
    """Passes when the answer is written in the expected language, or in one of several.

    The likeliest language decides; the score is the probability of the expected ones together,
    for the record. Code blocks, inline code, addresses and the names in JSON are left out.
    Offline; the first 4,000 characters are judged, in less than a millisecond, once the model is
    loaded (about 0.7 s, by the first `language(...)` of the process).

    Source: Lui and Baldwin, "langid.py: An Off-the-shelf Language Identification Tool" (2012),
    as trained anew in py3langid.

    Args:
        expected: BCP 47 tags such as "en" or "pt-BR", of which the language alone is judged.
        candidates: the only languages to tell apart, the expected ones added. Fewer makes it
            surer on short text, but text in any other is then taken for one of these. None: all
            that the model knows, about 140.
        min_chars: letters below which it abstains, since a word or two may be of any language.

    Reasons: "wrong_language"; abstains with "no_text", "too_short", or "no_language" for text
    that is in none it knows.

    Raises:
        ConfigError: a language is unknown, or the extra `lang` is not installed.
    """
    check_count("language: min_chars", min_chars, least=1)
    identifier = _identifier()
    wanted = _codes("expected", [expected] if isinstance(expected, str) else expected, identifier)
    among = frozenset[str]()
    if candidates is not None:
        among = wanted | _codes("candidates", candidates, identifier)
        if among == wanted:
            raise ConfigError(
                "language: candidates has no language but the expected ones; add some"
            )

    def judge(answer: Answer[Any], context: Context) -> Verdict:
        text = said(answer, context)
        if text is None:
            return Verdict.abstained("no_text")
        text = prose(text)[:_JUDGED_CHARS]
        if sum(map(str.isalpha, text)) < min_chars:
            return Verdict.abstained("too_short")
        return _verdict(identifier.rank(text), wanted, among)

    return Check("language", judge, scored=False)


def _verdict(
    ranked: list[tuple[str, float]], wanted: frozenset[str], among: frozenset[str]
) -> Verdict:
    # A tie at the top is what a text without any known feature gives.
    if ranked[0][0] == _NO_LANGUAGE or ranked[0][1] == ranked[1][1]:
        return Verdict.abstained("no_language")
    if among:
        ranked = [(code, probability) for code, probability in ranked if code in among]
    total = sum(probability for _, probability in ranked)
    if total == 0:
        return Verdict.abstained("no_language")
    score = min(1.0, sum(p for code, p in ranked if code in wanted) / total)
    best = ranked[0][0]
    if best in wanted:
        return Verdict.passed(score)
    feedback = f"The answer is in {best!r}. Write it in {' or '.join(sorted(wanted))}."
    return Verdict.failed("wrong_language", score=score, feedback=feedback)


def _codes(option: str, tags: Sequence[str], identifier: _Identifier) -> frozenset[str]:
    """The model's codes for language tags: the primary subtag (RFC 5646, section 2.2.1)."""
    codes: set[str] = set()
    for tag in check_words("language", option, tags):
        subtag = tag.replace("_", "-").split("-")[0].strip().lower()
        code = _SAME_AS.get(subtag, subtag)
        if code not in identifier.labels or code == _NO_LANGUAGE:
            raise ConfigError(
                f"language: {tag!r} is unknown; {did_you_mean(code, identifier.labels)}"
            )
        codes.add(code)
    if not codes:
        raise ConfigError(f'language: {option} is empty; give at least one, such as "en"')
    return frozenset(codes)


@cache
def _identifier() -> _Identifier:
    """The one model of the process. It is only read after loading, so threads may share it."""
    try:
        langid = import_module("py3langid.langid")
    except ImportError:
        raise ConfigError(
            'language needs a model that is not installed; run: pip install "cascade-engine[lang]"'
        ) from None
    model = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    return cast("_Identifier", model)
