from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.validators.schemas import compile_schema

NUMBERS = st.integers(-4, 4) | st.floats(-4, 4) | st.sampled_from([2**53 + 1, float(2**53), 1e300])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text("ab\U0001f600", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=6,
)
LEAVES = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["integer", "number", "string", "array"])}),
    st.fixed_dictionaries({"const": VALUES}),
    st.fixed_dictionaries({"enum": st.lists(VALUES, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"minimum": NUMBERS}),
    st.fixed_dictionaries({"exclusiveMaximum": NUMBERS}),
    st.fixed_dictionaries({"maxLength": st.integers(0, 3)}),
    st.fixed_dictionaries({"multipleOf": st.sampled_from([1, 2, 0.1, 0.5])}),
    st.just({"uniqueItems": True}),
)
SCHEMAS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"items": inner}),
        st.fixed_dictionaries({"properties": st.fixed_dictionaries({"a": inner})}),
        st.fixed_dictionaries({"additionalProperties": inner}),
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=2)}),
    ),
    max_leaves=4,
)


def valid(schema: Any, value: Any, **options: Any) -> bool:
    return not compile_schema(schema, **options).complaints(value)


@given(SCHEMAS, VALUES)
def test_the_engines_never_differ(schema: dict[str, Any], value: Any) -> None:
    assert valid(schema, value, engine="jsonschema") == valid(schema, value, engine="jsonschema-rs")


def test_multiples_are_exact() -> None:
    assert valid({"multipleOf": 0.01}, 0.07)
    assert not valid({"multipleOf": 0.01}, 0.075)
    assert valid({"multipleOf": 0.5}, 10**400)
    assert valid({"multipleOf": 1e-8}, 12391239123)


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, True], True),
        ([1, 1.0], False),
        ([{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], False),
        ([{"a": False}, {"a": 0}], True),
        ([[1], [[1]], "1", None, {}, []], True),
        ([{"a": 1}, [["a", 1]]], True),
    ],
)
def test_uniqueness_is_json_s(items: list[Any], unique: bool) -> None:
    assert valid({"uniqueItems": True}, items) is unique


def test_uniqueness_of_a_long_mixed_list_takes_linear_work() -> None:
    items = [value for number in range(50_000) for value in (number, str(number), {"a": number})]
    assert valid({"uniqueItems": True}, items, engine="jsonschema")


def test_complaints_name_the_place_by_json_pointer() -> None:
    schema = {"properties": {"a/b": {"items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}}
    (complaint,) = compile_schema(schema).complaints({"a/b": ["x", 3]})
    assert complaint.startswith("/a~1b/1: 3 is not ")


def test_a_complaint_encodes_whatever_is_in_the_value() -> None:
    (complaint,) = compile_schema({"type": "null"}).complaints("x\U0001f600")
    assert complaint.encode()


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strnig"}, "wrong at /type: 'strnig' is not"),
        ({"properties": {"a": {"minLength": -1}}}, "wrong at /properties/a/minLength"),
        ({"$schema": "http://json-schema.org/draft-3/schema#"}, "did you mean"),
        ({"$ref": "https://example.com/other.json"}, "leads out of the schema"),
        ({"properties": {"a": {"$ref": "other.json#/a"}}}, "leads out of the schema"),
        ({"$ref": "#/$defs/missing"}, "leads out of the schema"),
        ({"$ref": "#/x", "x": {"items": {"$ref": "file:///etc/passwd"}}}, "leads out"),
        ({"$ref": "#"}, "refers to itself without end"),
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#"}}}, "without end"),
        (
            {
                "properties": {"a": {"$ref": "#/$defs/a"}},
                "$defs": {"a": {"not": {"allOf": [{"$ref": "#/$defs/a"}]}}},
            },
            "without end",
        ),
        ({"pattern": "("}, "no regular expression"),
        ({"patternProperties": {"[": {}}}, "no regular expression"),
        ({"format": "datetime"}, "did you mean 'date-time'"),
        ({"const": float("nan")}, "not JSON"),
        ({"const": object()}, "not JSON"),
    ],
)
def test_a_schema_that_cannot_work_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compile_schema(schema)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match="engine='fast'"):
        compile_schema({}, engine="fast")  # type: ignore[arg-type]


def test_a_recursive_schema_and_the_drafts_own_schemas_work() -> None:
    tree = {"properties": {"next": {"$ref": "#"}}, "required": ["name"]}
    assert valid(tree, {"name": 1, "next": {"name": 2}})
    assert not valid(tree, {"name": 1, "next": {}})
    meta = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
    assert not valid(meta, {"type": 7})


@pytest.mark.parametrize("engine", ["jsonschema", "jsonschema-rs"])
def test_a_value_as_deep_as_the_reader_allows_can_be_judged(engine: Any) -> None:
    tree = {"$defs": {"t": {"anyOf": [{"type": "integer"}, {"items": {"$ref": "#/$defs/t"}}]}}}
    value: Any = 1
    for _ in range(64):
        value = [value]
    assert valid({**tree, "$ref": "#/$defs/t"}, value, engine=engine)


def test_formats_are_asserted_as_told() -> None:
    schema = {"properties": {"a": {"format": "ipv4"}, "b": {"format": "date"}}}
    wrong = {"a": "x", "b": "x"}
    assert len(compile_schema(schema).complaints(wrong)) == 2
    assert len(compile_schema(schema, formats=["date"]).complaints(wrong)) == 1
    assert valid(schema, wrong, formats=False)
    assert valid({"format": "date-time"}, "2030-01-02T03:04:05Z")
    assert valid({"format": "date"}, 7)


def test_formats_are_bounded() -> None:
    assert not valid({"format": "uri"}, "http://a/" + "a" * 3_000)
    assert not valid({"format": "regex"}, "(" * 2_000)


def test_a_format_named_by_data_or_by_a_property_is_none() -> None:
    assert valid({"properties": {"format": {"enum": [{"format": "pdf"}]}}}, {})


@pytest.mark.parametrize(
    ("module", "schema", "options", "extra"),
    [
        ("jsonschema_rs", {}, {"engine": "jsonschema-rs"}, "fast"),
        ("regex", {"pattern": "^(a+)+$"}, {}, "regex"),
    ],
)
def test_what_is_not_installed_is_named(
    module: str,
    schema: Any,
    options: Any,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf'pip install "cascade-engine\[{extra}\]"'):
        compile_schema(schema, **options)


def test_without_the_fast_engine_the_reference_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compile_schema({}).fast
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    assert not compile_schema({}).fast


def test_patterns_are_python_s_and_cannot_hang() -> None:
    assert valid({"pattern": "^a.c$"}, "abc")
    assert not valid({"pattern": "^a.c$"}, "abd")
    assert not valid({"patternProperties": {"^n_": {"type": "number"}}}, {"n_a": "x"})
    with pytest.raises(TimeoutError):
        compile_schema({"pattern": r"^(a|aa)+$"}).complaints("a" * 50_000 + "b")
    with pytest.raises(TimeoutError):
        compile_schema({"pattern": r"\w*\w*\w*\d"}).complaints("a" * 20_000)
