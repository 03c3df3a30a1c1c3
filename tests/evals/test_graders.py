from __future__ import annotations

from typing import Any

import pytest

from cascade import Answer, Context, Request, Tier
from cascade.errors import ConfigError
from cascade.evals.cases import Case
from cascade.evals.graders import GraderSettings, Reply, Ungraded, grader_of
from cascade.testing import Scripted
from cascade.types import UNSET


def case(expected: Any = UNSET, grader: str | None = None) -> Case:
    return Case("q", Request("What?"), 3, expected, grader)


async def score(grader: str | None, expected: Any, said: Any, **settings: Any) -> float:
    one = case(expected, grader)
    grade = grader_of(one, GraderSettings(**settings))
    answer = Answer(said)
    return await grade(one, Reply(answer, said, Context(request=one.request)))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("grader", "expected", "right", "wrong"),
    [
        (None, "Paris", " paris.", "Rome"),
        (None, 42, "so it is 42", "43"),
        (None, {"a": 1}, '```json\n{"a": 1.0}\n```', '{"a": 2}'),
        ("exact", "Paris", "Paris", "paris"),
        ("exact", [1, 2], "[1, 2]", "[2, 1]"),
        ("text", "Paris", "**PARIS**", "Paris, France"),
        ("contains", "paris", "It is Paris.", "Rome"),
        ("one_of", ["Paris", "Lutetia"], "lutetia", "Rome"),
        ("numeric", 1234.5, "1,234.5", "1,234.6"),
        ("numeric:0.01", 100, "99.5", "98"),
        ("set", ["red", "blue"], "Blue, red", "red"),
        ("set", ["red", "blue"], '["blue", "red"]', "red, blue, green"),
        ("set", ["red", "blue"], "- red\n- blue", "- red\n- red\n- blue"),
        ("json", [1, {"b": 2}], '[1, {"b": 2}]', "[1]"),
        ("json_field:answer", "Yes", '{"answer": "yes"}', '{"answer": "no"}'),
        ("json_field:a.b", 1, '{"a": {"b": 1}}', "not json"),
        ("regex", r"\b42\b", "it is 42", "it is 421"),
        (r"regex:ANSWER: (\w+)", "B", "ANSWER: A\nANSWER: B", "ANSWER: A"),
    ],
)
async def test_right_and_wrong(grader: str | None, expected: Any, right: str, wrong: str) -> None:
    assert await score(grader, expected, right) == 1.0
    assert await score(grader, expected, wrong) == 0.0


@pytest.mark.anyio
async def test_graded_scores() -> None:
    assert await score("set_f1", ["a", "b"], "a, c") == 0.5
    assert await score("set_f1", [], "[]") == 1.0
    fields = {"name": "Ada", "year": 1815}
    assert await score("json_field:name,year", fields, '{"name": "ada", "year": 1}') == 0.5


@pytest.mark.anyio
async def test_what_a_validator_parsed_is_graded() -> None:
    assert await score("json_field:a", 1, {"a": 1}) == 1.0
    assert await score("numeric", 3, 3) == 1.0


@pytest.mark.anyio
async def test_a_judge_sees_what_is_expected() -> None:
    model = Scripted('{"feedback": "nearly", "score": 7}', "no idea")
    tier = Tier("large", call=model)
    settings: dict[str, Any] = {"tier": {"large": tier}.__getitem__, "rubric": "Be kind."}
    assert await score("judge:large", "Paris", "It is Paris", **settings) == 0.7
    prompt = model.requests[0].messages[0]["content"]
    assert "Be kind." in prompt
    assert '"Paris"' in prompt
    with pytest.raises(Ungraded, match="no_verdict"):
        await score("judge:large", "Paris", "It is Paris", **settings)


def by_length(case: Case, value: str) -> float:
    return len(value) / 10


async def crashing(case: Case, value: str) -> float:
    raise RuntimeError(value)


@pytest.mark.anyio
async def test_a_grader_of_ones_own() -> None:
    assert await score(f"{__name__}:by_length", UNSET, "hello") == 0.5
    with pytest.raises(Ungraded, match="crashed:RuntimeError"):
        await score(f"{__name__}:crashing", UNSET, "secret")
    with pytest.raises(Ungraded, match="out_of_range"):
        await score(f"{__name__}:by_length", UNSET, "much too long")


@pytest.mark.parametrize(
    ("grader", "expected", "said"),
    [
        (None, UNSET, "expects nothing"),
        (None, [1], "expects a list"),
        ("nmeric", 1, "no grader 'nmeric'; did you mean 'numeric'"),
        ("text:x", "a", "takes no option"),
        ("numeric:2", 1, "share"),
        ("numeric", "none", "expects a number"),
        ("set", "a", "expects a list"),
        ("json_field", 1, "names a field"),
        ("regex", "(", "cannot be read"),
        ("regex:x", "a", "one group"),
        ("judge", "a", "names its tier"),
        ("nowhere_at_all:f", "a", "cannot be imported"),
    ],
)
def test_a_mistake_names_its_case(grader: str | None, expected: Any, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        grader_of(case(expected, grader), GraderSettings())
    assert said in str(raised.value)
