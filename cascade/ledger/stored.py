"""What is read from a ledger: calls as they were stored. Treat them as read-only.

Not frozen: that would three-fold the time it takes to read one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cascade.types import Outcome, Status

__all__ = ["StoredAttempt", "StoredCall", "StoredCharge", "StoredOutcome", "StoredVerdict"]


@dataclass(slots=True)
class StoredVerdict:
    """One validator's judgement. `part_of`: the number of the composed verdict that it is in."""

    number: int
    part_of: int | None
    validator: str
    status: Status
    score: float | None
    threshold: float | None
    reason: str
    latency_s: float | None


@dataclass(slots=True)
class StoredCharge:
    """One billed call to a model. None: unknown."""

    number: int
    tier: str
    purpose: str
    input_tokens: int | None
    output_tokens: int | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: Decimal | None


@dataclass(slots=True)
class StoredAttempt:
    """One tier's try; the attributes are those of `cascade.Attempt`, and

    error: the name of the error's class. None: nothing broke.
    score: the lowest of the verdicts'. None: none has one.
    answered_by: the model that answered, by the provider's own name. None: unknown.
    verdicts: those of composed validators are followed by their parts.
    answer: its text, where content is stored. None: it is not, or there was none.
    value: what validators made of the answer, as `cascade.policing.comparable` has it, where that
        differs from its text. "": nothing that can be compared. None: it does not differ.
    """

    number: int
    tier: str
    model: str | None
    ask: int
    outcome: Outcome
    reason: str
    error: str | None
    score: float | None
    started_s: float
    latency_s: float
    call_s: float | None
    queue_s: float
    cost_usd: Decimal | None
    answered_by: str | None
    finish_reason: str | None
    verdicts: tuple[StoredVerdict, ...]
    charges: tuple[StoredCharge, ...]
    answer: str | None
    value: str | None


@dataclass(slots=True)
class StoredOutcome:
    """What somebody said of a call later. `at`: Unix time. None: not said."""

    by: str
    at: float
    correct: bool | None
    score: float | None
    label: str | None


@dataclass(slots=True)
class StoredCall:
    """One call; the attributes are those of `cascade.Result`, and

    seq: its number in the ledger, in the order in which calls were stored.
    input_tokens, output_tokens: of all its charges. None: unknown.
    outcomes: what was said of it later, by whom.
    request: {"messages": [...], "params": {...}} as first sent to a tier, where that is stored.
        None: it is not, or was not asked for.
    """

    seq: int
    id: str
    started_at: float
    cascade: str | None
    path: str | None
    rule: str | None
    rule_reason: str | None
    policy: str | None
    tenant: str | None
    parent: str | None
    accepted: bool
    tier: str | None
    reason: str
    escalations: int
    budget_s: float | None
    latency_s: float
    cost_usd: Decimal | None
    input_tokens: int | None
    output_tokens: int | None
    plan: tuple[str, ...]
    signals: Mapping[str, Any]
    metadata: Mapping[str, Any]
    attempts: tuple[StoredAttempt, ...]
    outcomes: tuple[StoredOutcome, ...]
    request: Mapping[str, Any] | None = None

    @property
    def correct(self) -> bool | None:
        """Whether the answer was right, by the last outcome that says so. None: nobody did."""
        told = [one for one in self.outcomes if one.correct is not None]
        return max(told, key=lambda one: one.at).correct if told else None
