from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.types import UNSET
from cascade.validators.json_text import MAX_DEPTH, Unacceptable, check_json, read_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)

FOUND: list[tuple[str, Any]] = [
    ("42", 42),
    ('"word"', "word"),
    ("null", None),
    ("\ufeff[1]", [1]),
    ('Response: {"a": 1}', {"a": 1}),
    ('{"a": 1}\n\nHope this helps!', {"a": 1}),
    ('```json\n{"a": 1}\n```', {"a": 1}),
    ("```\n42\n```", 42),
    ('Sure:\n```JSON\n{"a": 1}\n```\nDone.', {"a": 1}),
    ('Draft {"a": 0}, then\n```json\n{"a": 1}\n```', {"a": 1}),
    ('As [1] and {name} say: {"a": 1}', {"a": 1}),
    ('{"a": 1}\nonce more {"a": 1}', {"a": 1}),
    ("The list is [1, 2].", [1, 2]),
    ('<think>{"a": 0} or</think>{"a": 1}', {"a": 1}),
    ('See {"code": "```json\\n{}\\n```"}', {"code": "```json\n{}\n```"}),
    ('"\\ud83d\\ude00"', "\U0001f600"),
    ("12345678901234567890", 12345678901234567890),
]

REFUSED = [
    ("", "empty"),
    (" \n", "empty"),
    ("I do not know.", "not_json"),
    ("True", "not_json"),
    ('{"a": 1', "not_json"),
    ('{"a": 1}}', "not_json"),
    ('{"a": [1, 2], "b": oops}', "not_json"),
    ('[{"a": [1, 2]}, {"b": oops}]', "not_json"),
    ('Broken {"a": oops} but whole [1, 2]', "not_json"),
    ('```json\n{"a": oops}\n```\n{"b": 1}', "not_json"),
    ('{"a": 1} or {"a": 2}', "ambiguous"),
    ('{"a": 1} or {"a": true}', "ambiguous"),
    ("{}" * 2_000, "ambiguous"),
    ("NaN", "not_finite"),
    ('{"a": -Infinity}', "not_finite"),
    ("[1e999]", "not_finite"),
    ('{"a": 1, "a": 2}', "duplicate_key"),
    ('Well: {"b": {"a": 1, "a": 2}}', "duplicate_key"),
    ("9" * 5_000, "number_too_long"),
    ('"\\ud800"', "lone_surrogate"),
    ('"\ud800"', "lone_surrogate"),
    ("[" * 200 + "]" * 200, "too_deep"),
    ("[" * 100_000, "too_deep"),
    ('Well: {"a":' + '{"a":' * 100_000, "too_deep"),
]

MENDED: list[tuple[str, Any]] = [
    ("{'a': True, 'b': None,}", {"a": True, "b": None}),
    ('{"a": [1, 2,', {"a": [1, 2]}),
    ('{"a": {"b": 1}', {"a": {"b": 1}}),
    ('{a: 1, b_c: "x"}', {"a": 1, "b_c": "x"}),
    ('{"a": 1 // one\n, /* two */ "b": 2 # three\n}', {"a": 1, "b": 2}),
    ('{"a": "x\ny"}', {"a": "x\ny"}),
    ("{'a': 'it\\'s \"so\"'}", {"a": 'it\'s "so"'}),
    ('{"a": "He said "hi" to me", "b": 2}', {"a": 'He said "hi" to me', "b": 2}),
    ('{"a": "\\d+\\n"}', {"a": "\\d+\n"}),
    ('Well [1]:\n```json\n{"a": 1,}\n```', {"a": 1}),
]

BEYOND_MENDING = [
    '{"a": "brok',
    '{"a": ,}',
    "[1, maybe]",
    "[1,,]",
    "{",
    "[",
    "{,}",
    '{"a": 1]',
    '{"a" "b"}',
    "{'a': 1} or {'a': 2}",
    "no json",
]


@pytest.mark.parametrize(("text", "value"), FOUND)
def test_the_one_value_is_found(text: str, value: object) -> None:
    read = read_json(text)
    assert (read.value, read.reason) == (value, "")
    assert type(read.value) is type(value)


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_what_is_not_one_value_says_why(text: str, reason: str) -> None:
    read = read_json(text)
    assert (read.value, read.reason) == (UNSET, reason)
    assert 0 < len(read.detail) < 500
    assert read.detail.isascii()


@pytest.mark.parametrize("text", ['x {"a": 1}', '```json\n{"a": 1}\n```', '{"a": 1} x'])
def test_without_prose_the_json_is_the_whole_answer(text: str) -> None:
    assert read_json(text, prose=False).reason == "not_json"


@pytest.mark.parametrize(("text", "value"), MENDED)
def test_slips_are_mended_only_when_asked_for(text: str, value: object) -> None:
    assert read_json(text).value is UNSET
    read = read_json(text, repair=True)
    assert (read.value, read.reason) == (value, "repaired")


@pytest.mark.parametrize("text", BEYOND_MENDING)
def test_what_would_have_to_be_made_up_is_not_mended(text: str) -> None:
    assert read_json(text, repair=True).reason == "not_json"


def test_what_was_mended_is_read_strictly() -> None:
    assert read_json("{'a': 1, 'a': 2}", repair=True).reason == "duplicate_key"
    assert read_json("x {'a': 1}", prose=False, repair=True).reason == "not_json"
    assert read_json("{'a': 1}", prose=False, repair=True).value == {"a": 1}


def test_the_place_of_the_break_is_told() -> None:
    assert "line 2, column 6" in read_json('{"a": 1,\n"b": oops}').detail


def test_nesting_is_bounded_exactly_for_scalars_inside() -> None:
    inside, beyond = "[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH, "[" * 65 + "1" + "]" * 65
    assert read_json(inside).reason == ""
    assert read_json(beyond).reason == "too_deep"


@pytest.mark.parametrize("value", [{1: 2}, [object()], (1,), [float("nan")], ["\ud800"]])
def test_values_that_json_cannot_hold_are_refused(value: object) -> None:
    with pytest.raises(Unacceptable):
        check_json(value)


def test_a_value_that_holds_itself_is_too_deep() -> None:
    knot: list[Any] = []
    knot += [knot, knot]
    with pytest.raises(Unacceptable) as caught:
        check_json(knot)
    assert caught.value.reason == "too_deep"


@given(JSON)
def test_all_json_is_read_as_the_standard_library_reads_it(value: object) -> None:
    text = json.dumps(value)
    assert repr(read_json(text).value) == repr(json.loads(text))
    assert repr(read_json(f"```json\n{text}\n```").value) == repr(json.loads(text))


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON))
def test_an_object_is_found_in_prose_and_mending_leaves_it_alone(value: dict[str, Any]) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert repr(read_json(f"Here: {text} So much.").value) == repr(value)
    mended = read_json(text[:-1] + ",}" if value else text, repair=True)
    assert repr(mended.value) == repr(value)


@given(st.text(st.sampled_from("{}[]\",:\\'`a1 \n/*#") | st.characters()))
def test_no_text_breaks_the_reader(text: str) -> None:
    read = read_json(text, repair=True)
    assert (read.value is UNSET) == (read.reason not in ("", "repaired"))


@pytest.mark.parametrize(
    "piece",
    [
        '{"a":',
        "[1,",
        "[1,[",
        '[1,"',
        "[{}",
        "{ ",
        '"',
        "'",
        "\\",
        "/*",
        "{}",
        "```json ",
        '" ',
        "[ ",
    ],
)
def test_hostile_repetition_is_read_in_bounded_work(piece: str) -> None:
    # The tests' own time limit ends a run in which this takes quadratic time.
    for start in ("", '{"a": "'):
        read_json(start + piece * (1_000_000 // len(piece)), repair=True)
