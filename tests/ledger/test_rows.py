from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Charge, Price, Usage, Verdict
from cascade.errors import RateLimitError
from cascade.ledger import tables
from cascade.ledger.rows import (
    ATTEMPT_COLUMNS,
    CALL_COLUMNS,
    CHARGE_COLUMNS,
    CONTENT_COLUMNS,
    VERDICT_COLUMNS,
    record_of,
)
from tests.ledger.support import LARGE, SECRET, attempt, result, verdict


def call_of(*given: Any, **more: Any) -> dict[str, Any]:
    return dict(zip(CALL_COLUMNS, record_of(result(*given, **more)).call, strict=True))


@pytest.mark.parametrize(
    ("table", "key", "columns"),
    [
        (tables.calls, ["seq"], CALL_COLUMNS),
        (tables.attempts, ["call_seq"], ATTEMPT_COLUMNS),
        (tables.verdicts, ["call_seq"], VERDICT_COLUMNS),
        (tables.charges, ["call_seq"], CHARGE_COLUMNS),
        (tables.contents, ["call_seq"], CONTENT_COLUMNS),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_rows_have_the_columns_of_their_tables(table: Any, key: Any, columns: Any) -> None:
    assert [column.name for column in table.columns] == [*key, *columns]


def test_a_call_with_all_that_belongs_to_it() -> None:
    tried = [
        attempt("small", "rejected", verdicts=[verdict("score", 0.3, 0.5), verdict("json", 1)]),
        attempt("medium", "skipped", answer=None),
        attempt("large", price=LARGE, verdicts=[verdict("score", 0.9, 0.5)], ask=1),
    ]
    record = record_of(result("c-1", tried, cascade="support", path="chat", tenant="acme"))
    call = dict(zip(CALL_COLUMNS, record.call, strict=True))
    assert (call["id"], call["cascade"], call["path"], call["tenant"]) == (
        "c-1",
        "support",
        "chat",
        "acme",
    )
    assert (call["escalations"], call["accepted"], call["reason"]) == (1, True, "accepted")
    assert Decimal(call["cost_usd"]) == Decimal("0.000093") + Decimal("0.0045")
    assert (call["input_tokens"], call["output_tokens"]) == (1800, 240)
    first, skipped, last = (dict(zip(ATTEMPT_COLUMNS, row, strict=True)) for row in record.attempts)
    assert (first["tier"], first["model"], first["score"]) == ("small", "openai:small", 0.3)
    assert (first["answered_by"], first["finish_reason"]) == ("tiny-2026", "stop")
    assert (skipped["outcome"], skipped["cost_usd"], skipped["answered_by"]) == (
        "skipped",
        "0",
        None,
    )
    assert (last["number"], last["ask"]) == (2, 1)
    verdicts = [dict(zip(VERDICT_COLUMNS, row, strict=True)) for row in record.verdicts]
    assert [(v["attempt"], v["number"], v["validator"], v["status"]) for v in verdicts] == [
        (0, 0, "score", "failed"),
        (0, 1, "json", "passed"),
        (2, 0, "score", "passed"),
    ]
    assert [row[:4] for row in record.charges] == [
        (0, 0, "small", "answer"),
        (2, 0, "large", "answer"),
    ]


def test_parts_of_a_verdict_follow_it_and_name_it() -> None:
    inner = verdict("any", 0.8, parts=(verdict("a", 0.2, 0.5), verdict("b", 0.8, 0.5)))
    whole = verdict("all", 0.8, parts=(verdict("c", 1), inner))
    record = record_of(result(attempts=[attempt(verdicts=[whole, verdict("last", 1)])]))
    assert [(row[1], row[2], row[3]) for row in record.verdicts] == [
        (0, None, "all"),
        (1, 0, "c"),
        (2, 0, "any"),
        (3, 2, "a"),
        (4, 2, "b"),
        (5, None, "last"),
    ]


def test_what_is_unknown_is_none() -> None:
    unknown = attempt(usage=None)
    call = call_of(attempts=[attempt(), unknown])
    assert (call["cost_usd"], call["input_tokens"], call["output_tokens"]) == (None, None, None)
    assert record_of(result(attempts=[unknown])).charges[0][4:] == (None,) * 6


def test_a_call_that_asked_nobody_cost_nothing() -> None:
    call = call_of(attempts=[])
    assert (call["cost_usd"], call["input_tokens"], call["escalations"]) == ("0", 0, 0)


def test_an_error_is_stored_by_its_class_alone() -> None:
    broke = attempt(outcome="failed", answer=None, error=RateLimitError(SECRET))
    record = record_of(result(attempts=[broke]))
    assert record.attempts[0][6] == "RateLimitError"
    assert SECRET not in repr(record)


def test_judges_are_billed_to_their_own_tier() -> None:
    judged = attempt()
    judged.charges.append(Charge("large", LARGE, Usage(10, 1), purpose="judge"))
    record = record_of(result(attempts=[judged]))
    assert [row[2:4] for row in record.charges] == [("small", "answer"), ("large", "judge")]
    assert Decimal(record.attempts[0][12]) == Decimal("0.000093") + Decimal("0.000045")


def test_content_is_in_no_row() -> None:
    tried = attempt(verdicts=[verdict("score", 1), Verdict.passed(value=SECRET)])
    assert SECRET not in repr(record_of(result(attempts=[tried])))


@pytest.mark.parametrize(
    ("metadata", "stored"),
    [
        ({}, None),
        ({"user": "u1", "tags": ["a"], "n": 1}, {"user": "u1", "tags": ["a"], "n": 1}),
        ({"x": float("nan"), "y": [float("inf"), 1.5]}, {"x": None, "y": [None, 1.5]}),
        ({("a", 1): Decimal("1.5")}, {"('a', 1)": "1.5"}),
        ({"lone": "\ud800"}, {"lone": "\ud800"}),
    ],
)
def test_labels_become_json_that_every_reader_knows(metadata: Any, stored: Any) -> None:
    text = call_of(metadata=metadata)["metadata"]
    assert (None if text is None else json.loads(text)) == stored
    assert text is None or text.encode()


tokens = st.integers(0, 10**9)
prices = st.decimals(0, 10**6, allow_nan=False, places=9)


@given(st.lists(st.tuples(prices, tokens, tokens), max_size=4))
def test_money_is_exact(charged: list[tuple[Decimal, int, int]]) -> None:
    tried = attempt()
    tried.charges[:] = [
        Charge("small", Price(input=price, output=price), Usage(read, written))
        for price, read, written in charged
    ]
    told = result(attempts=[tried, tried])
    call = dict(zip(CALL_COLUMNS, record_of(told).call, strict=True))
    assert Decimal(call["cost_usd"]) == told.cost_usd
    assert told.usage is not None
    assert (call["input_tokens"], call["output_tokens"]) == (
        told.usage.input_tokens,
        told.usage.output_tokens,
    )
    assert call["escalations"] == told.escalations
