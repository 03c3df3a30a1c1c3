from __future__ import annotations

import datetime
import enum
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import UNSET, Answer, ToolCall
from cascade.validation import Validator
from cascade.validators.jsons import json_schema, json_value, parsed, pydantic_model

TICKET = {
    "type": "object",
    "properties": {"team": {"enum": ["billing", "tech"]}, "urgent": {"type": "boolean"}},
    "required": ["team"],
    "additionalProperties": False,
}


class Ticket(BaseModel):
    team: str
    due: datetime.date | None = None
    count: int = 0


def judged(validator: Validator, answer: object, context: Context | None = None) -> Any:
    made = answer if isinstance(answer, Answer) else Answer(answer)
    return validator.judge_inline(made, context or Context())


@pytest.mark.anyio
async def test_the_parsed_value_is_handed_on() -> None:
    verdict = await json_value().judge(Answer('Response: {"a": 1}'))
    assert (verdict.status, verdict.value, verdict.reason) == ("passed", {"a": 1}, "")


def test_broken_json_fails_with_feedback() -> None:
    verdict = judged(json_value(), '{"a": oops}')
    assert (verdict.status, verdict.reason, verdict.value) == ("failed", "not_json", UNSET)
    assert "line 1, column 7" in verdict.feedback


def test_a_mended_answer_says_so() -> None:
    verdict = judged(json_value(repair=True), "{'a': 1}")
    assert (verdict.status, verdict.reason, verdict.value) == ("passed", "repaired", {"a": 1})


def test_nothing_to_read_abstains() -> None:
    for validator in (json_value(), json_schema({}), pydantic_model(Ticket)):
        assert judged(validator, None).reason == "no_text"
        assert judged(validator, None).status == "abstained"


@pytest.mark.parametrize("value", [{"a": 1}, [1], 3, 2.5, True])
def test_what_the_call_returned_is_judged_rather_than_its_text(value: object) -> None:
    verdict = judged(json_value(), Answer(value, text="not json"))
    assert verdict.status == "passed"
    assert verdict.value is value


def test_a_returned_value_that_is_no_json_fails() -> None:
    assert judged(json_value(), {"a": float("nan")}).reason == "not_finite"
    assert judged(json_value(), {"a": object()}).reason == "not_json"


def test_an_answer_is_parsed_once_for_all_its_validators() -> None:
    answer, context = Answer('{"a": 1}'), Context()
    first = judged(json_value(), answer, context).value
    assert judged(json_schema({"type": "object"}), answer, context).value is first
    assert parsed(Answer('{"a": 2}'), context).value == {"a": 2}


def test_a_schema_passes_and_fails() -> None:
    validator = json_schema(TICKET)
    assert judged(validator, '{"team": "tech"}').value == {"team": "tech"}
    verdict = judged(validator, '{"team": "sales", "urgent": "no", "x": 1}')
    assert (verdict.status, verdict.reason) == ("failed", "invalid")
    assert "/team: " in verdict.feedback
    assert "/urgent: 'no' is not of type 'boolean'" in verdict.feedback
    assert len(verdict.feedback.splitlines()) == 4


def test_a_schema_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ticket.json"
    file.write_text(json.dumps(TICKET), encoding="utf-8")
    assert judged(json_schema(str(file)), '{"team": "tech"}').status == "passed"


def test_the_schema_is_a_copy() -> None:
    schema: dict[str, Any] = {"type": "object"}
    validator = json_schema(schema)
    schema["type"] = "array"
    assert judged(validator, "{}").status == "passed"


def test_feedback_is_bounded() -> None:
    schema = {"items": {"type": "integer"}}
    verdict = judged(json_schema(schema), json.dumps(["x" * 10_000] * 1_000))
    assert len(verdict.feedback) < 2_000


def test_integers_stay_exact() -> None:
    validator = json_schema({"const": 12345678901234567890123})
    assert judged(validator, "12345678901234567890123").value == 12345678901234567890123
    assert judged(validator, "12345678901234567890124").status == "failed"


def test_a_pydantic_model_makes_the_instance() -> None:
    verdict = judged(pydantic_model(Ticket), '{"team": "tech", "due": "2030-01-02", "count": "3"}')
    assert verdict.value == Ticket(team="tech", due=datetime.date(2030, 1, 2), count=3)


def test_strict_takes_dates_from_strings_but_no_numbers() -> None:
    validator = pydantic_model(Ticket, strict=True)
    assert judged(validator, '{"team": "tech", "due": "2030-01-02"}').status == "passed"
    verdict = judged(validator, '{"team": "tech", "count": "3"}')
    assert verdict.reason == "invalid"
    assert "/count: " in verdict.feedback


def test_an_instance_passes_as_it_is() -> None:
    ticket = Ticket(team="tech")
    assert judged(pydantic_model(Ticket), ticket).value is ticket


def test_any_type_of_pydantic_will_do() -> None:
    class Color(enum.Enum):
        RED = "red"

    assert judged(pydantic_model(list[Color]), '["red"]').value == [Color.RED]
    assert judged(pydantic_model(TypeAdapter(set[int])), "[1, 1]").value == {1}
    assert judged(pydantic_model("datetime:date"), '"2030-01-02"').value.year == 2030


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: json_value(prose="no"), "prose='no'"),  # type: ignore[arg-type]
        (lambda: json_schema("missing.json"), "not a readable JSON file"),
        (lambda: json_schema([]), "give a JSON object"),  # type: ignore[arg-type]
        (lambda: pydantic_model("nowhere:Ticket"), "package.module:Name"),
        (lambda: pydantic_model("nonsense"), "'nonsense' cannot be imported"),
        (lambda: pydantic_model(object()), "give a model class"),
    ],
)
def test_options_are_checked_at_construction(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


ODD: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.builds(object),
    lambda inner: st.lists(inner) | st.dictionaries(st.integers() | st.text(), inner),
)
ALL = [
    json_value(repair=True),
    json_schema({"type": "object", "minProperties": 1, "uniqueItems": True, "multipleOf": 3}),
    json_schema({"items": {"type": "number"}}, engine="jsonschema"),
    pydantic_model(Ticket),
    pydantic_model(dict[str, int]),
]


@given(ODD, st.none() | st.text(st.characters()), st.sampled_from(ALL))
def test_no_answer_breaks_them(value: Any, text: str | None, validator: Validator) -> None:
    answer = Answer(value, text=text, tool_calls=[ToolCall(None, "x", "{")], raw=value)
    assert not judged(validator, answer).reason.startswith("crashed")
