from __future__ import annotations

import json

import pytest

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import Answer, ToolCall, Verdict
from cascade.validators import not_refusal

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I can't help with that.",
    "I can’t share that.",
    "Sorry, I can't do that.",
    "**I'm sorry**, but I cannot help with that.",
    "> I cannot provide instructions for making weapons.",
    "I'm unable to assist with that.",
    "I am not able to provide medical advice.",
    "As an AI language model, I cannot form opinions.",
    "As an AI, I don't have personal opinions on this.",
    "I'm sorry, but as an AI I cannot answer that question.",
    "Hi there! I'm sorry, but I can't help with this.",
    "Thank you for your question. Unfortunately, I cannot assist with that.",
    "I'm sorry. I can't help with that.",
    "I understand your frustration, but I can't provide that information.",
    "While I understand the urgency, I can't provide that information.",
    "I must respectfully decline this request.",
    "I apologize, but I won't be able to help you with this.",
    "I appreciate you asking, but I'm not comfortable writing that.",
    "This request violates our content policy.",
    "I cannot fulfill this request.",
    "Unfortunately, I am unable to generate that image.",
    "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
    "Leider kann ich diese Anfrage nicht beantworten.",
    "Ich bin leider nicht in der Lage, das zu tun.",
    "Je suis désolé, mais je ne peux pas vous aider avec cela.",
    "Désolé, je ne suis pas en mesure de répondre.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Mi dispiace, ma non posso aiutarti con questa richiesta.",
    "Desculpe, mas não posso ajudar com isso.",
    "Het spijt me, maar ik kan je daar niet mee helpen.",
    "很抱歉，我无法提供帮助。",
    "申し訳ありませんが、そのご要望にはお応えできません。",
]

ANSWERS = [
    "Paris is the capital of France.",
    "I can help with that!",
    "I can't recommend this enough!",
    "I cannot stress this enough: back up your data.",
    "I can't provide enough praise for this team.",
    "I can't help but admire the plan.",
    "I can't help feeling that this is wrong.",
    "I can't find order 4711 in the list, but order 4712 is there.",
    "Sorry for the delay, your order has shipped.",
    "Sorry for the delay! Your order has shipped, and we can't help with customs.",
    "I'm sorry that your parcel was late. It will arrive on Monday.",
    "Dear Ms Smith,\nI'm sorry, but I can't offer a refund after 30 days.",
    "Hi Anna, unfortunately I can't offer a refund after 30 days.",
    "The bot said: \"I'm sorry, but I can't help with that.\"",
    "\"I'm sorry, but I can't help with that\" is what the bot said.",
    "Unfortunately, the flight is cancelled.",
    "Sorry.",
    "***",
    "As an airline, we cannot provide refunds.",
    "The plan has three parts. I will write the first. I can't help with the second.",
    "Ich kann Ihnen mitteilen, dass die Lieferung heute kommt.",
    "Leider ist die Lieferung verspätet.",
    "Je ne peux pas attendre.",
    "No puedo esperar a verte.",
    "我可以帮助你。",
]


def judged(answer: object, **options: object) -> Verdict:
    given = answer if isinstance(answer, Answer) else Answer(answer)
    return not_refusal(**options).judge_inline(given, Context())  # type: ignore[arg-type]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_fail(text: str) -> None:
    verdict = judged(text)
    assert (verdict.status, verdict.reason) == ("failed", "refusal_text")
    assert verdict.feedback


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_pass(text: str) -> None:
    assert judged(text).status == "passed"


@pytest.mark.parametrize("text", [REFUSALS[0], REFUSALS[1]])
def test_a_field_of_a_json_answer_is_judged(text: str) -> None:
    bare = json.dumps({"answer": text, "sources": []})
    assert judged(bare).reason == "refusal_text"
    assert judged(f"```json\n{bare}\n```").reason == "refusal_text"
    assert judged(json.dumps(text)).reason == "refusal_text"


def test_only_the_named_field_is_judged() -> None:
    quoting = json.dumps({"customer": REFUSALS[0], "answer": "Noted."})
    assert judged(quoting).status == "failed"
    assert judged(quoting, field="answer").status == "passed"
    assert judged(quoting, field="customer").status == "failed"
    assert judged(quoting, field="missing").status == "passed"


def test_the_structured_refusal_comes_first() -> None:
    assert judged(Answer("Sure.", refusal="No.")).reason == "refusal"
    assert judged(Answer("Sure.", finish_reason="content_filter")).reason == "content_filter"
    assert judged(Answer("Sure.", finish_reason="stop")).status == "passed"


def test_a_bare_tool_call_is_no_refusal() -> None:
    assert judged(Answer(None, tool_calls=[ToolCall("1", "search", "{}")])).status == "passed"


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_nothing_to_judge_abstains(text: str | None) -> None:
    verdict = judged(Answer(None, text=text))
    assert (verdict.status, verdict.reason) == ("abstained", "no_text")


def test_more_openings_can_be_given() -> None:
    text = "That’s  outside MY scope, I fear."
    assert judged(text).status == "passed"
    assert judged(text, phrases=["that's outside my scope"]).status == "failed"
    late = "The answer is 4. That's outside my scope."
    assert judged(late, phrases=["that's outside my scope"]).status == "passed"


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="not a list of strings"):
        not_refusal(phrases="no")
    with pytest.raises(ConfigError, match="not a list of strings"):
        not_refusal(phrases=[" "])
    with pytest.raises(ConfigError, match="not the name of a JSON field"):
        not_refusal(field="")
