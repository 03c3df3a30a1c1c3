"""What a report says, as plain numbers: the same for the page, the terminal and JSON.

Money that was billed is exact (`Decimal`); what is estimated is a float. None: unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from cascade.stats import wilson

__all__ = [
    "MIN_LABELS",
    "Bill",
    "Bucket",
    "Budget",
    "Fault",
    "Figures",
    "Finding",
    "Frontier",
    "Gaps",
    "Labelled",
    "Latency",
    "PathFigures",
    "Saving",
    "Share",
    "Step",
    "Threshold",
    "TierFigures",
    "Totals",
]

MIN_LABELS: Final = 20
"""Fewer labels than this support no claim about a threshold."""

Finding: TypeAlias = Literal["too_strict", "too_loose", "no_sign", "too_few_labels"]


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with the 95 % interval after Wilson. `rate` is None of nothing."""

    count: int
    of: int
    rate: float | None
    low: float
    high: float

    @classmethod
    def made(cls, count: int, of: int) -> Share:
        """The share with its interval."""
        low, high = wilson(count, of)
        return cls(count, of, count / of if of else None, low, high)


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles by the nearest rank, in seconds: values that were measured. None: no calls."""

    calls: int
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None


@dataclass(frozen=True, slots=True)
class Bill:
    """What something cost.

    Attributes:
        cost_usd: the sum of all charges that are known: a lower bound where some are not.
        count: how many calls or charges it is for.
        unknown: how many of them have a cost that is unknown, wholly or in part.
        mean_usd: of those whose cost is known. None: there are none.
    """

    cost_usd: Decimal
    count: int
    unknown: int
    mean_usd: float | None

    @classmethod
    def of_charges(cls, cost_usd: Decimal | None, count: int, unknown: int) -> Bill:
        """From a row of a query on charges, where None is the sum of no known amount."""
        return cls.of_calls(cost_usd, cost_usd, count, unknown)

    @classmethod
    def of_calls(
        cls, cost_usd: Decimal | None, known_usd: Decimal | None, count: int, unknown: int
    ) -> Bill:
        """From what all charges of some calls sum up to, and those of the calls that are known."""
        known = count - unknown
        mean = float(known_usd) / known if known and known_usd is not None else None
        return cls(cost_usd or Decimal(0), count, unknown, mean)


@dataclass(frozen=True, slots=True)
class Totals:
    """The whole selection.

    Attributes:
        requests: calls that are in no other call of the selection; `nested` are the others.
        first_at, last_at: when the first and the last call started, in Unix time.
        bill: of the requests; what nested calls cost is in the bill of those around them.
        accepted, escalated: of the requests.
        endings: how many requests ended for which reason, most first.
        correct: of the accepted requests with a label.
    """

    requests: int
    nested: int
    first_at: float | None
    last_at: float | None
    bill: Bill
    accepted: Share
    escalated: Share
    endings: tuple[tuple[str, int], ...]
    latency: Latency
    correct: Share


@dataclass(frozen=True, slots=True)
class Bucket:
    """One step of the trends.

    Attributes:
        start_at: when it begins, in Unix time.
        cost_per_request_usd: the mean where it is known.
        frontier_low_usd, frontier_high_usd: what a request is estimated to cost on the strongest
            tier alone.
        escalated: how many requests.
        failed, refused: attempts that broke or ran out of time; attempts that were not sent,
            because a circuit was open or a queue too long.
    """

    start_at: float
    requests: int
    cost_per_request_usd: float | None
    frontier_low_usd: float | None
    frontier_high_usd: float | None
    escalated: int
    p95_s: float | None
    failed: int
    refused: int


@dataclass(frozen=True, slots=True)
class Frontier:
    """What one cascade's requests would have cost on its strongest tier: an estimate.

    Attributes:
        tier: the tier that is taken for the strongest. None: none can be told.
        answers: how many of its answers the estimate rests on.
        requests: how many requests are compared, which are those that were answered at a known
            cost with known tokens; `of` all requests of the cascade.
        actual_usd: what the compared ones cost, all their attempts and judges included.
        repriced_usd: their answers' tokens at the tier's price. None: it cannot be told.
        mean_usd: as many of the tier's answers at their mean cost.
    """

    cascade: str | None
    tier: str | None
    answers: int
    requests: int
    of: int
    actual_usd: float
    repriced_usd: float | None
    mean_usd: float | None


@dataclass(frozen=True, slots=True)
class Saving:
    """What was saved against sending everything to the strongest tier, from the least estimate
    (`low`) to the greatest (`high`). Negative: it cost more.

    Attributes:
        compared: how many of the requests can be compared.
        saved_low, saved_high: as shares of what it would have cost. None: nothing to compare.
    """

    compared: Share
    actual_usd: float
    frontier_low_usd: float | None
    frontier_high_usd: float | None
    saved_low: float | None
    saved_high: float | None
    cascades: tuple[Frontier, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """How a path kept its budget.

    Attributes:
        low_s, high_s: the least and the greatest budget that a call was given.
        kept: calls that ended within theirs, of those that had one. A call that its deadline ended
            without an accepted answer has not kept it.
    """

    low_s: float
    high_s: float
    kept: Share


@dataclass(frozen=True, slots=True)
class PathFigures:
    """One path of one cascade, nested calls included.

    Attributes:
        bill: of its requests; nested calls are in the bills of those around them.
        budget: None: no call had one.
        escalated_calls, direct_calls: the latency of calls that were escalated, and of the others.
    """

    cascade: str | None
    path: str | None
    calls: int
    accepted: Share
    escalated: Share
    bill: Bill
    budget: Budget | None
    latency: Latency
    direct_calls: Latency
    escalated_calls: Latency


@dataclass(frozen=True, slots=True)
class TierFigures:
    """One tier on one path of one cascade.

    Attributes:
        asked: how often a call came to it; asking again with feedback is not counted.
        accepted: how often its answer was.
        escalated: how often the call went on to another tier from it.
    """

    cascade: str | None
    path: str | None
    tier: str
    asked: int
    accepted: int
    escalated: Share


@dataclass(frozen=True, slots=True)
class Step:
    """Why attempts were not accepted, and where the calls went.

    Attributes:
        outcome: rejected, failed or timed_out.
        reason: the code, as in "json_schema:invalid".
        to: the tier that was asked next. None: none was.
    """

    cascade: str | None
    tier: str
    to: str | None
    outcome: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """How often accepted answers were right, where somebody said so. `calls`: all accepted ones."""

    cascade: str | None
    name: str | None
    correct: Share
    calls: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """One validator's threshold at one tier, and what labels say of it.

    Attributes:
        rejected: answers it did not pass, of those it judged.
        rejected_right: of rejected answers with a label, how many were right. Only answers that
            were handed out all the same, as the best there was, have one.
        rejected_equal: of rejected answers whose text is stored, as is that of the accepted one,
            how many were the same: the second call was paid for nothing.
        near_wrong: of accepted answers with a label whose score lies in the lowest quarter above
            the threshold, how many were wrong.
        rest_wrong: the same for higher scores.
        escalated_wrong: how often the answers of later tiers were wrong, after a rejection here.
        finding: what can be said.
    """

    cascade: str | None
    tier: str
    validator: str
    threshold: float
    rejected: Share
    rejected_right: Share
    rejected_equal: Share
    near_wrong: Share
    rest_wrong: Share
    escalated_wrong: Share
    finding: Finding


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which attempts at one tier failed. `error`: the class, or the reason."""

    tier: str
    error: str
    is_refusal: bool
    attempts: Share
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class Gaps:
    """What the ledger does not know.

    Attributes:
        unknown_costs: of the requests.
        unlabelled: of the accepted requests.
        orphan_labels: what was said of calls that the ledger does not hold: not stored, deleted, or
            not stored yet.
        orphan_calls: nested calls whose outer call it does not hold.
    """

    unknown_costs: Share
    unlabelled: Share
    orphan_labels: int
    orphan_calls: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything a report says.

    Attributes:
        ledger: its address, without secrets.
        cascade: the cascade that was asked for. None: all.
        since, until: Unix time. None: no bound.
        width_s: seconds of a bucket.
        tenants: what the greatest ones cost, None being requests without one.
        other_tenants: of all others together. None: there are none.
    """

    ledger: str
    cascade: str | None
    since: float | None
    until: float | None
    totals: Totals
    saving: Saving
    width_s: float
    trend: tuple[Bucket, ...]
    paths: tuple[PathFigures, ...]
    tiers: tuple[TierFigures, ...]
    steps: tuple[Step, ...]
    tier_bills: tuple[tuple[str, Bill], ...]
    judge_bills: tuple[tuple[str, Bill], ...]
    tenants: tuple[tuple[str | None, Bill], ...]
    other_tenants: tuple[int, Bill] | None
    tier_quality: tuple[Labelled, ...]
    path_quality: tuple[Labelled, ...]
    thresholds: tuple[Threshold, ...]
    faults: tuple[Fault, ...]
    gaps: Gaps
