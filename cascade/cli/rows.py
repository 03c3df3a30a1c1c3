"""One request's story as a JSON row: the format of `cascade run --json` and `--file`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeAlias

from cascade.errors import CascadeError, NoAnswerError
from cascade.types import Attempt, Result, Verdict

__all__ = ["Row", "error_row", "mishap", "result_row"]

Row: TypeAlias = dict[str, Any]
"""The keys are part of the command line's contract; docs/cli.md says what each means."""


def result_row(result: Result[Any], error: NoAnswerError | None = None) -> Row:
    """The row of a call that ran to its end; `error` is what it raised, if it did."""
    return {
        "accepted": result.accepted,
        # What was raised as an error is not handed out as a value.
        "value": None if error else result.value,
        "tier": result.tier,
        "reason": result.reason,
        "rule": result.rule,
        "rule_reason": result.rule_reason,
        "cost_usd": _money(result.cost_usd),
        "latency_s": round(result.latency_s, 6),
        "attempts": [_attempt(attempt) for attempt in result.attempts],
        "error": None if error is None else _error(error, str(error)),
    }


def error_row(error: Exception, message: str) -> Row:
    """The row of a request that never became a call."""
    return {
        "accepted": False,
        "value": None,
        "tier": None,
        "reason": "error",
        "rule": None,
        "rule_reason": None,
        "cost_usd": "0",
        "latency_s": 0.0,
        "attempts": [],
        "error": _error(error, message),
    }


def mishap(attempt: Attempt) -> str | None:
    """What broke, in words that hold no content. None when nothing broke, or cannot be told."""
    return str(attempt.error) if isinstance(attempt.error, CascadeError) else None


def _error(error: Exception, message: str) -> Row:
    return {"type": type(error).__name__, "message": message}


def _attempt(attempt: Attempt) -> Row:
    return {
        "tier": attempt.tier,
        "ask": attempt.ask,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "latency_s": round(attempt.latency_s, 6),
        "cost_usd": _money(attempt.cost_usd),
        "verdicts": [_verdict(verdict) for verdict in attempt.verdicts],
        "error": mishap(attempt),
    }


def _verdict(verdict: Verdict) -> Row:
    return {
        "validator": verdict.validator,
        "status": verdict.status,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "reason": verdict.reason,
    }


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount.normalize():f}"
