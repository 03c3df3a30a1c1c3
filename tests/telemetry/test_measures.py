"""What one call adds to the metrics, and that there are never too many series."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Answer, Attempt, Charge, Price, Result, Usage, Verdict
from cascade.telemetry.bounds import MOST_SERIES, Series
from cascade.telemetry.measures import (
    ATTEMPT_DURATION,
    ATTEMPT_QUEUE,
    BUDGET_USED,
    COST,
    COST_UNKNOWN,
    DURATION,
    ESCALATIONS,
    METRICS,
    REQUESTS,
    TOKENS,
    VALIDATOR_DURATION,
    VERDICTS,
    Metric,
    measured,
)

USD = Price(input=1, output=2)
USAGE = Usage(100, 10, 40, 0, None)


def attempt(tier: str, outcome: Any, reason: str = "", **more: Any) -> Attempt:
    charges = [Charge(tier, USD, USAGE)] if outcome != "skipped" else []
    return Attempt(tier, 0, outcome, reason, latency_s=0.5, **{"charges": charges, **more})


def result(*attempts: Attempt, **more: Any) -> Result[Any]:
    accepted = any(one.outcome == "accepted" for one in attempts)
    tier = attempts[-1].tier if attempts else None
    reason = "accepted" if accepted else "exhausted"
    facts: dict[str, Any] = {"path": "p", "cascade": "c", **more}
    return Result("secret", accepted, tier, reason, attempts, 1.0, **facts)


def values(told: Result[Any], metric: Metric) -> list[tuple[tuple[str, ...], float]]:
    return [(labels, value) for found, labels, value in measured(told) if found is metric]


def test_a_call_that_escalated() -> None:
    rejected = attempt(
        "small",
        "rejected",
        "graded:too short for order 4711",
        verdicts=[
            Verdict("passed", 1.0, validator="json"),
            Verdict("failed", 0.1, "too short", validator="graded", latency_s=0.01),
        ],
    )
    told = result(rejected, attempt("large", "accepted"), budget_s=4.0)
    assert values(told, REQUESTS) == [(("c", "p", "large", "accepted", "false"), 1)]
    # The validator is named, not its reason code, of which there may be any number.
    assert values(told, ESCALATIONS) == [(("c", "p", "small", "large", "graded"), 1)]
    assert values(told, DURATION) == [(("c", "p", "true", "true"), 1.0)]
    assert values(told, BUDGET_USED) == [(("c", "p", "true"), 0.25)]
    assert values(told, ATTEMPT_DURATION) == [
        (("c", "small", "rejected"), 0.5),
        (("c", "large", "accepted"), 0.5),
    ]
    assert values(told, ATTEMPT_QUEUE) == []
    assert values(told, VERDICTS) == [
        (("json", "small", "passed"), 1),
        (("graded", "small", "failed"), 1),
    ]
    assert values(told, VALIDATOR_DURATION) == [(("graded",), 0.01)]
    assert values(told, COST) == [
        (("c", "p", tier, "answer", "false"), 0.00012) for tier in ("small", "large")
    ]
    assert values(told, COST_UNKNOWN) == []
    assert values(told, TOKENS) == [
        ((tier, kind, "false"), tokens)
        for tier in ("small", "large")
        for kind, tokens in (("input", 100), ("output", 10), ("cached_input", 40))
    ]


@pytest.mark.parametrize(
    ("left", "cause"),
    [
        (attempt("a", "failed", "RateLimitError"), "RateLimitError"),
        (attempt("a", "timed_out", "tier_timeout"), "tier_timeout"),
        (attempt("a", "failed"), "failed"),
        (attempt("a", "rejected", "v:x", verdicts=[Verdict("abstained", validator="v")]), "v"),
        (attempt("a", "rejected", "gone"), "rejected"),
    ],
    ids=str,
)
def test_why_a_call_escalated(left: Attempt, cause: str) -> None:
    told = result(left, attempt("b", "accepted"))
    assert values(told, ESCALATIONS) == [(("c", "p", "a", "b", cause), 1)]


def test_what_was_never_asked_is_neither_an_attempt_nor_an_escalation() -> None:
    told = result(attempt("a", "skipped", "budget"), attempt("b", "accepted"))
    assert values(told, ESCALATIONS) == []
    assert [labels for labels, _ in values(told, ATTEMPT_DURATION)] == [("c", "b", "accepted")]


def test_a_hedge_that_was_called_off_was_asked() -> None:
    called_off = attempt("a", "skipped", "hedge", charges=[Charge("a", USD)])
    told = result(called_off, attempt("b", "accepted"))
    assert [labels for labels, _ in values(told, ATTEMPT_DURATION)] == [
        ("c", "a", "skipped"),
        ("c", "b", "accepted"),
    ]
    assert values(told, COST_UNKNOWN) == [(("c", "p", "a", "answer", "false"), 1)]


def test_a_re_ask_is_no_escalation() -> None:
    told = result(attempt("a", "rejected", "v:x"), attempt("a", "accepted"))
    assert values(told, ESCALATIONS) == []
    assert values(told, DURATION) == [(("c", "p", "true", "false"), 1.0)]


def test_what_waited_in_limits_is_the_answers_requests() -> None:
    charges = [Charge("a", USD, USAGE, "answer", 0.25), Charge("j", USD, USAGE, "is_kind", 9.0)]
    told = result(attempt("a", "accepted", charges=charges))
    assert values(told, ATTEMPT_QUEUE) == [(("c", "a"), 0.25)]


def test_what_validators_cost_is_told_apart() -> None:
    charges = [Charge("a", USD, USAGE), Charge("judge", USD, USAGE, "is_kind")]
    told = result(attempt("a", "accepted", charges=charges))
    assert values(told, COST) == [
        (("c", "p", "a", "answer", "false"), 0.00012),
        (("c", "p", "judge", "is_kind", "false"), 0.00012),
    ]


def test_the_money_of_a_call_inside_of_a_call_is_told_apart() -> None:
    told = result(attempt("a", "accepted"), parent="x-1", path=None, cascade=None)
    assert values(told, REQUESTS) == [(("none", "none", "a", "accepted", "true"), 1)]
    assert [labels[-1] for labels, _ in values(told, COST)] == ["true"]
    assert {labels[-1] for labels, _ in values(told, TOKENS)} == {"true"}


def test_a_call_that_was_never_asked_anything_is_a_request() -> None:
    told = result()
    assert [m.metric for m in measured(told)] == [REQUESTS, DURATION]
    assert values(told, REQUESTS) == [(("c", "p", "none", "exhausted", "false"), 1)]


charges = st.builds(
    Charge,
    st.sampled_from(["a", "b"]),
    st.one_of(st.none(), st.just(USD)),
    st.one_of(st.none(), st.builds(Usage, st.integers(0, 9999), st.integers(0, 9999))),
)
attempts = st.builds(
    Attempt,
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 2),
    st.sampled_from(["accepted", "rejected", "failed", "timed_out", "skipped"]),
    charges=st.lists(charges, max_size=3),
)


@given(st.lists(attempts, max_size=5))
def test_money_and_escalations_add_up(tried: list[Attempt]) -> None:
    told = result(*tried)
    for metric, labels, _ in measured(told):
        assert len(labels) == len(metric.labels)
    assert len(values(told, ESCALATIONS)) == told.escalations
    known = sum(value for _, value in values(told, COST))
    assert known == pytest.approx(float(told.known_cost_usd))
    unknown = any(c.cost_usd is None for a in tried for c in a.charges)
    assert bool(values(told, COST_UNKNOWN)) is unknown
    assert (told.cost_usd is None) is unknown


def test_metrics_have_names_and_labels_of_their_own() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert len({metric.prometheus_name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.startswith("cascade.")
        assert len(set(metric.labels)) == len(metric.labels)
        assert bool(metric.buckets) is (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(metric.buckets)
        assert metric.description.endswith(".")


def test_no_label_tells_who_called_or_what_was_said() -> None:
    told = result(
        attempt("a", "accepted", answer=Answer("secret", model="secret")),
        tenant="secret",
        metadata={"secret": "secret"},
        signals={"secret": "secret"},
        rule_reason="secret",
        id="secret",
    )
    assert not any("secret" in label for _, labels, _ in measured(told) for label in labels)


def test_there_are_never_too_many_series(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    metric = Metric("cascade.test", "counter", "1", "A test.", ("name", "kind"))
    series = Series(metric, lambda labels: labels)
    assert series.of(("0", "k")) is series.of(("0", "k"))
    for number in range(MOST_SERIES):
        assert series.of((str(number), "k")) == (str(number), "k")
    beyond = [series.of((f"beyond {number}", "k")) for number in range(10)]
    assert set(beyond) == {("other", "other")}
    assert series.of(("0", "k")) == ("0", "k")
    assert [record.getMessage() for record in caplog.records] == [
        f"metric_has_too_many_series metric='cascade.test' most={MOST_SERIES}"
    ]


def test_the_float_of_a_sum_is_near_the_exact_bill() -> None:
    told = result(attempt("a", "accepted", charges=[Charge("a", USD, Usage(1, 1))] * 3))
    assert told.cost_usd == Decimal("0.000009")
    assert sum(v for _, v in values(told, COST)) == pytest.approx(0.000009)
