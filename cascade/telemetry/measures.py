"""What is measured: one table of metrics, and what one finished call adds to them.

Both exporters use it, so that a metric means the same in each. Labels are words of the program
(names of cascades, paths, tiers, validators, error classes), never of its users.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

from cascade.types import Attempt, Charge, Result, Usage

__all__ = [
    "ATTEMPT_DURATION",
    "ATTEMPT_QUEUE",
    "AUDIT_DRIFT",
    "AUDIT_QUALITY",
    "AUDIT_REGRET",
    "BREAKER_STATE",
    "BUDGET_USED",
    "COST",
    "COST_UNKNOWN",
    "DURATION",
    "ESCALATIONS",
    "LEDGER_LOST",
    "METRICS",
    "NONE",
    "QUEUE_DEPTH",
    "REQUESTS",
    "TOKENS",
    "VALIDATOR_DURATION",
    "VERDICTS",
    "Measurement",
    "Metric",
    "measured",
]

NONE: Final = "none"
"""The label of what a call does not have, such as a path."""

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SHORT: Final = (0.00001, 0.0001, 0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SHARES: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0, 1.1)


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: as OpenTelemetry spells it.
        kind: a counter only grows; a gauge is read when somebody looks.
        unit: "s", "usd", "1", or what is counted, in braces.
        description: for people.
        labels: their names, in the order of every measurement's.
        buckets: the upper bounds of a histogram's.
    """

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    unit: str
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """Its name in Prometheus, without the `_total` of a counter."""
        suffix = {"s": "_seconds", "usd": "_usd"}.get(self.unit, "")
        return self.name.replace(".", "_") + suffix


class Measurement(NamedTuple):
    """One value for one metric: what is added to a counter, or seen by a histogram."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


REQUESTS: Final = Metric(
    "cascade.requests",
    "counter",
    "{request}",
    "Calls that ended, by the tier whose answer they gave and the reason they ended.",
    ("cascade", "path", "tier", "reason", "nested"),
)
ESCALATIONS: Final = Metric(
    "cascade.escalations",
    "counter",
    "{escalation}",
    "Calls that went on to another tier, by what made them: a validator, or an error.",
    ("cascade", "path", "from", "to", "reason"),
)
DURATION: Final = Metric(
    "cascade.duration",
    "histogram",
    "s",
    "How long calls took, from their start to their end.",
    ("cascade", "path", "accepted", "escalated"),
    _SECONDS,
)
BUDGET_USED: Final = Metric(
    "cascade.budget.used_ratio",
    "histogram",
    "1",
    "The share of its budget that a call took; only calls with a budget.",
    ("cascade", "path", "accepted"),
    _SHARES,
)
ATTEMPT_DURATION: Final = Metric(
    "cascade.attempt.duration",
    "histogram",
    "s",
    "How long a tier took for one attempt, its validators included.",
    ("cascade", "tier", "outcome"),
    _SECONDS,
)
ATTEMPT_QUEUE: Final = Metric(
    "cascade.attempt.queue",
    "histogram",
    "s",
    "How long an attempt's requests waited in their tier's limits; only of tiers that have some.",
    ("cascade", "tier"),
    _SECONDS,
)
VALIDATOR_DURATION: Final = Metric(
    "cascade.validator.duration",
    "histogram",
    "s",
    "How long a validator took for one answer.",
    ("validator",),
    _SHORT,
)
VERDICTS: Final = Metric(
    "cascade.validator.verdicts",
    "counter",
    "{verdict}",
    "What validators said of a tier's answers.",
    ("validator", "tier", "status"),
)
COST: Final = Metric(
    "cascade.cost",
    "counter",
    "usd",
    "What calls to models cost, as far as it is known, by what they were for.",
    ("cascade", "path", "tier", "purpose", "nested"),
)
COST_UNKNOWN: Final = Metric(
    "cascade.cost.unknown",
    "counter",
    "{charge}",
    "Calls to models whose cost is not known, because their price or usage is not.",
    ("cascade", "path", "tier", "purpose", "nested"),
)
TOKENS: Final = Metric(
    "cascade.tokens",
    "counter",
    "{token}",
    "Tokens that models billed; the cached, cache-written and reasoning ones are part of the two.",
    ("tier", "kind", "nested"),
)
BREAKER_STATE: Final = Metric(
    "cascade.breaker.state",
    "gauge",
    "{state}",
    "The circuit of a deployment: 0 closed, 1 half-open, 2 open.",
    ("tier", "deployment"),
)
QUEUE_DEPTH: Final = Metric(
    "cascade.queue.depth",
    "gauge",
    "{request}",
    "Requests that wait in a tier's limits.",
    ("tier",),
)
AUDIT_QUALITY: Final = Metric(
    "cascade.audit.quality",
    "gauge",
    "1",
    "The mean score of a tier's accepted answers, from 0 to 1, as audits estimate it.",
    ("cascade", "path", "tier"),
)
AUDIT_REGRET: Final = Metric(
    "cascade.audit.regret",
    "gauge",
    "1",
    "By how much the strongest tier's answers would have scored more, as audits estimate it.",
    ("cascade", "path", "tier"),
)
AUDIT_DRIFT: Final = Metric(
    "cascade.audit.drift",
    "gauge",
    "{state}",
    "Whether the alarm rang that accepted answers became worse than allowed: 0 no, 1 yes.",
    ("cascade", "path", "tier"),
)
LEDGER_LOST: Final = Metric(
    "cascade.ledger.lost",
    "counter",
    "{call}",
    "Calls that the ledgers could not store and dropped.",
)

METRICS: Final = (
    REQUESTS,
    ESCALATIONS,
    DURATION,
    BUDGET_USED,
    ATTEMPT_DURATION,
    ATTEMPT_QUEUE,
    VALIDATOR_DURATION,
    VERDICTS,
    COST,
    COST_UNKNOWN,
    TOKENS,
    BREAKER_STATE,
    QUEUE_DEPTH,
    AUDIT_QUALITY,
    AUDIT_REGRET,
    AUDIT_DRIFT,
    LEDGER_LOST,
)


def measured(result: Result[Any]) -> Iterator[Measurement]:
    """What a finished call adds to the metrics."""
    cascade, path = result.cascade or NONE, result.path or NONE
    # The bill of a call inside of a call is on the outer one's as well: `nested` keeps the two
    # apart, so that money is not counted twice.
    nested = _word(result.parent is not None)
    accepted = _word(result.accepted)
    tier = result.tier or NONE
    yield Measurement(REQUESTS, (cascade, path, tier, result.reason, nested), 1)
    escalated = _word(result.escalations > 0)
    yield Measurement(DURATION, (cascade, path, accepted, escalated), result.latency_s)
    if result.budget_s:
        share = result.latency_s / result.budget_s
        yield Measurement(BUDGET_USED, (cascade, path, accepted), share)
    asked = [attempt for attempt in result.attempts if attempt.outcome != "skipped"]
    for one, following in pairwise(asked):
        if one.tier != following.tier:
            labels = (cascade, path, one.tier, following.tier, _cause(one))
            yield Measurement(ESCALATIONS, labels, 1)
    for attempt in result.attempts:
        yield from _of_attempt(attempt, cascade)
        for charge in attempt.charges:
            yield from _of_charge(charge, cascade, path, nested)


def _of_attempt(attempt: Attempt, cascade: str) -> Iterator[Measurement]:
    if attempt.outcome == "skipped" and not attempt.charges:
        return  # it was never asked
    tier = attempt.tier
    yield Measurement(ATTEMPT_DURATION, (cascade, tier, attempt.outcome), attempt.latency_s)
    if queue_s := attempt.queue_s:
        yield Measurement(ATTEMPT_QUEUE, (cascade, tier), queue_s)
    for verdict in attempt.verdicts:
        yield Measurement(VERDICTS, (verdict.validator, tier, verdict.status), 1)
        if verdict.latency_s is not None:
            yield Measurement(VALIDATOR_DURATION, (verdict.validator,), verdict.latency_s)


def _of_charge(charge: Charge, cascade: str, path: str, nested: str) -> Iterator[Measurement]:
    cost_usd = charge.cost_usd
    labels = (cascade, path, charge.tier, charge.purpose, nested)
    if cost_usd is None:
        yield Measurement(COST_UNKNOWN, labels, 1)
    else:
        yield Measurement(COST, labels, float(cost_usd))
    if charge.usage is not None:
        for kind, tokens in _kinds(charge.usage):
            if tokens:
                yield Measurement(TOKENS, (charge.tier, kind, nested), tokens)


def _kinds(usage: Usage) -> tuple[tuple[str, int | None], ...]:
    return (
        ("input", usage.input_tokens),
        ("output", usage.output_tokens),
        ("cached_input", usage.cached_input_tokens),
        ("cache_write", usage.cache_write_tokens),
        ("reasoning", usage.reasoning_tokens),
    )


def _cause(attempt: Attempt) -> str:
    """Why a call left a tier, in words of which there are few.

    The validator, for a rejected answer: the reason codes that it gives may be any number.
    """
    if attempt.outcome != "rejected":
        return attempt.reason or attempt.outcome
    failed = [v for v in attempt.verdicts if v.status == "failed"]
    blamed = failed or [v for v in attempt.verdicts if v.status != "passed"]
    return blamed[0].validator if blamed else attempt.outcome


def _word(truth: bool) -> str:
    return "true" if truth else "false"
