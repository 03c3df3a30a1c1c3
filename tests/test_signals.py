from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import ConfigError, Request, Signals, tenant
from cascade.signals import (
    BUILT_IN,
    DECLARABLE,
    OUTPUTS,
    TASKS,
    WINDOW_CHARS,
    Reader,
    Said,
    detect_task,
    request_in,
)
from cascade.signals.languages import LANGUAGES, detect_language
from cascade.signals.shape import demands, has_code, has_numbers, questions
from cascade.simulated import workload
from cascade.tokens import estimate_tokens
from cascade.types import Fact

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def call(*args: Any, **kwargs: Any) -> Signals:
    """The signals of a call of a wrapped function."""
    return Reader("support").read(None, args, kwargs, {})


def test_every_built_in_signal_is_of_its_kind_and_says_where_it_comes_from() -> None:
    kinds = {"text": str, "count": int, "flag": bool}
    request = Request(
        [{"role": "user", "content": "Please list the 3 largest cities of France for me?"}],
        tools=[TOOL],
        max_tokens=5,
        response_format={"type": "json_object"},
    )
    with tenant("acme"):
        reader = Reader("support", by_path={"live": {"feature": "geo"}})
        signals = reader.read("live", (request,), {}, {})
        for name, signal in BUILT_IN.items():
            assert signal.source
            assert type(signals[name]) is kinds[signal.kind], name
    assert signals.known() == dict(signals) == {
        "path": "live", "cascade": "support", "feature": "geo", "tenant": "acme",
        "task": "extraction", "detected_task": "extraction", "stakes": "normal",
        "input_tokens": estimate_tokens(request), "chars": 50, "turns": 1, "questions": 1,
        "demands": 0, "tools": 1, "tool_calls": 0, "images": 0, "documents": 0, "audio": 0,
        "output": "json", "max_tokens": 5, "language": "en", "has_code": False,
        "has_numbers": True,
    }  # fmt: skip


def test_signals_are_computed_when_looked_at_and_once() -> None:
    seen: list[str] = []

    def vip(request: Request | None, signals: Signals) -> bool:
        seen.append("vip")
        return signals["feature"] == "gold"

    reader = Reader(functions={"vip": vip})
    signals = reader.read(None, ("Hello",), {}, {"feature": "gold", "customer": 7})
    assert signals.known() == {"feature": "gold", "customer": 7}
    assert seen == []
    assert (signals["vip"], signals["vip"], seen) == (True, True, ["vip"])
    assert signals["no such"] is None
    assert "vip" in signals
    assert len(signals) == len(BUILT_IN) + 3
    assert repr(signals) == "Signals(customer, feature, vip)"


def test_a_signal_that_fails_is_unknown_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: Request | None, signals: Signals) -> str:
        raise ValueError("SECRET")

    def content(request: Request | None, signals: Signals) -> str:
        return "SECRET" * 100

    def round_and_round(request: Request | None, signals: Signals) -> Any:
        return signals["again"]

    functions = {
        "broken": broken, "content": content, "again": round_and_round,
        "nan": lambda r, s: float("nan"), "odd": lambda r, s: object(),
    }  # fmt: skip
    reader = Reader("support", functions)
    with caplog.at_level(logging.WARNING, "cascade"):
        for _ in range(2):
            signals = reader.read(None, ("Hello",), {}, {})
            assert [signals[name] for name in functions] == [None] * 5
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == 4
    assert "signal='broken' error='ValueError'" in logged[0]
    assert "SECRET" not in "".join(logged)


def test_what_is_declared_goes_first_and_only_what_can_be() -> None:
    reader = Reader(
        functions={"vip": lambda r, s: False}, by_path={"p": {"task": "a", "stakes": "b"}}
    )
    declared: dict[str, Fact] = {
        "task": "mine",
        "vip": True,
        "language": "sw",
        "ratio": float("inf"),
    }
    signals = reader.read("p", ("Hello",), {}, declared)
    assert (signals["task"], signals["vip"], signals["stakes"]) == ("mine", True, "b")
    assert (signals["language"], signals["ratio"]) == ("sw", None)
    # None is no news: the path's word holds, and what can be computed is.
    unknown: dict[str, Fact] = {"task": None, "stakes": float("nan"), "language": None, "vip": None}
    signals = reader.read("p", ("Where is the lamp of my friend?",), {}, unknown)
    assert [signals[name] for name in unknown] == ["a", "b", "en", None]
    for name in set(BUILT_IN) - DECLARABLE:
        with pytest.raises(ConfigError, match=f"'{name}' is computed"):
            reader.read("p", ("Hello",), {}, {name: 1})


MESSAGES = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("args", "kwargs", "found"),
    [
        ((Request("a"), "b"), {}, Request("a")),
        (("b", 5), {"messages": MESSAGES}, Request(MESSAGES)),
        ((), {"x": 1, "body": {"messages": MESSAGES, "max_tokens": 5, "stream": True, "model": ""}},
         Request(MESSAGES, max_tokens=5)),
        ((MESSAGES,), {"tools": [TOOL], "name": "x"}, Request(MESSAGES, tools=[TOOL])),
        ((tuple(MESSAGES),), {}, Request(MESSAGES)),
        (("a", 5, None), {"b": "c", "tools": ["d"]}, Request("a\nc")),
        (({"subject": "a", "lines": ["b", {"x": "c"}]},), {}, Request("a\nb\nc")),
        ((["a", "b"],), {}, Request("a\nb")),
        ((5, None, [], {}), {}, None),
        (("",), {}, None),
        (([{"content": "x"}],), {}, Request("x")),
    ],
)  # fmt: skip
def test_the_request_is_found_among_arguments(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], found: Request | None
) -> None:
    assert request_in(args, kwargs) == found


def test_arguments_that_hold_themselves_or_are_deep_do_no_harm() -> None:
    around: list[Any] = ["a"]
    around.append(around)
    deep: Any = "b"
    for _ in range(100_000):
        deep = [deep]
    assert request_in((around, deep), {}) == Request("a\nb")


def test_where_there_is_no_request_what_needs_one_is_unknown() -> None:
    signals = call(5)
    unknown = {name for name, value in signals.items() if value is None}
    assert set(BUILT_IN) - unknown == {"cascade", "stakes"}


def test_what_messages_hold_is_counted() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "12345"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, picture, picture]},
        {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]},
        {"role": "tool", "tool_call_id": "1", "content": "0123456789"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "2"}], "function_call": {}},
        {"role": "user", "content": [{"type": "tool_result", "content": "x"}, {"type": "file"},
                                     {"type": "input_audio"}, {"type": []}, 5]},
        {"content": ["a", "b"]},
    ]  # fmt: skip
    signals = Signals.of(messages)
    counted = ("chars", "turns", "images", "documents", "audio", "tool_calls", "tools")
    assert {name: signals[name] for name in counted} == {
        "chars": 22, "turns": 3, "images": 2, "documents": 1, "audio": 1, "tool_calls": 3,
        "tools": 0,
    }  # fmt: skip


def test_what_tools_answer_is_no_turn_and_counts_alike_in_either_form() -> None:
    question = {"role": "user", "content": "Where is it?"}
    openai = [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "1", "content": "r" * 500},
    ]
    asked = {"role": "assistant", "content": [{"type": "tool_use", "id": "1"}]}
    counted = ("chars", "turns", "tool_calls")
    expected = [512, 1, 1]
    assert [Signals.of([question, *openai])[name] for name in counted] == expected
    for content in ("r" * 500, [{"type": "text", "text": "r" * 250}] * 2, ["r" * 500]):
        result = {"type": "tool_result", "tool_use_id": "1", "content": content}
        answered = {"role": "user", "content": [result]}
        signals = Signals.of([question, asked, answered])
        assert [signals[name] for name in counted] == expected
        # Beside it the user may speak.
        more = {"role": "user", "content": [result, {"type": "text", "text": "Go on."}]}
        assert Signals.of([question, asked, more])["turns"] == 2
    assert Signals.of([{"role": "user", "content": []}])["turns"] == 1


def test_the_text_is_the_last_that_the_user_said() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": "last"}, {"type": "text"}]},
        {"role": "user", "content": [{"type": "tool_result", "content": "42"}]},
        {"role": "assistant", "content": "answer"},
    ]
    said = Said(Request(messages))
    assert (said.text, said.system) == ("last", "Be brief.")
    assert Said(Request([{"role": "assistant", "content": "x"}])).text == ""


@given(st.lists(st.text("ab\n", max_size=3 * WINDOW_CHARS), min_size=1, max_size=4))
def test_of_a_long_text_both_ends_are_read(texts: list[str]) -> None:
    parts = [{"type": "text", "text": text} for text in texts]
    whole = "\n".join(texts)
    text = Said(Request([{"role": "user", "content": parts}])).text
    assert len(text) <= 2 * WINDOW_CHARS + 1
    if not whole.strip():
        assert text == ""
    elif len(text) < 2 * WINDOW_CHARS:
        assert text == whole
    else:
        assert text[:WINDOW_CHARS] == whole[:WINDOW_CHARS]
        assert text[-WINDOW_CHARS:] == whole[-WINDOW_CHARS:]


@pytest.mark.parametrize(
    ("params", "output"),
    [
        ({}, "text"),
        ({"response_format": {"type": "text"}}, "text"),
        ({"response_format": {"type": "json_object"}}, "json"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "schema"),
        ({"response_format": dict}, "schema"),
        ({"tools": [TOOL]}, "text"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool"),
        ({"tool_choice": {"type": "function"}}, "tool"),
        ({"tool_choice": "auto"}, "text"),
        ({"tool_choice": {"type": "auto"}}, "text"),
        ({"tool_choice": {"type": "none"}, "response_format": {"type": "json_object"}}, "json"),
        ({"tool_choice": {"type": "any"}}, "tool"),
        ({"tool_choice": {"type": "tool", "name": "f"}}, "tool"),
    ],
)
def test_the_requested_output(params: dict[str, Any], output: str) -> None:
    assert Signals.of(Request("x", **params))["output"] == output
    assert output in OUTPUTS


@pytest.mark.parametrize(
    ("params", "limit"),
    [({}, None), ({"max_tokens": 7}, 7), ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
     ({"max_tokens": "7"}, None), ({"max_tokens": True}, None)],
)  # fmt: skip
def test_the_limit_of_the_answer(params: dict[str, Any], limit: int | None) -> None:
    assert Signals.of(Request("x", **params))["max_tokens"] == limit


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Hello.", 0),
        ("What is it?", 1),
        ("What is it? What is it?", 1),
        ("What is it, and why does it hurt?", 2),
        ("Is it red and blue? Or green?", 2),
        ("???", 0),
        ("Answer these:\n1. the colour\n2. the size\n3) the weight", 3),
        ("1. Where is it?\n2. Who has it?", 2),
        ("1. only one", 0),
        ("这是什么？", 1),
        ("这是什么？那是谁？", 2),
        ("See https://example.com/search?q=lamp and http://example.com/p?id=1, please.", 0),
        ("Why is https://example.com/p?id=1 down?", 1),
        ('What (and where?) is it?\nWho said "why?" **When?**', 5),
        ("Really?! Who was it??", 2),
    ],
)
def test_questions_are_told_apart(text: str, count: int) -> None:
    assert questions(text) == count


def test_shapes() -> None:
    assert has_code("look:\n```\nx\n```")
    assert has_code("def f(x):\n    return x\nfor (;;) {\n}")
    assert has_code("import os\nconst x = 1;\nlet y = 2;")
    assert not has_code("I import goods from Spain;\nlet me know.\nreturn policy: none.")
    assert has_code("x = 5\nprint(x)")
    assert has_code("for i, name in enumerate(names):\n    total += sizes[i]")
    assert has_code("items.sort();\ncall(\n  a,\n);")
    assert not has_code("a = 3\nb = 4\nc = 5\nWhat is a + b + c?")
    assert not has_code("For lunch:\nfor each of the guests in the hall: soup;\nfor me: bread;")
    clauses = (
        "a) the seller (see Annex 1) delivers;\n(b) the buyer pays (in full);\n(c) both agree;"
    )
    assert not has_code(f"The parties agree as follows (in short):\n{clauses}\nIs this usual?")
    assert not has_code("Please buy:\nmilk;\neggs;\nbread.")
    assert not has_code("")
    assert has_numbers("room ٣")
    assert not has_numbers("no digits")
    assert demands("You MUST use at most ten words. Do not say exactly why.") == 4


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the invoice that you sent for my order?", "en"),
        ("Wo ist die Rechnung, die ihr mir für den Auftrag geschickt habt?", "de"),
        ("Où est la facture que vous avez envoyée pour ma commande ?", "fr"),
        ("¿Dónde está la factura que me enviaron para el pedido?", "es"),
        ("Dov'è la fattura che mi avete mandato per il mio ordine?", "it"),
        ("Onde está a fatura que não me enviaram com o pedido?", "pt"),
        ("Waar is de factuur? Het is niet mijn schuld dat hij er niet is.", "nl"),
        ("Hvor er fakturaen? Jeg har ikke modtaget den, og jeg ved ikke hvad jeg skal.", "da"),
        ("Kan du hjælpe mig med at skrive til min chef om at jeg er syg?", "da"),
        ("Kan du hjelpe meg med å skrive til sjefen min om at jeg er syk?", "no"),
        ("Kan du hjälpa mig med att skriva till min chef efter mötet?", "sv"),
        ("Var är min faktura? Jag har inte fått den och vet inte vad jag ska göra.", "sv"),
        ("Hvordan kan jeg få min pakke i dag? Den er ikke kommet.", None),  # Danish or Norwegian
        ("Где мой счёт за последний заказ?", "ru"),
        ("我的发票在哪里请告诉我", "zh"),
        ("請求書はどこにありますか", "ja"),
        ("제 청구서는 어디에 있습니까", "ko"),
        ("أين فاتورة طلبي الأخير", "ar"),
        ("ok", None),
        ("12345 67890 ???", None),
        ("xyzzy plugh foo bar baz qux", None),
        ("", None),
    ],
)  # fmt: skip
def test_languages(text: str, language: str | None) -> None:
    assert detect_language(text) == language
    assert language is None or language in LANGUAGES


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("Classify this review as positive or negative: the lamp broke at once.", "classification"),
        ("Is this email spam or not? Win a prize now!", "classification"),
        ("Extract all dates and amounts from the following invoice as JSON.", "extraction"),
        ("What is the capital of Australia?", "lookup"),
        ("When does the store in Porto open on Saturdays?", "lookup"),
        ("Translate into German: the parcel is late.", "conversion"),
        ("Convert this table to CSV.", "conversion"),
        ("Could you please summarise the report in three bullet points?", "summarising"),
        ("TLDR of this thread:", "summarising"),
        ("Write an email to a customer whose parcel was lost.", "drafting"),
        ("Draft a press release about our new office.", "drafting"),
        ("A train leaves at 9 and travels 120 km at 60 km/h. How long does it take?", "reasoning"),
        ("Prove that the square root of 2 is irrational.", "reasoning"),
        ("Write a function in Python that reverses a list.", "coding"),
        ("Fix this code:\n```python\nprint(x\n```", "coding"),
        ("Plan a trip of three days to Lisbon with an itinerary.", "planning"),
        ("Hi, how are you?", "chat"),
        ("Thanks!", "chat"),
        ("Lorem ipsum dolor sit amet. " * 20, "other"),
    ],
)
def test_tasks(text: str, task: str) -> None:
    detection = detect_task(text)
    assert detection.task == task
    assert task in TASKS
    assert detection.cues == () or detection.cues[0].task == task or task == "chat"


def test_the_systems_instructions_count_half() -> None:
    alone = detect_task("The lamp broke at once.", "Classify each review.")
    assert (alone.task, alone.cues[0].weight) == ("classification", 2)
    told = detect_task("Translate it into German.", "Classify each review.")
    assert told.task == "conversion"


def test_the_tasks_of_the_workload_are_mostly_told_apart() -> None:
    """How good the guess is on tickets made from templates: an easy set, as the docs say."""
    expected = {"lookup": "lookup", "drafting": "drafting", "hard": "reasoning"}
    right = Counter(
        detect_task(case.prompt, case.messages[0]["content"]).task == expected[case.kind]
        for case in workload(300, seed=11)
    )
    assert right[True] >= 0.8 * right.total()


ADVERSARIAL = {
    "one letter": "a",
    "spaces": " ",
    "line feeds": "\n",
    "question marks": "?",
    "digits": "7",
    "brackets": "{[(",
    "numbered": "1. ",
    "and what": "and what ",
    "fences": "` ",
    "semicolons": "; ",
    "Han": "我",
    "broken": "\ud800",
    "write a": "write a ",
    "at most": "at most ",
}


@pytest.mark.parametrize("piece", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
def test_no_text_is_too_long_or_too_odd(piece: str) -> None:
    """2 MB of it: what took more than one pass would not come back."""
    text = piece * (2_000_000 // len(piece))
    values = dict(Signals.of(Request([{"role": "user", "content": text}])))
    assert values["chars"] == len(text)
    many = [{"role": "user", "content": piece * 10}] * 20_000
    assert dict(Signals.of(many))["turns"] == 20_000


@pytest.mark.parametrize("piece", ["word ", "{;}\n?", "1. a\n"])
def test_what_is_done_does_not_grow_with_the_prompt(piece: str) -> None:
    """As many calls, of Python's own functions too, for 2 MB as for 20 kB."""

    def calls(text: str) -> int:
        count = 0

        def seen(frame: object, event: str, arg: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        request = Request(text)
        sys.setprofile(seen)
        try:
            values = dict(Signals.of(request))
        finally:
            sys.setprofile(None)
        assert values["chars"] == len(text)
        return count

    assert calls(piece * (2_000_000 // len(piece))) == calls(piece * (20_000 // len(piece)))


def test_the_documentation_names_every_signal_and_task() -> None:
    page = (Path(__file__).parent.parent / "docs" / "routing.md").read_text(encoding="utf-8")
    assert [name for name in (*BUILT_IN, *TASKS) if f"`{name}`" not in page] == []


@given(
    st.recursive(
        st.one_of(st.none(), st.text(max_size=20), st.integers(), st.booleans()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(
                ["role", "content", "type", "text", "messages", "tools", "tool_calls", "user"]
            ), inner, max_size=4),
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_whatever_a_function_is_called_with_is_looked_at_calmly(value: Any) -> None:
    values = dict(call(value, content=value, messages=value))
    json.dumps(values)
