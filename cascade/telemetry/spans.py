"""What spans say of calls and attempts: names, codes and numbers, never content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from cascade.providers import PROVIDERS
from cascade.telemetry.conventions import (
    CHAT,
    EVALUATION_EVENT,
    EVALUATION_LABEL,
    EVALUATION_NAME,
    EVALUATION_SCORE,
    FINISH_REASONS,
    OPERATION_NAME,
    PROVIDER_NAME,
    PROVIDER_NAMES,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    USAGE_CACHE_READ,
    USAGE_CACHE_WRITE,
    USAGE_INPUT,
    USAGE_OUTPUT,
    USAGE_REASONING,
)
from cascade.types import Attempt, Result, Usage, Verdict

__all__ = [
    "Attributes",
    "Event",
    "attempt_begins",
    "attempt_ended",
    "attempt_error",
    "attempt_events",
    "attempt_name",
    "call_begins",
    "call_ended",
    "call_error",
    "call_events",
]

Attributes: TypeAlias = dict[str, str | bool | int | float | tuple[str, ...]]


class Event(NamedTuple):
    """Something that happened within a span."""

    name: str
    attributes: Attributes


def call_begins(cascade: str | None, path: str | None) -> Attributes:
    """What is known of a call when it starts, for samplers to go by."""
    return _known({"cascade.name": cascade, "cascade.path": path})


def call_ended(result: Result[Any]) -> Attributes:
    """What came of a call."""
    cost_usd = result.cost_usd
    return _known(
        {
            "cascade.call.id": result.id,
            "cascade.call.parent": result.parent,
            "cascade.rule": result.rule,
            "cascade.plan": result.plan or None,
            "cascade.policy": result.policy,
            "cascade.accepted": result.accepted,
            "cascade.reason": result.reason,
            "cascade.tier": result.tier,
            "cascade.escalations": result.escalations,
            "cascade.budget_s": result.budget_s,
            "cascade.cost_usd": None if cost_usd is None else float(cost_usd),
            "cascade.tenant": result.tenant,
        }
    )


def call_error(result: Result[Any]) -> str | None:
    """Why a call has to count as failed. None: it does not."""
    return None if result.accepted else result.reason


def call_events(result: Result[Any]) -> Iterator[Event]:
    """The rungs that were never asked, each with why."""
    for attempt in result.attempts:
        if attempt.outcome == "skipped" and not attempt.charges:
            facts: Attributes = {"cascade.tier": attempt.tier, "cascade.reason": attempt.reason}
            yield Event("cascade.skipped", facts)


def attempt_name(attempt: Attempt) -> str:
    """The name of an attempt's span, such as "chat gpt-5-nano"."""
    _, model = _provider_and_model(attempt)
    return f"{CHAT} {model or attempt.tier}"


def attempt_begins(attempt: Attempt) -> Attributes:
    """What is known of an attempt when its tier is asked."""
    provider, model = _provider_and_model(attempt)
    return _known(
        {
            "cascade.tier": attempt.tier,
            "cascade.ask": attempt.ask,
            OPERATION_NAME: CHAT if model else None,
            PROVIDER_NAME: None if provider is None else PROVIDER_NAMES.get(provider, provider),
            REQUEST_MODEL: model,
        }
    )


def attempt_ended(attempt: Attempt) -> Attributes:
    """What came of an attempt. Its tokens are those of the answer, without its validators'."""
    answer, cost_usd = attempt.answer, attempt.cost_usd
    finish_reason = None if answer is None else answer.finish_reason
    return _known(
        {
            "cascade.outcome": attempt.outcome,
            "cascade.reason": attempt.reason or None,
            "cascade.queue_s": attempt.queue_s,
            "cascade.cost_usd": None if cost_usd is None else float(cost_usd),
            RESPONSE_MODEL: None if answer is None else answer.model,
            FINISH_REASONS: None if finish_reason is None else (finish_reason,),
            **_tokens(_usage(attempt)),
        }
    )


def attempt_error(attempt: Attempt) -> str | None:
    """What broke: an error's class, or a code. None: nothing; a rejected answer is no error."""
    return attempt.reason if attempt.outcome in ("failed", "timed_out") else None


def attempt_events(attempt: Attempt) -> Iterator[Event]:
    """The verdicts, as evaluations; without their feedback, which may quote the answer."""
    for verdict in attempt.verdicts:
        yield Event(EVALUATION_EVENT, _verdict(verdict))


def _verdict(verdict: Verdict) -> Attributes:
    return _known(
        {
            EVALUATION_NAME: verdict.validator,
            EVALUATION_LABEL: verdict.status,
            EVALUATION_SCORE: verdict.score,
            "cascade.threshold": verdict.threshold,
            "cascade.reason": verdict.reason or None,
            "cascade.latency_s": verdict.latency_s,
        }
    )


def _usage(attempt: Attempt) -> Usage | None:
    """The tokens of the answer. None: unknown, or it was never asked."""
    total: Usage | None = None
    for charge in attempt.charges:
        if charge.purpose == "answer":
            if charge.usage is None:
                return None
            total = charge.usage if total is None else total + charge.usage
    return total


def _tokens(usage: Usage | None) -> dict[str, int | None]:
    if usage is None:
        return {}
    return {
        USAGE_INPUT: usage.input_tokens,
        USAGE_OUTPUT: usage.output_tokens,
        USAGE_CACHE_READ: usage.cached_input_tokens,
        USAGE_CACHE_WRITE: usage.cache_write_tokens,
        USAGE_REASONING: usage.reasoning_tokens,
    }


def _provider_and_model(attempt: Attempt) -> tuple[str | None, str | None]:
    """From "openai:gpt-5-nano"; a tier that an SDK is called for may name just the model."""
    if attempt.model is None:
        return None, None
    provider, _, name = attempt.model.partition(":")
    return (provider, name) if name and provider in PROVIDERS else (None, attempt.model)


def _known(
    facts: Mapping[str, str | bool | int | float | tuple[str, ...] | None],
) -> Attributes:
    return {name: fact for name, fact in facts.items() if fact is not None}
