from __future__ import annotations

import sys

import pytest

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import Answer, Verdict
from cascade.validation import Validator
from cascade.validators import language
from cascade.validators.languages import _identifier, _verdict

ENGLISH = "Your order has shipped and will arrive on Tuesday."
GERMAN = "Ihre Bestellung ist unterwegs und kommt am Dienstag an."
FRENCH = "Votre commande est en route et arrivera mardi matin."
CHINESE = "您的订单已经发货，预计将于星期二上午送达您的收货地址。"


def judged(validator: Validator, text: str | None) -> Verdict:
    return validator.judge_inline(Answer(None, text=text), Context())


@pytest.mark.parametrize(
    ("text", "tag"),
    [(ENGLISH, "en"), (GERMAN, "de-AT"), (FRENCH, "FR"), (CHINESE, "zh_Hans")],
)
def test_the_language_is_told(text: str, tag: str) -> None:
    verdict = judged(language(tag), text)
    assert verdict.status == "passed"
    assert 0.5 < (verdict.score or 0) <= 1
    other = judged(language("fi"), text)
    assert (other.status, other.reason) == ("failed", "wrong_language")
    assert (other.score or 0) < 0.1


def test_several_languages_may_be_fine() -> None:
    either = language(["en", "de"])
    assert [judged(either, text).status for text in (ENGLISH, GERMAN, FRENCH)] == [
        "passed",
        "passed",
        "failed",
    ]
    assert "'fr'" in (judged(either, FRENCH).feedback or "")


def test_code_addresses_and_json_names_do_not_count() -> None:
    code = "```python\nfor value in values:\n    print('this is an English sentence')\n```"
    assert (
        judged(language("de"), f"{GERMAN}\n{code}\nhttps://example.com/the-english-way").status
        == "passed"
    )
    assert judged(language("de"), f'{{"the_answer_in_english": "{GERMAN}"}}').status == "passed"
    assert judged(language("de"), code).reason == "too_short"


def test_candidates_tell_close_languages_apart() -> None:
    text = "Det er en fin dag i dag, og vi skal til stranden."
    assert judged(language("da", candidates=["en", "fr"]), text).status == "passed"
    assert judged(language("nb"), text).status == "passed"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no_text"),
        ("   ", "no_text"),
        ("Bonjour", "too_short"),
        ("12345 67890 " * 20, "too_short"),
    ],
)
def test_what_cannot_be_told_abstains(text: str | None, reason: str) -> None:
    verdict = judged(language("en"), text)
    assert (verdict.status, verdict.reason) == ("abstained", reason)


def test_text_without_any_known_feature_abstains() -> None:
    verdict = judged(language("en", min_chars=1), "Hola")
    assert (verdict.status, verdict.reason) == ("abstained", "no_language")


def test_candidates_that_are_all_impossible_abstain() -> None:
    ranked = [("ko", 0.75), ("ja", 0.25), ("en", 0.0), ("fr", 0.0)]
    verdict = _verdict(ranked, frozenset({"en"}), frozenset({"en", "fr"}))
    assert (verdict.status, verdict.reason) == ("abstained", "no_language")


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="unknown"):
        language("klingon")
    with pytest.raises(ConfigError, match="at least one"):
        language([])
    with pytest.raises(ConfigError, match="add some"):
        language("en", candidates=["en"])
    with pytest.raises(ConfigError, match="min_chars"):
        language("en", min_chars=0)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(ConfigError, match=r"cascade-engine\[lang\]"):
        language("en")
