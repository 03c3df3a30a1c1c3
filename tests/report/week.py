"""A made-up week of traffic as real `Result` objects, for tests and benchmarks of the report.

Three cascades for four tenants, with days and nights, a share of labels, calls in calls, hidden
costs, one threshold that is too strict and one that is too loose, and an afternoon on which the
large tier's provider breaks down. The same seed makes the same week.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from cascade import Answer, Attempt, Charge, Price, Result, Usage, Verdict
from cascade.errors import CircuitOpenError, OverloadedError, RateLimitError
from cascade.ledger import Ledger

END_AT: Final = 1_780_272_000.0  # 2026-06-01T00:00:00Z
DAY_S: Final = 86_400.0
WEEK_S: Final = 7 * DAY_S
LABELLED: Final = 0.12

_INCIDENT_AT: Final = END_AT - 3 * DAY_S + 13 * 3600
_INCIDENT_S: Final = 3 * 3600
_CIRCUIT_OPENS_AFTER_S: Final = 900


class Model(NamedTuple):
    """A tier of the week: its price, how able it is (0..1), its seconds per call."""

    name: str
    price: Price | None
    able: float
    takes_s: float


@dataclass(frozen=True)
class Kind:
    """A kind of call: what is asked of it, and how it is judged."""

    cascade: str
    path: str | None
    weight: float
    ladder: tuple[str, ...]
    validator: str
    threshold: float
    budget_s: float | None
    tokens: tuple[int, int]
    hard: float
    keeps_text: bool = False
    tenants: tuple[str | None, ...] = field(default=("acme", "globex", "initech", None))


MODELS: Final = {
    one.name: one
    for one in (
        Model("small", Price(input=0.05, output=0.40), 0.62, 0.35),
        Model("medium", Price(input=0.60, output=2.40), 0.8, 0.9),
        Model("large", Price(input=3, output=15), 1.0, 1.9),
        Model("local", None, 0.5, 0.2),
    )
}
KINDS: Final = (
    Kind("support", "chat", 5, ("small", "medium", "large"), "logprob", 0.55, 4.0, (700, 140), 0.5),
    Kind("support", "email", 2, ("small", "large"), "logprob", 0.55, None, (1400, 320), 0.6),
    Kind("support", "autocomplete", 2, ("small",), "finish_reason", 0.0, 0.6, (180, 12), 0.25),
    Kind("extract", None, 3, ("small", "large"), "agreement", 0.86, None, (900, 60), 0.3, True),
    Kind("review", "interactive", 1, ("medium", "large"), "judge", 0.2, 8.0, (2600, 420), 0.8),
    Kind("review", "nightly", 0.6, ("local", "large"), "judge", 0.5, None, (3000, 500), 0.8),
)


class Made(NamedTuple):
    """A call, and whether its answer is said to be right. None: nobody says."""

    result: Result[Any]
    correct: bool | None


def week(calls: int = 50_000, seed: int = 7) -> Iterator[Made]:
    """So many requests in the order of their start; some have a call inside, made first."""
    chance = random.Random(seed)
    starts = sorted(_when(chance) for _ in range(calls))
    for number, started_at in enumerate(starts):
        kind = chance.choices(KINDS, [one.weight for one in KINDS])[0]
        made = _Call(chance, kind, f"{seed:04x}{number:06x}", started_at).made()
        if kind.path == "email" and chance.random() < 0.1:
            yield from _nested(chance, made)
        else:
            yield made


def record_week(ledger: Ledger, calls: int = 50_000, seed: int = 7) -> None:
    """Record a week and its labels, and wait until it is stored."""
    for number, (result, correct) in enumerate(week(calls, seed), 1):
        ledger.record(result)
        if correct is not None:
            ledger.record_outcome(result.id, correct=correct, by="grader")
        if number % 10_000 == 0:
            assert ledger.flush(60)
    assert ledger.flush(60)


def _when(chance: random.Random) -> float:
    """Most calls come in the day."""
    while True:
        at = END_AT - WEEK_S + chance.random() * WEEK_S
        if chance.random() < 0.55 - 0.45 * math.cos(2 * math.pi * at / DAY_S):
            return at


def _nested(chance: random.Random, outer: Made) -> Iterator[Made]:
    """The call's first attempt made a call of its own, whose bill is a part of its bill."""
    result = outer.result
    inner = _Call(chance, KINDS[3], f"{result.id}-in", result.started_at + 0.01).made()
    inner.result.parent = result.id
    for attempt in inner.result.attempts:
        result.attempts[0].charges.extend(attempt.charges)
    yield inner
    yield outer


class _Call:
    """One call on its way up the ladder."""

    def __init__(self, chance: random.Random, kind: Kind, id: str, started_at: float) -> None:
        self.chance, self.kind, self.id, self.started_at = chance, kind, id, started_at
        self.difficulty = min(1.0, max(0.0, chance.gauss(kind.hard, 0.22)))
        self.size = chance.lognormvariate(0, 0.5)
        self.attempts: list[Attempt] = []
        self.right: list[bool | None] = []
        self.elapsed_s = 0.0

    def made(self) -> Made:
        for name in self.kind.ladder:
            attempt, right = self._attempt(MODELS[name])
            self.attempts.append(attempt)
            self.right.append(right)
            self.elapsed_s += attempt.latency_s
            if attempt.outcome in ("accepted", "timed_out"):
                break
        return Made(self._result(), self._label())

    def _label(self) -> bool | None:
        answered = [right for right in self.right if right is not None]
        if not answered or self.chance.random() >= LABELLED:
            return None
        return answered[-1]

    def _result(self) -> Result[Any]:
        last = self.attempts[-1]
        accepted = last.outcome == "accepted"
        answered = [one for one in self.attempts if one.answer is not None]
        reason = "accepted" if accepted else "exhausted"
        if last.reason == "budget":
            reason = "budget"
        return Result(
            None,
            accepted,
            answered[-1].tier if answered else None,
            reason,
            tuple(self.attempts),
            self.elapsed_s,
            path=self.kind.path,
            cascade=self.kind.cascade,
            budget_s=self.kind.budget_s,
            id=self.id,
            started_at=self.started_at,
            tenant=self.chance.choice(self.kind.tenants),
            signals={"input_tokens": int(self.kind.tokens[0] * self.size)},
        )

    def _attempt(self, model: Model) -> tuple[Attempt, bool | None]:
        latency_s = model.takes_s * self.chance.lognormvariate(0, 0.35)
        attempt = Attempt(
            model.name,
            model=f"simulated:{model.name}",
            started_s=self.elapsed_s,
            latency_s=latency_s,
        )
        if self._is_broken(model, attempt):
            return attempt, None
        attempt.charges.append(Charge(model.name, model.price, self._usage()))
        left_s = (self.kind.budget_s or math.inf) - self.elapsed_s
        if latency_s > left_s:
            attempt.latency_s = left_s  # the outcome is as it began: timed_out, budget
            attempt.charges[0].usage = None
            return attempt, None
        return attempt, self._judged(model, attempt)

    def _usage(self) -> Usage:
        read, written = self.kind.tokens
        cached = int(0.2 * read * self.size) if self.chance.random() < 0.3 else 0
        words = self.chance.lognormvariate(0, 0.3)
        return Usage(int(read * self.size) + 1, int(written * self.size * words) + 1, cached)

    def _is_broken(self, model: Model, attempt: Attempt) -> bool:
        since_s = self.started_at - _INCIDENT_AT
        error: Exception | None = None
        if model.name == "large" and 0 <= since_s < _INCIDENT_S:
            if since_s > _CIRCUIT_OPENS_AFTER_S and self.chance.random() < 0.7:
                error = CircuitOpenError("large: the circuit is open", retry_after_s=20.0)
                attempt.latency_s = 0.001
            elif self.chance.random() < 0.8:
                error = OverloadedError("simulated: 529", status=529)
        elif self.chance.random() < 0.002:
            error = RateLimitError("simulated: 429", status=429)
        if error is None:
            return False
        attempt.error, attempt.outcome, attempt.reason = error, "failed", type(error).__name__
        return True

    def _judged(self, model: Model, attempt: Attempt) -> bool:
        right = self.chance.random() < 1 / (1 + math.exp(12 * (self.difficulty - model.able)))
        kind = self.kind
        text = f"total: {int(self.difficulty * 1e6) if right else self.chance.randrange(10**6)}"
        attempt.answer = Answer(text if kind.keeps_text else None, model=model.name)
        attempt.call_s = attempt.latency_s * 0.95
        well_formed = self.chance.random() > 0.03
        attempt.verdicts.append(
            Verdict(
                "passed" if well_formed else "failed",
                float(well_formed),
                "" if well_formed else "invalid",
                validator="json_schema",
                latency_s=0.0004,
            )
        )
        if well_formed and kind.threshold:
            self._score(attempt, right)
        passed = all(verdict.status == "passed" for verdict in attempt.verdicts)
        attempt.outcome = "accepted" if passed else "rejected"
        blamed = attempt.verdicts[-1]
        attempt.reason = "" if passed else f"{blamed.validator}:{blamed.reason}"
        return right

    def _score(self, attempt: Attempt, right: bool) -> None:
        kind = self.kind
        score = self.chance.betavariate(9, 2) if right else self.chance.betavariate(2.2, 4)
        passed = score >= kind.threshold
        attempt.verdicts.append(
            Verdict(
                "passed" if passed else "failed",
                round(score, 4),
                "" if passed else "below_threshold",
                validator=kind.validator,
                threshold=kind.threshold,
                latency_s=0.002 if kind.validator != "judge" else 0.7,
            )
        )
        if kind.validator == "judge":
            usage = Usage(int(kind.tokens[0] * self.size) + 200, 8)
            attempt.charges.append(Charge("small", MODELS["small"].price, usage, "judge"))
