from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import Answer, Request, ToolCall
from cascade.validation import Validator
from cascade.validators.tools import tool_call

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
NOW = {"type": "function", "function": {"name": "now"}}
ANTHROPIC = {"name": "weather", "input_schema": CITY}


def judged(
    validator: Validator, *calls: tuple[str, str], text: str | None = None, **params: Any
) -> Any:
    answer = Answer(None, text=text, tool_calls=[ToolCall("1", *call) for call in calls])
    request = Request("hi", **params) if params else None
    return validator.judge_inline(answer, Context(request=request))


PARIS = ("weather", '{"city": "Paris"}')


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (PARIS, ""),
        (("now", ""), ""),
        (("now", "{}"), ""),
        (("wether", "{}"), "unknown_tool"),
        (("weather", '{"city": "Par'), "arguments_not_json"),
        (("weather", 'Sure: {"city": "Paris"}'), "arguments_not_json"),
        (("weather", '{"city": "a", "city": "b"}'), "arguments_not_json"),
        (("weather", '{"city": 3}'), "arguments_invalid"),
        (("weather", ""), "arguments_invalid"),
        (("now", "[]"), "arguments_invalid"),
    ],
)
def test_calls_fit_their_tools(call: tuple[str, str], reason: str) -> None:
    verdict = judged(tool_call([WEATHER, NOW]), call)
    assert (verdict.status, verdict.reason) == ("failed" if reason else "passed", reason)
    assert bool(verdict.feedback) == bool(reason)


def test_feedback_names_the_tool_and_the_place() -> None:
    verdict = judged(tool_call([WEATHER]), PARIS, ("weather", '{"city": 3}'))
    assert "'weather'" in verdict.feedback
    assert "/city: 3 is not of type 'string'" in verdict.feedback
    assert "there are: weather" in judged(tool_call([WEATHER]), ("x", "{}")).feedback


def test_text_alone_passes_unless_a_call_is_required() -> None:
    assert judged(tool_call([WEATHER]), text="It rains.").status == "passed"
    assert judged(tool_call([WEATHER])).reason == "no_tool_call"
    assert judged(tool_call([WEATHER], required=True), text="It rains.").reason == "no_tool_call"
    assert judged(tool_call([WEATHER], required=True), PARIS).status == "passed"
    assert judged(tool_call([WEATHER, NOW], required="now"), PARIS).reason == "missing_tool"


def test_calls_are_counted() -> None:
    assert judged(tool_call([WEATHER], max_calls=1), PARIS, PARIS).reason == "too_many_calls"
    assert judged(tool_call([WEATHER]), PARIS, PARIS).status == "passed"


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ("auto", ""),
        ("required", "no_tool_call"),
        ({"type": "any"}, "no_tool_call"),
        ({"type": "function", "function": {"name": "now"}}, "no_tool_call"),
        ({"type": "tool", "name": "now"}, "no_tool_call"),
    ],
)
def test_the_request_s_tool_choice_is_what_is_required(choice: Any, reason: str) -> None:
    params = {"tools": [WEATHER, NOW], "tool_choice": choice}
    assert judged(tool_call(), text="It rains.", **params).reason == reason
    assert judged(tool_call(required=False), text="It rains.", **params).status == "passed"
    if isinstance(choice, dict) and choice["type"] != "any":
        assert judged(tool_call(), PARIS, **params).reason == "missing_tool"


def test_tools_come_from_the_request_when_none_are_given() -> None:
    for tool in (WEATHER, ANTHROPIC):
        assert judged(tool_call(), PARIS, tools=[tool]).status == "passed"
        assert judged(tool_call(), ("weather", "{}"), tools=[tool]).reason == "arguments_invalid"


@pytest.mark.parametrize(
    ("tools", "reason"),
    [
        ([], "no_tools"),
        (None, "no_tools"),
        ([{"type": "function"}], "bad_tools"),
        ([3], "bad_tools"),
        (3, "bad_tools"),
        ([{"name": "a", "parameters": {"type": "strnig"}}], "bad_tools"),
        ([{"name": "a", "parameters": object()}], "bad_tools"),
        ([{"name": "a", "parameters": 7}], "bad_tools"),
        ([{"function": 7}], "bad_tools"),
    ],
    ids=[str(number) for number in range(9)],
)
def test_without_tools_that_can_be_read_it_abstains(tools: Any, reason: str) -> None:
    verdict = judged(tool_call(), PARIS, tools=tools)
    assert (verdict.status, verdict.reason) == ("abstained", reason)
    assert judged(tool_call(), PARIS).reason == "no_tools"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: tool_call([{"type": "function"}]), "tool 0 has no name"),
        (lambda: tool_call([WEATHER, ANTHROPIC]), "two tools are named 'weather'"),
        (lambda: tool_call([{"name": "a", "parameters": {"type": "x"}}]), "tool_call: a: the sch"),
        (lambda: tool_call([WEATHER], required="now"), "none of the tools: weather"),
        (lambda: tool_call([WEATHER], required=3), "required=3"),  # type: ignore[arg-type]
        (lambda: tool_call([WEATHER], max_calls=0), "max_calls=0"),
    ],
    ids=[str(number) for number in range(6)],
)
def test_options_are_checked_at_construction(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


@given(st.text(st.characters()), st.text(st.characters()) | st.just(PARIS[1]), st.integers(0, 2))
def test_no_call_breaks_it(name: str, arguments: str, count: int) -> None:
    verdict = judged(tool_call([WEATHER]), *[(name, arguments), ("weather", arguments)][:count])
    assert not verdict.reason.startswith("crashed")
