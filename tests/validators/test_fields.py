"""field_logprob, and the paths it takes."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import UNSET, Answer, TokenLogprob, Verdict
from cascade.validators import field_logprob
from cascade.validators._paths import parse_path, value_at
from cascade.validators._tokens import Tokens
from cascade.validators.fields import tokens_of_span, value_span
from cascade.validators.json_text import read_json


def answer(*pieces: tuple[str, float]) -> Answer[str]:
    tokens = [TokenLogprob(text, math.log(p)) for text, p in pieces]
    return Answer("".join(text for text, _ in pieces), logprobs=tokens)


def verdict(path: str, judged: Answer[Any], statistic: str = "min") -> Verdict:
    return field_logprob(path, statistic).judge_inline(judged, Context())


def test_only_the_value_of_the_field_counts() -> None:
    judged = answer(
        ('{"', 0.1), ("id", 0.1), ('": "', 0.1), ("A", 0.9), ("17", 0.8), ('", "', 0.1),
        ("total", 0.1), ('": ', 0.1), ("12", 0.7), (".5", 0.6), ("}", 0.1),
    )  # fmt: skip
    assert verdict("$.id", judged).score == pytest.approx(0.8)
    assert verdict("id", judged, "sum").score == pytest.approx(0.72)
    assert verdict("total", judged).score == pytest.approx(0.6)


def test_a_token_that_reaches_into_the_value_counts() -> None:
    judged = answer(('{"total":', 0.1), (" 12", 0.7), (".5}", 0.6))
    assert verdict("total", judged, "sum").score == pytest.approx(0.42)


def test_nested_objects_and_arrays() -> None:
    judged = answer(('{"a": [{"b": 1}, {"b": ', 0.1), ("2", 0.5), ("}]}", 0.1))
    assert verdict("$.a[1].b", judged).score == pytest.approx(0.5)
    assert verdict("a.1.b", judged).score == pytest.approx(0.5)
    assert verdict("$.a[1]", judged, "sum").score == pytest.approx(0.1 * 0.5 * 0.1)


def test_an_empty_string_is_its_quotes() -> None:
    judged = answer(('{"a": ', 0.1), ('""', 0.5), ("}", 0.1))
    assert verdict("a", judged, "sum").score == pytest.approx(0.5)


def test_a_name_that_stands_in_a_string_before_is_not_the_field() -> None:
    judged = answer(
        ('{"note": "\\"total\\": 1", "x": {"total": 2}, "total": ', 0.1), ("3", 0.5), ("}", 0.1)
    )
    assert verdict("total", judged).score == pytest.approx(0.5)


def test_a_path_through_what_is_no_container_abstains() -> None:
    judged = answer(('{"a": ', 0.1), ("1", 0.5), ("}", 0.1))
    assert verdict("a.b", judged).reason == "no_field"


def test_a_number_too_long_to_read_beside_the_json_is_passed_over() -> None:
    judged = answer((f"<think>[{'9' * 5000}]</think>", 0.1), ('{"a": ', 0.1), ("1", 0.5), ("}", 1))
    assert verdict("a", judged).score == pytest.approx(0.5)


def test_escaped_names_are_found() -> None:
    judged = answer(('{"caf\\u00e9": ', 0.1), ("1", 0.5), ("}", 0.1))
    assert verdict("café", judged).score == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Here it is: ", " I hope that [1] helps."),
        ("```json\n", "\n```"),
        ("The set {1, 2} and [x] lead to ", ""),
        ('<think>{"other": 1} or {"a": 0}?</think>\n', ""),
    ],
)
def test_json_within_prose(before: str, after: str) -> None:
    judged = answer((before, 0.1), ('{"a": ', 0.1), ("1", 0.5), ("}" + after, 0.1))
    assert verdict("a", judged).score == pytest.approx(0.5)


def test_tokens_may_be_parts_of_characters() -> None:
    first, last = "é".encode()[:1], "é".encode()[1:]
    judged = Answer(
        '{"ü": "é"}',
        logprobs=[
            TokenLogprob('{"ü": "', -1.0),
            TokenLogprob("\ufffd", math.log(0.9), (), first),
            TokenLogprob("\ufffd", math.log(0.5), (), last),
            TokenLogprob('"}', -1.0),
        ],
    )
    assert verdict("ü", judged, "sum").score == pytest.approx(0.45)


def test_what_follows_the_text_does_no_harm() -> None:
    judged = answer(('{"a": ', 0.1), ("1", 0.5), ("}", 0.1), ("<|im_end|>", 0.1))
    judged.text = '{"a": 1}'
    assert verdict("a", judged).score == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no object", "not_json"),
        ('{"a": 1', "not_json"),
        ('{"b": 1}', "no_field"),
        ("[1]", "no_field"),
        ('"a"', "no_field"),
        ("3", "no_field"),
        ('<think>{"x": {"a": 1}}</think>{"b": 1}', "no_field"),
        ('{"a": 1, "a": 2}', "duplicate_key"),
        ('{"a": 1} {"a": 2}', "ambiguous"),
        ("[" * 100_000, "too_deep"),
        ("<think>" + "[" * 100_000 + '</think>{"a": 1}', "too_deep"),
        ("", "empty"),
    ],
)
def test_without_the_field_it_abstains(text: str, reason: str) -> None:
    found = verdict("a", Answer(text, logprobs=[TokenLogprob(text or "x", -1.0)]))
    assert (found.status, found.reason) == ("abstained", reason)


@pytest.mark.parametrize("tokens", [['{"a":', "1}"], ['{"a": 1'], ["x", '{"a": 1}']])
def test_tokens_of_another_text_abstain(tokens: list[str]) -> None:
    judged = Answer('{"a": 1}', logprobs=[TokenLogprob(t, -1.0) for t in tokens])
    assert verdict("a", judged).reason == "tokens_do_not_match_text"


def test_without_text_or_logprobs_it_abstains() -> None:
    assert verdict("a", Answer('{"a": 1}')).reason == "no_logprobs"
    no_text = Answer(None, logprobs=[TokenLogprob("x", -1.0)])
    assert verdict("a", no_text).reason == "no_text"
    bad: Any = TokenLogprob(5, -1.0)  # type: ignore[arg-type]
    assert verdict("a", Answer('{"a": 1}', logprobs=[bad])).reason == "bad_logprobs"


def test_the_name_tells_statistic_and_path() -> None:
    assert field_logprob("$.order.lines[0].total").name == "field_logprob_min_order_lines_0_total"
    assert field_logprob('$["größe in m"]', "p10").name == "field_logprob_p10_gr_e_in_m"


def test_the_feedback_names_the_field() -> None:
    judged = answer(('{"a": ', 0.1), ("1", 0.5), ("}", 0.1))
    found = field_logprob("a").at(0.9).judge_inline(judged, Context())
    assert (found.status, found.feedback) == ("failed", "The value of a is uncertain; check it.")


def test_a_mass_of_broken_json_beside_it_is_passed_over() -> None:
    # Quadratic, this would outlast the test run: each start would be read to the end.
    text = "<think>" + '{"b": [1, x ' * 50_000 + '</think>{"a": 17}'
    assert value_span(text, ("a",), read_json(text)) == (len(text) - 3, len(text) - 1)


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("a", ("a",)),
        ("$.a", ("a",)),
        ("a.b.0", ("a", "b", "0")),
        ("$.a.b[0]", ("a", "b", 0)),
        ("[2].x", (2, "x")),
        ("$['a b'][\"c.d\"]", ("a b", "c.d")),
    ],
)
def test_paths(path: str, steps: tuple[str | int, ...]) -> None:
    assert parse_path("test", path) == steps


@pytest.mark.parametrize(
    "path",
    ["", "$", "$a", ".a", "a.", "a..b", "$..a", "a.*", "a[*]", "a[-1]", "a[1:2]", "a[?(@.b)]",
     "a b", "a[]", "a['b", None, 3],
)  # fmt: skip
def test_a_path_to_no_single_value_is_refused(path: Any) -> None:
    with pytest.raises(ConfigError, match="does not lead to one JSON value"):
        field_logprob(path)


def test_digits_are_a_name_in_an_object_and_an_index_in_an_array() -> None:
    assert value_at({"0": "a"}, parse_path("test", "0")) == "a"
    assert value_at(["b"], parse_path("test", "0")) == "b"
    assert value_at({"0": "a"}, parse_path("test", "[0]")) is UNSET
    assert value_at(["b"], parse_path("test", "1")) is UNSET
    assert value_at("text", parse_path("test", "0")) is UNSET


names = st.text(min_size=1, max_size=4)
leaves = st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=5)
documents = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(names, inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict | list))


@st.composite
def located(draw: st.DrawFn) -> tuple[str, tuple[str | int, ...], str]:
    """A JSON text, a path into it, and the text of the value there."""
    value: Any = draw(documents)
    ascii_only, indent = draw(st.booleans()), draw(st.sampled_from([None, 1]))
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    path: list[str | int] = []
    while isinstance(value, dict | list) and (not path or draw(st.booleans())):
        keys: list[Any] = sorted(value) if isinstance(value, dict) else list(range(len(value)))
        key = draw(st.sampled_from(keys))
        path.append(key)
        value = value[key]
    return text, tuple(path), json.dumps(value, ensure_ascii=ascii_only, indent=indent)


@given(located())
def test_the_span_is_that_of_the_value(case: tuple[str, tuple[str | int, ...], str]) -> None:
    text, path, expected = case
    text = f"So: {text} ."
    span = value_span(text, path, read_json(text))
    assert not isinstance(span, str), span
    found = text[slice(*span)]
    if expected.startswith('"') and expected != '""':
        expected = expected[1:-1]
    # Indentation differs with depth.
    assert "".join(found.split()) == "".join(expected.split())


@given(st.text(min_size=1, max_size=30), st.data())
def test_exactly_the_overlapping_tokens_are_used(text: str, data: st.DataObject) -> None:
    written = text.encode("utf-8", "surrogatepass")
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(written) - 1)))))
    edges = [0, *(c for c in cuts if c < len(written)), len(written)]
    parts = [written[a:b] for a, b in pairwise(edges)]
    read = Tokens([TokenLogprob("?", 0.0, (), part) for part in parts], [0.0] * len(parts))
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    first = len(text[:start].encode("utf-8", "surrogatepass"))
    last = len(text[:end].encode("utf-8", "surrogatepass"))
    expected = [i for i in range(len(parts)) if edges[i] < last and edges[i + 1] > first]
    assert list(tokens_of_span(read, text, (start, end))) == expected


anything = st.none() | st.text() | st.integers() | st.binary()


@given(anything, st.lists(st.builds(TokenLogprob, anything, st.floats(), st.none(), anything)))
def test_no_answer_breaks_it(text: Any, logprobs: list[TokenLogprob]) -> None:
    found = verdict("a", Answer(text, text=text, logprobs=logprobs))
    assert found.status == "abstained"
    assert not found.reason.startswith("crashed")
