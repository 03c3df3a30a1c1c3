from __future__ import annotations

import logging
import string
from random import Random

import pytest

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import Answer, ToolCall, Verdict
from cascade.validators import no_secrets

# Keys are put together here, so that no scanner of this repository takes them for real ones.
CHARACTERS = string.ascii_letters + string.digits


def drawn(count: int, characters: str = CHARACTERS) -> str:
    return "".join(Random(7).choices(characters, k=count))


SECRETS = {
    "anthropic_key": "-".join(["sk", "ant", "api03", drawn(90)]),
    "aws_key": "AK" + "IA" + drawn(16, string.ascii_uppercase + string.digits),
    "github_token": "gh" + "p_" + drawn(36),
    "gitlab_token": "gl" + "pat-" + drawn(20),
    "google_key": "AI" + "za" + drawn(35),
    "huggingface_token": "h" + "f_" + drawn(34, string.ascii_letters),
    "jwt": "ey" + "J" + drawn(30) + ".ey" + "J" + drawn(60) + "." + drawn(40),
    "npm_token": "np" + "m_" + drawn(36),
    "openai_key": "-".join(["sk", "proj", drawn(64)]),
    "password": "db_pass" + 'word = "' + "q7Rt2mXz9Lp4" + '"',
    "private_key": "-----BEGIN RSA PRI" + "VATE KEY-----\n" + drawn(64) + "\n" + drawn(64),
    "pypi_token": "py" + "pi-" + drawn(80),
    "sendgrid_key": "S" + "G." + drawn(22) + "." + drawn(43),
    "slack_token": "xo" + "xb-" + drawn(12, string.digits) + "-" + drawn(24),
    "stripe_key": "sk" + "_live_" + drawn(24),
    "url_password": "postgres://app:" + "q7Rt2m" + "@db.internal/orders",
    "card_number": " ".join(["4929", "7318", "0265", "4487"]),
}


def with_check_digit(digits: str) -> str:
    """The number of which Luhn's formula says that it is one, by trying the last digit."""
    for last in string.digits:
        number = digits[:-1] + last
        doubled = [sum(divmod(2 * int(d), 10)) for d in number[-2::-2]]
        if (sum(map(int, number[-1::-2])) + sum(doubled)) % 10 == 0:
            return number
    raise AssertionError(digits)


CARD = with_check_digit(SECRETS["card_number"].replace(" ", ""))
SECRETS["card_number"] = " ".join(CARD[start : start + 4] for start in range(0, 16, 4))


def judged(answer: object, kinds: list[str] | None = None) -> Verdict:
    given = answer if isinstance(answer, Answer) else Answer(answer)
    return no_secrets(kinds=kinds).judge_inline(given, Context())


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_each_kind_is_found_alone(kind: str) -> None:
    answer = f"Use this one: {SECRETS[kind]} and restart."
    verdict = judged(answer, [kind])
    assert (verdict.status, verdict.reason) == ("failed", "secret")
    assert kind in (verdict.feedback or "")
    assert judged("Use the one from your dashboard.", [kind]).status == "passed"


@pytest.mark.parametrize("kind", sorted(SECRETS.keys() - {"card_number"}))
def test_all_kinds_are_looked_for_but_cards(kind: str) -> None:
    assert judged(SECRETS[kind]).status == "failed"


def test_card_numbers_are_looked_for_when_named() -> None:
    card = SECRETS["card_number"]
    assert judged(card).status == "passed"
    assert judged(card, ["card_number"]).status == "failed"
    assert judged(card.replace(" ", "-"), ["card_number"]).status == "failed"
    assert judged("1" + card, ["card_number"]).status == "passed"
    wrong = CARD[:-1] + str((int(CARD[-1]) + 1) % 10)
    assert judged(wrong, ["card_number"]).status == "passed"
    assert judged("4242 4242 4242 4242", ["card_number"]).status == "passed"


def test_one_kind_is_not_taken_for_another() -> None:
    assert judged(SECRETS["anthropic_key"], ["openai_key"]).status == "passed"


@pytest.mark.parametrize(
    "text",
    [
        "sk-" + "x" * 40,
        "sk-" + "YOUR_API_KEY_GOES_HERE_PLEASE",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "ghp_" + "0" * 36,
        "postgres://user:password@localhost/db",
        "postgres://user:${DB_PASSWORD}@localhost/db",
        "https://example.com:8080/a@b",
        'api_key = "<your key>"',
        'api_key = os.environ["OPENAI_API_KEY"]',
        'password = "change_me_1234"',
        "max_tokens=max_output_tokens_2",
        "token = tokens[index_1].strip()",
        "secret=hashlib.sha256(data2).hexdigest()",
        "The token is: unforgettable-and-long",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "task-" + drawn(30),
        "Version 4.2.1 of 2024-01-05.",
    ],
)
def test_placeholders_and_prose_are_fine(text: str) -> None:
    assert judged(text).status == "passed"


@pytest.mark.parametrize("kind", ["openai_key", "password", "private_key"])
def test_a_secret_is_found_inside_json_and_code(kind: str) -> None:
    secret = SECRETS[kind].replace("\n", "\\n").replace('"', '\\"')
    assert judged(f'{{"code": "{secret}"}}').status == "failed"
    assert judged(f"```\n{SECRETS[kind]}\n```").status == "failed"


def test_tool_calls_reasoning_and_values_are_looked_at() -> None:
    key = SECRETS["openai_key"]
    call = ToolCall("1", "deploy", f'{{"env": "{key}"}}')
    assert judged(Answer(None, tool_calls=[call])).status == "failed"
    assert judged(Answer("done", reasoning=f"I was given {key}")).status == "failed"
    assert judged(Answer({"config": [{"key": key}]})).status == "failed"
    assert judged(Answer({"config": ["none"]})).status == "passed"


def test_nothing_to_look_at_abstains() -> None:
    verdict = judged(Answer(None))
    assert (verdict.status, verdict.reason) == ("abstained", "no_text")


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_what_was_found_is_nowhere(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    verdict = judged(f"Here: {SECRETS[kind]}", [kind])
    pieces = [piece for piece in SECRETS[kind].split() if len(piece) > 3 and piece != "password"]
    shown = f"{verdict!r} {verdict.reason} {verdict.feedback} {verdict.value!r} {caplog.text}"
    assert not any(piece in shown for piece in pieces)


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="did you mean 'openai_key'"):
        no_secrets(kinds=["openai_keys"])
    with pytest.raises(ConfigError, match="leave it out"):
        no_secrets(kinds=[])
    with pytest.raises(ConfigError, match="not a list"):
        no_secrets(kinds="jwt")
