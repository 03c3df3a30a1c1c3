"""What `cascade demo` measured, as figures: sums, shares and quantiles of the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cascade.cli.demo_ladder import HELD_OUT_SEED, THRESHOLDS
from cascade.simulated import Case, grade
from cascade.simulated.tickets import KINDS
from cascade.stats import Interval, quantile, wilson
from cascade.types import Attempt, Result, add_exactly

__all__ = [
    "LABEL",
    "PERCENTILES",
    "Autocomplete",
    "Report",
    "Run",
    "Score",
    "Settings",
    "TierFigures",
]

LABEL: Final = "simulated models: figures show how the engine works, not what your models will do"
PERCENTILES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user asked for."""

    requests: int
    seed: int
    concurrency: int
    speed: float


@dataclass(frozen=True, slots=True)
class Score:
    """How many answers were right."""

    right: int
    of: int

    @property
    def share(self) -> float | None:
        """0..1. None when there were none."""
        return self.right / self.of if self.of else None

    @property
    def interval(self) -> Interval:
        """Where the share lies, with 95 % confidence."""
        return wilson(self.right, self.of)

    def as_json(self) -> Json:
        """The counts, the share and its interval."""
        ends = list(self.interval)
        return {"right": self.right, "of": self.of, "share": self.share, "interval_95": ends}


@dataclass(frozen=True, slots=True)
class Run:
    """The workload sent once, through the cascade or to one tier alone."""

    name: str
    cases: Sequence[Case]
    results: Sequence[Result[Any]]
    elapsed_s: float

    @property
    def cost_usd(self) -> Decimal | None:
        """The whole bill, exact. None when a part of it is unknown."""
        return add_exactly(result.cost_usd for result in self.results)

    @property
    def per_1000_usd(self) -> Decimal | None:
        """The blended cost of a thousand requests."""
        cost = self.cost_usd
        return None if cost is None else cost * 1000 / len(self.results)

    def score(self, kind: str | None = None, tier: str | None = None) -> Score:
        """Right among all answers, or those to one kind of ticket, or those accepted of a tier.

        A request that no tier's answer was accepted for does not count as right.
        """
        chosen = [
            (case, result)
            for case, result in zip(self.cases, self.results, strict=True)
            if kind in (None, case.kind) and (tier is None or _accepted_from(result) == tier)
        ]
        return Score(sum(_is_right(*pair) for pair in chosen), len(chosen))

    def latency_s(self, percentile: str) -> float:
        """Measured seconds from call to result."""
        return quantile([result.latency_s for result in self.results], PERCENTILES[percentile])

    def saved_against(self, other: Run) -> float | None:
        """The share of the other run's bill that this one did not need."""
        ours, theirs = self.cost_usd, other.cost_usd
        return None if ours is None or not theirs else float(1 - ours / theirs)

    def as_json(self) -> Json:
        """Money as exact decimal text."""
        return {
            "cost_usd": _text(self.cost_usd),
            "cost_per_1000_usd": _text(self.per_1000_usd),
            "accuracy": self.score().as_json(),
            "accuracy_by_kind": {kind: self.score(kind).as_json() for kind in KINDS},
            "measured_latency_s": {name: self.latency_s(name) for name in PERCENTILES},
            "elapsed_s": self.elapsed_s,
        }


@dataclass(frozen=True, slots=True)
class TierFigures:
    """One tier's part in the cascade's run."""

    tier: str
    asked: int
    accepted: Score
    share: float
    cost_usd: Decimal | None

    @classmethod
    def of(cls, run: Run, tier: str) -> TierFigures:
        """The figures of one tier."""
        attempts = [a for a in _attempts(run) if a.tier == tier and a.outcome != "skipped"]
        accepted = run.score(tier=tier)
        charges = (c.cost_usd for a in _attempts(run) for c in a.charges if c.tier == tier)
        share = accepted.of / len(run.results)
        return cls(tier, len(attempts), accepted, share, add_exactly(charges))

    def as_json(self) -> Json:
        """Money as exact decimal text."""
        return {
            "tier": self.tier,
            "asked": self.asked,
            "accepted": self.accepted.of,
            "share_of_requests": self.share,
            "accuracy_when_accepted": self.accepted.as_json(),
            "cost_usd": _text(self.cost_usd),
        }


@dataclass(frozen=True, slots=True)
class Autocomplete:
    """The path with a latency budget. Times are measured seconds."""

    budget_s: float
    results: Sequence[Result[Any]]

    def count(self, reason: str) -> int:
        """Calls that ended "accepted", "exhausted" (rejected) or by "budget"."""
        return sum(result.reason == reason for result in self.results)

    @property
    def longest_s(self) -> float:
        """The longest call."""
        return max(result.latency_s for result in self.results)

    def as_json(self) -> Json:
        """A call that was cut off was still made, but what it cost is not known."""
        return {
            "budget_s": self.budget_s,
            "requests": len(self.results),
            "accepted_in_time": self.count("accepted"),
            "rejected_in_time": self.count("exhausted"),
            "stopped_at_the_deadline": self.count("budget"),
            "longest_s": self.longest_s,
            "known_cost_usd": _text(add_exactly(r.known_cost_usd for r in self.results)),
            "calls_of_unknown_cost": sum(result.cost_usd is None for result in self.results),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the demo found; `alone` holds the runs of single tiers, the strongest last."""

    settings: Settings
    cascade: Run
    alone: Sequence[Run]
    autocomplete: Autocomplete

    @property
    def frontier(self) -> Run:
        """The run of the strongest tier alone."""
        return self.alone[-1]

    @property
    def tiers(self) -> list[TierFigures]:
        """The cascade's tiers, cheapest first."""
        return [TierFigures.of(self.cascade, run.name) for run in self.alone]

    @property
    def unanswered(self) -> int:
        """Requests that no tier's answer was accepted for."""
        return sum(not result.accepted for result in self.cascade.results)

    @property
    def escalation_rate(self) -> float:
        """The share of requests that went on to a second tier."""
        results = self.cascade.results
        return sum(result.escalations > 0 for result in results) / len(results)

    @property
    def rejections(self) -> list[tuple[str, int]]:
        """Reasons for which answers were not accepted, the most frequent first."""
        reasons = Counter(a.reason for a in _attempts(self.cascade) if a.reason)
        return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))

    @property
    def stories(self) -> list[tuple[Case, Result[Any]]]:
        """The first request accepted at once, and the first that climbed the furthest."""
        pairs = list(zip(self.cascade.cases, self.cascade.results, strict=True))
        settled = [pair for pair in pairs if pair[1].accepted]
        at_once = next((pair for pair in settled if not pair[1].escalations), None)
        climbed = max(settled, key=lambda pair: pair[1].escalations, default=None)
        found = [at_once, climbed if climbed and climbed[1].escalations else None]
        return [pair for pair in found if pair is not None]

    def as_json(self) -> Json:
        """The machine-readable summary."""
        settings = self.settings
        return {
            "simulated": True,
            "label": LABEL,
            "requests": settings.requests,
            "seed": settings.seed,
            "concurrency": settings.concurrency,
            "speed": settings.speed,
            "held_out_seed": HELD_OUT_SEED,
            "thresholds": {tier: dict(values) for tier, values in THRESHOLDS.items()},
            "workload": dict(Counter(case.kind for case in self.cascade.cases)),
            "saved_against_large": self.cascade.saved_against(self.frontier),
            "cascade": {
                **self.cascade.as_json(),
                "escalation_rate": self.escalation_rate,
                "tiers": [tier.as_json() for tier in self.tiers],
                "unanswered": self.unanswered,
                "unanswered_share": self.unanswered / settings.requests,
                "rejections": dict(self.rejections),
            },
            "alone": {run.name: run.as_json() for run in self.alone},
            "autocomplete": self.autocomplete.as_json(),
        }


def _attempts(run: Run) -> list[Attempt]:
    return [attempt for result in run.results for attempt in result.attempts]


def _accepted_from(result: Result[Any]) -> str | None:
    return result.tier if result.accepted else None


def _is_right(case: Case, result: Result[Any]) -> bool:
    return result.accepted and grade(case, result.value)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"
