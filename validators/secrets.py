"""Credentials in an answer: keys, tokens, passwords, card numbers.

What is found is never kept, shown or logged: a verdict names only its kind.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from cascade.context import Context
from cascade.errors import ConfigError, did_you_mean
from cascade.types import Answer, Verdict
from cascade.validation import Check, Validator
from cascade.validators._text import check_words, flat_text, text_of

__all__ = ["no_secrets"]

_PLACEHOLDER: Final = re.compile(
    r"example|placeholder|change_?me|redacted|dummy|sample|your[_-]|insert[_-]|my[_-]|xxxxx"
    r"|\*\*\*|\.\.\.|123456|abcdef|[<>{}$]"
)
_USUAL_WORDS: Final = frozenset(
    {"password", "passwd", "pass", "pwd", "secret", "token", "user", "admin", "root", "test"}
)
_LEAST_CHARACTERS: Final = 6  # different ones; fewer is a row of the same
_LEAST_BITS: Final = 2.75  # of entropy per character
_LEAST_RUNS: Final = 3  # of letters and of digits: max_tokens_2 has two
_RUN: Final = re.compile(r"[^\W\d_]+|\d+")
_JOINT: Final = re.compile(r"[\W_]+")


def _is_key(secret: str) -> bool:
    folded = secret.lower()
    return len(set(folded)) >= _LEAST_CHARACTERS and _PLACEHOLDER.search(folded) is None


def _is_password(secret: str) -> bool:
    return secret.lower() not in _USUAL_WORDS and _PLACEHOLDER.search(secret.lower()) is None


def _is_random(secret: str) -> bool:
    """Whether it looks drawn by lot: letters and digits in turn, as in no name or word."""
    runs = _RUN.findall(_JOINT.sub("", secret))
    if len(runs) < _LEAST_RUNS or not _is_key(secret):
        return False
    shares = [count / len(secret) for count in Counter(secret).values()]
    return -sum(share * math.log2(share) for share in shares) >= _LEAST_BITS


def _is_card(digits: str) -> bool:
    """The check digit of ISO/IEC 7812-1 (Luhn's formula). Test cards of few digits are none."""
    numbers = [int(digit) for digit in digits if digit.isdigit()]
    doubled = [sum(divmod(2 * number, 10)) for number in numbers[-2::-2]]
    return len(set(numbers)) > 3 and (sum(numbers[-1::-2]) + sum(doubled)) % 10 == 0


class _Kind(NamedTuple):
    """A kind of secret.

    Attributes:
        hints: of these, one is in every text that can match, once that is in lower case.
        in_lower_case: whether the pattern is for such text: ten times faster than one that
            ignores case.
    """

    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    is_real: Callable[[str], bool] = _is_key
    in_lower_case: bool = False


def _starting(*prefixes: str, rest: str) -> _Kind:
    """A token known by its beginning. It must begin a word, which also keeps the search linear."""
    either = "|".join(map(re.escape, prefixes))
    return _Kind(
        tuple(map(str.lower, prefixes)), re.compile(rf"(?<![A-Za-z0-9_-])(?:{either})({rest})")
    )


_KINDS: Final[dict[str, _Kind]] = {
    "anthropic_key": _starting("sk-ant-", rest=r"[\w-]{20,}"),
    "aws_key": _starting("AKIA", "ASIA", rest=r"[A-Z0-9]{16}(?![A-Z0-9])"),
    "github_token": _starting(
        "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", rest=r"\w{30,}"
    ),
    "gitlab_token": _starting("glpat-", rest=r"[\w-]{20,}"),
    "google_key": _starting("AIza", rest=r"[\w-]{35}"),
    "huggingface_token": _starting("hf_", rest=r"[A-Za-z0-9]{30,}"),
    "jwt": _starting("eyJ", rest=r"[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "npm_token": _starting("npm_", rest=r"[A-Za-z0-9]{36}"),
    "openai_key": _starting("sk-", rest=r"(?!ant-)(?:proj-|svcacct-|admin-)?[\w-]{20,}"),
    "password": _Kind(
        ("passw", "passphrase", "pwd", "secret", "token", "key"),
        re.compile(
            r"(?:p(?:assw(?:or)?d|assphrase|wd)|secret|token|a(?:pi|ccess)[_-]?key)"
            r"\w{0,20}\\{0,2}[\"']?\s{0,3}(?:=>|:=|=|:)\s{0,3}"
            r"(?:\\{0,2}[\"']([^\"'\s\\]{8,200})\\{0,2}[\"']|([\w+/=.~-]{16,200}))",
        ),
        _is_random,
        in_lower_case=True,
    ),
    "private_key": _Kind(
        ("private key",),
        re.compile(
            r"-----BEGIN (?:[A-Z]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
            r"[\s\S]{0,200}?([A-Za-z0-9+/]{40})"
        ),
    ),
    "pypi_token": _starting("pypi-", rest=r"[\w-]{50,}"),
    "sendgrid_key": _starting("SG.", rest=r"[\w-]{16,32}\.[\w-]{30,}"),
    "slack_token": _starting("xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", rest=r"[\w-]{20,}"),
    "stripe_key": _starting("sk_live_", "rk_live_", "whsec_", rest=r"[A-Za-z0-9]{20,}"),
    "url_password": _Kind(
        ("://",), re.compile(r"://[^\s:/@\"'<>]{1,100}:([^\s/@\"'<>]{1,200})@"), _is_password
    ),
}
_OPTIONAL_KINDS: Final = {
    "card_number": _Kind(
        tuple("3456"), re.compile(r"(?<![\d.-])([3-6]\d{3}(?:[ -]?\d){8,15})(?!\d)"), _is_card
    ),
}


def no_secrets(*, kinds: Sequence[str] | None = None) -> Validator:
    """Fails answers that hold a credential, in the text, the reasoning or a tool call's arguments.

    The kinds: anthropic_key, aws_key, github_token, gitlab_token, google_key, huggingface_token,
    jwt, npm_token, openai_key, password (a random value assigned to a name such as `api_key`),
    private_key, pypi_token, sendgrid_key, slack_token, stripe_key, url_password
    (scheme://user:password@host), and, only when named, card_number.

    Placeholders are fine: `sk-xxxx`, `YOUR_API_KEY`, keys with "example" in them, test cards.
    What was found is in no verdict, error or log; the feedback names its kind.

    Args:
        kinds: those to look for. None: all but card_number.

    Reasons: "secret"; abstains with "no_text" when there is nothing to look at.

    Raises:
        ConfigError: a kind is unknown, or none is named.
    """
    every = {**_KINDS, **_OPTIONAL_KINDS}
    names = tuple(_KINDS) if kinds is None else check_words("no_secrets", "kinds", kinds)
    for name in names:
        if name not in every:
            raise ConfigError(f"no_secrets: kinds has {name!r}; {did_you_mean(name, every)}")
    if not names:
        raise ConfigError("no_secrets: kinds is empty; leave it out to look for all")
    wanted = {name: every[name] for name in sorted(names)}

    def judge(answer: Answer[Any], context: Context) -> Verdict | bool:
        texts = [(text, text.lower()) for text in _shown_by(answer)]
        if not texts:
            return Verdict.abstained("no_text")
        found = [name for name, kind in wanted.items() if any(_holds(*t, kind) for t in texts)]
        if not found:
            return True
        feedback = f"The answer holds credentials ({', '.join(found)}). Leave them out."
        return Verdict.failed("secret", feedback=feedback)

    return Check("no_secrets", judge, scored=False)


def _shown_by(answer: Answer[Any]) -> Iterator[str]:
    text = text_of(answer)
    if text is None:
        text = flat_text(answer.value)
    if text is not None:
        yield text
    reasoning: object = answer.reasoning
    if isinstance(reasoning, str) and reasoning:
        yield reasoning
    for call in answer.tool_calls:
        if isinstance(call.arguments, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            yield call.arguments


def _holds(text: str, lowered: str, kind: _Kind) -> bool:
    if not any(hint in lowered for hint in kind.hints):
        return False
    matches = kind.pattern.finditer(lowered if kind.in_lower_case else text)
    return any(kind.is_real(match[match.lastindex or 0]) for match in matches)
