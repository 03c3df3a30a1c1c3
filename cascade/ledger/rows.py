"""From a result to the rows that are stored of it: plain tuples, without content.

This runs for every call, beside the event loop that made it: so tuples rather than objects, and
what is computed once is used for all rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias, cast

from cascade.types import Attempt, Charge, Result, Usage, Verdict, add_exactly

__all__ = [
    "ATTEMPT_COLUMNS",
    "CALL_COLUMNS",
    "CHARGE_COLUMNS",
    "CONTENT_COLUMNS",
    "VERDICT_COLUMNS",
    "Record",
    "Row",
    "record_of",
]

Row: TypeAlias = tuple[Any, ...]

# In the order of the tuples made below. Tables put the call's number before each of them.
CALL_COLUMNS: Final = (
    "id",
    "started_at",
    "cascade",
    "path",
    "rule",
    "rule_reason",
    "policy",
    "tenant",
    "parent",
    "accepted",
    "tier",
    "reason",
    "escalations",
    "budget_s",
    "latency_s",
    "cost_usd",
    "input_tokens",
    "output_tokens",
    "plan",
    "signals",
    "metadata",
)
ATTEMPT_COLUMNS: Final = (
    "number",
    "tier",
    "model",
    "ask",
    "outcome",
    "reason",
    "error",
    "score",
    "started_s",
    "latency_s",
    "call_s",
    "queue_s",
    "cost_usd",
    "answered_by",
    "finish_reason",
)
VERDICT_COLUMNS: Final = (
    "attempt",
    "number",
    "part_of",
    "validator",
    "status",
    "score",
    "threshold",
    "reason",
    "latency_s",
)
CHARGE_COLUMNS: Final = (
    "attempt",
    "number",
    "tier",
    "purpose",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_usd",
)
CONTENT_COLUMNS: Final = ("attempt", "kind", "text")

_NO_TOKENS: Final = (None, None, None, None, None)


class Record(NamedTuple):
    """All rows of one call.

    Attributes:
        call: the row of `calls`, in the order of `CALL_COLUMNS`.
        attempts, verdicts, charges, contents: the rows of those tables.
    """

    call: Row
    attempts: list[Row]
    verdicts: list[Row]
    charges: list[Row]
    contents: list[Row]

    @property
    def id(self) -> str:
        """The id of the call."""
        return cast("str", self.call[0])


def record_of(result: Result[Any]) -> Record:
    """The rows of one call, without its content."""
    attempts: list[Row] = []
    verdicts: list[Row] = []
    charges: list[Row] = []
    costs: list[Decimal | None] = []
    read: int | None = 0
    written: int | None = 0
    asked: str | None = None
    escalations = 0
    for number, attempt in enumerate(result.attempts):
        if attempt.outcome != "skipped":
            escalations += asked is not None and asked != attempt.tier
            asked = attempt.tier
        first = len(costs)
        for place, charge in enumerate(attempt.charges):
            row, cost = _charge(charge, number, place)
            charges.append(row)
            costs.append(cost)
            read = None if read is None or row[4] is None else read + row[4]
            written = None if written is None or row[5] is None else written + row[5]
        if attempt.verdicts:
            _add_verdicts(verdicts, attempt.verdicts, number)
        attempts.append(_attempt(attempt, number, _money(costs[first:])))
    call = (
        result.id,
        result.started_at,
        result.cascade,
        result.path,
        result.rule,
        result.rule_reason,
        result.policy,
        result.tenant,
        result.parent,
        result.accepted,
        result.tier,
        result.reason,
        escalations,
        result.budget_s,
        result.latency_s,
        attempts[0][12] if len(attempts) == 1 else _money(costs),
        read,
        written,
        _plan(result.plan),
        _json(result.signals),
        _json(result.metadata),
    )
    return Record(call, attempts, verdicts, charges, [])


@lru_cache(maxsize=1_000)
def _plan(tiers: tuple[str, ...]) -> str | None:
    """A JSON list. There are few plans and many calls. None: nobody said."""
    return json.dumps(tiers) if tiers else None


def _attempt(attempt: Attempt, number: int, cost: str | None) -> Row:
    answer = attempt.answer
    return (
        number,
        attempt.tier,
        attempt.model,
        attempt.ask,
        attempt.outcome,
        attempt.reason,
        None if attempt.error is None else type(attempt.error).__name__,
        _lowest(attempt.verdicts),
        attempt.started_s,
        attempt.latency_s,
        attempt.call_s,
        attempt.queue_s,
        cost,
        None if answer is None else answer.model,
        None if answer is None else answer.finish_reason,
    )


def _lowest(verdicts: Sequence[Verdict]) -> float | None:
    lowest: float | None = None
    for verdict in verdicts:
        score = verdict.score
        if score is not None and (lowest is None or score < lowest):
            lowest = score
    return lowest


def _charge(charge: Charge, attempt: int, number: int) -> tuple[Row, Decimal | None]:
    usage, cost = charge.usage, charge.cost_usd
    tokens = _NO_TOKENS if usage is None else _tokens(usage)
    money = None if cost is None else str(cost)
    return (attempt, number, charge.tier, charge.purpose, *tokens, money), cost


def _tokens(usage: Usage) -> Row:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


def _add_verdicts(
    rows: list[Row],
    verdicts: Sequence[Verdict],
    attempt: int,
    number: int = 0,
    part_of: int | None = None,
) -> int:
    """A row for each verdict, and after it those of its parts.

    Returns:
        the number, within the attempt, of the row that would come next.
    """
    for verdict in verdicts:
        rows.append(
            (
                attempt,
                number,
                part_of,
                verdict.validator,
                verdict.status,
                verdict.score,
                verdict.threshold,
                verdict.reason,
                verdict.latency_s,
            )
        )
        own = number
        number += 1
        if verdict.parts:
            number = _add_verdicts(rows, verdict.parts, attempt, number, own)
    return number


def _money(costs: Sequence[Decimal | None]) -> str | None:
    """The exact sum as text. None as soon as one is unknown."""
    total = costs[0] if len(costs) == 1 else add_exactly(costs)
    return None if total is None else str(total)


def _json(values: Mapping[str, Any]) -> str | None:
    """JSON text. None: there is nothing to say."""
    if not values:
        return None
    try:
        return json.dumps(values, allow_nan=False, default=str)
    except (TypeError, ValueError):  # keys that are no text, numbers that JSON has no word for
        return json.dumps(_plain(values), default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        mapping: Mapping[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {str(key): _plain(one) for key, one in mapping.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in cast("Sequence[Any]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
