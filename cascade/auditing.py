"""Audits: a share of accepted cheap answers is asked of the strongest tier too, later.

What a validator lets through is not always right, and models change under a route. So some of what
was accepted is asked once more of the best tier there is, and compared.
"""

from __future__ import annotations

import inspect
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

from anyio import Event, Semaphore, create_task_group, move_on_after

from cascade.attempt import Call, Run, attempt_rung
from cascade.context import Context
from cascade.errors import ConfigError, did_you_mean
from cascade.live import AuditState, watch_audits
from cascade.logs import warn
from cascade.observing import Observers
from cascade.options import check_count, check_seconds, check_threshold, named_options
from cascade.policing import comparable
from cascade.policy import Policy
from cascade.spend import Spend
from cascade.types import Attempt, Charge, Result, add_exactly
from cascade.validation import Validator

if TYPE_CHECKING:
    from cascade.evals.audit import AuditEstimate
    from cascade.routing import Plan

__all__ = ["AUDITED_BY", "Audit", "Auditor", "Grade", "check_packages"]

Grade: TypeAlias = Callable[[Any, Any], float | bool | Awaitable[float | bool]]
"""How good an accepted value is, from 0 to 1, given the strongest tier's value."""

AUDITED_BY: Final = "audit"
"""Who tells the ledger of an audit."""
_GRADE: Final = "grade"
"""What a grading function's calls are billed for."""


@runtime_checkable
class _TakesOutcomes(Protocol):
    def record_outcome(
        self,
        request_id: str,
        *,
        correct: bool | None = None,
        score: float | None = None,
        label: str | None = None,
        by: str = "user",
    ) -> None: ...


class Audit:
    """How a cascade's accepted answers are audited. It works inside of `Cascade.lifespan`.

    Args:
        share: of the accepted answers of cheaper tiers, how many are asked of the strongest too:
            above 0 and up to 1; or by path, where a path that is left out is not audited.
        grade: how good the accepted answer is: a function of the accepted value and of the
            strongest tier's, giving 0 to 1; or a validator, which scores both answers. None: 1
            where both say the same, else 0.
        within: how much worse than the strongest tier's the accepted answers may be, in score.
        confidence: the chance that no alarm is ever false, and that no interval is ever wrong.
        on_drift: what an alarm does besides the log: "log" nothing, "bypass" asks only the
            strongest tier on that path from then on, "fallback" puts `fallback` in force.
        fallback: the last policy that was certified, for `on_drift="fallback"`.
        spend: the caps of the audits' own money. None: they are not capped.
        labels: where the labels go: anything with a method `record_outcome`, such as a ledger.
            None: nowhere.
        queue: how many may wait; one more is left out and counted.
        concurrency: how many are under way at once.
        timeout_s: seconds one audit may take.
        seed: for the choice of what is audited. None: another choice in each process.

    Raises:
        ConfigError: the options do not fit together, or the extra `evals` is missing.
    """

    @named_options
    def __init__(
        self,
        *,
        share: float | Mapping[str, float],
        grade: Grade | Validator | None = None,
        within: float = 0.05,
        confidence: float = 0.95,
        on_drift: Literal["log", "bypass", "fallback"] = "log",
        fallback: Policy | None = None,
        spend: Spend | None = None,
        labels: Any = None,
        queue: int = 1000,
        concurrency: int = 2,
        timeout_s: float = 120.0,
        seed: int | None = None,
    ) -> None:
        self.shares: Mapping[str, float] | float = share
        for path, one in share.items() if isinstance(share, Mapping) else [("", share)]:
            _check_share(f"share of path {path!r}" if path else "share", one)
        for option, value in (("within", within), ("confidence", confidence)):
            check_threshold(f"audit: {option}", value)
            if value in (0, 1):
                raise ConfigError(f"audit: {option}={value!r} allows nothing or everything")
        if on_drift not in ("log", "bypass", "fallback"):
            raise ConfigError(f'on_drift={on_drift!r}; write "log", "bypass" or "fallback"')
        if (on_drift == "fallback") != (fallback is not None):
            raise ConfigError('on_drift="fallback" and a fallback policy go together')
        if labels is not None and not isinstance(labels, _TakesOutcomes):
            raise ConfigError(
                f"labels is a {type(labels).__name__}, which has no method record_outcome; give a "
                "ledger"
            )
        check_count("queue", queue, least=1)
        check_count("concurrency", concurrency, least=1)
        check_seconds("timeout_s", timeout_s)
        self.grade = grade
        self.within = within
        self.confidence = confidence
        self.on_drift: Literal["log", "bypass", "fallback"] = on_drift
        self.fallback = fallback
        self.spend = spend
        self.labels: _TakesOutcomes | None = labels
        self.queue = queue
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.seed = seed

    def share_of(self, path: str | None) -> float:
        """The share of a path's calls that is audited."""
        if isinstance(self.shares, Mapping):
            return self.shares.get(path or "", 0.0)
        return self.shares


@dataclass(frozen=True, slots=True)
class _Case:
    """An accepted answer that waits to be audited."""

    call: Call
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    attempt: Attempt
    id: str
    path: str | None
    share: float


class Auditor:
    """Audits the calls of one cascade.

    Attributes:
        audited: how many answers were compared.
        failed: how many were not, because the strongest tier gave no answer to compare with.
        left_out: how many were not, because the queue was full.
        cost_usd: what the audits cost, in USD, exact; a lower bound where `unknown_costs` is not 0.
        unknown_costs: how many of the audits' calls have an unknown cost.

    Args:
        audit: how.
        plan: the cascade's whole ladder, whose last rung is the strongest tier.
    """

    def __init__(self, audit: Audit, plan: Plan, paths: Mapping[str, Any]) -> None:
        check_packages()
        from cascade.evals.audit import AuditBook

        if len(plan.rungs) < 2:
            raise ConfigError("audit has no effect with one tier: there is no stronger one to ask")
        if isinstance(audit.shares, Mapping):
            for path in audit.shares:
                if path and path not in paths:
                    raise ConfigError(
                        f"audit: share names the path {path!r}; {did_you_mean(path, paths)}"
                    )
        if audit.fallback is not None:
            if plan.policy is None:
                raise ConfigError(
                    "audit: a fallback takes the place of a policy, and this cascade has none; "
                    'give it policy=..., or use on_drift="bypass"'
                )
            plan.policy.check(audit.fallback)
        self.audited = self.failed = self.left_out = self.unknown_costs = 0
        self.cost_usd = Decimal(0)
        self._audit = audit
        self._strongest = plan.rungs[-1]
        self._policy = plan.policy
        # The audit itself is neither observed nor audited, and its money is its own.
        self._plan = replace(
            plan,
            rungs=(self._strongest,),
            spend=audit.spend,
            rungs_when_near=1,
            observers=Observers(),
            policy=None,
            audit=None,
        )
        self._random = random.Random(audit.seed)
        self._cases: deque[_Case] = deque()
        self._waiting: Event | None = None
        self._bypassed: set[str | None] = set()
        self._book = AuditBook(
            within=audit.within,
            confidence=audit.confidence,
            least_share=lambda path, tier: audit.share_of(path),
        )
        watch_audits(self)

    # On the request path.

    def bypasses(self, path: str | None) -> bool:
        """Whether calls on a path are to ask the strongest tier alone, since it drifted."""
        return path in self._bypassed

    def offer(self, run: Run, result: Result[Any]) -> None:
        """Note a finished call, and by chance have it audited later."""
        if not result.accepted or result.tier == self._strongest.tier.name:
            return
        share = self._audit.share_of(result.path)
        if share == 0.0 or self._random.random() >= share:
            return
        if len(self._cases) >= self._audit.queue:
            self.left_out += 1
            return
        attempt = next(a for a in reversed(result.attempts) if a.outcome == "accepted")
        self._cases.append(
            _Case(run.call, run.args, run.kwargs, attempt, result.id, result.path, share)
        )
        if self._waiting is not None:
            self._waiting.set()

    # Off it.

    async def work(self) -> None:
        """Audit what was noted, until cancelled. `Cascade.lifespan` runs it."""
        places = Semaphore(self._audit.concurrency)
        async with create_task_group() as group:
            while True:
                while self._cases:
                    await places.acquire()
                    group.start_soon(self._audit_in_place, self._cases.popleft(), places)
                self._waiting = Event()
                if not self._cases:
                    await self._waiting.wait()

    async def catch_up(self) -> None:
        """Audit what was noted so far, and return."""

        async def work() -> None:
            while self._cases:
                await self._audit_one(self._cases.popleft())

        async with create_task_group() as group:
            for _ in range(min(self._audit.concurrency, len(self._cases))):
                group.start_soon(work)

    async def _audit_in_place(self, case: _Case, places: Semaphore) -> None:
        try:
            await self._audit_one(case)
        finally:
            places.release()

    async def _audit_one(self, case: _Case) -> None:
        attempt = Attempt(self._strongest.tier.name, model=self._strongest.tier.model)
        scores: tuple[float, float] | None = None
        try:
            with move_on_after(self._audit.timeout_s):
                run = Run(self._plan, case.call, case.args, case.kwargs)
                await attempt_rung(run, self._strongest, attempt, None)
                if attempt.outcome == "accepted":
                    scores = await self._scores(case, attempt, run)
        except Exception as error:
            warn("audit_failed", cascade=self._plan.cascade, error=type(error).__name__)
        finally:
            self._bill(attempt)
        if scores is None:
            self.failed += 1
        else:
            self._learn(case, *scores)

    async def _scores(self, case: _Case, strong: Attempt, run: Run) -> tuple[float, float] | None:
        """How good the accepted answer is and the strongest tier's. None: nobody could tell.

        What grading asks of models is the audit's: on its bill, and under its caps.
        """
        grade = self._audit.grade
        if isinstance(grade, Validator):
            mine = await self._judged(grade, case, case.attempt, strong.charges, run)
            if mine is None:
                return None
            best = await self._judged(grade, case, strong, strong.charges, run)
            return None if best is None else (mine, best)
        if grade is None:
            one, other = comparable(case.attempt.value), comparable(strong.value)
            return None if one is None or other is None else (float(one == other), 1.0)
        with self._context(case, strong, strong.charges, run).billed_to(_GRADE):
            said: Any = grade(case.attempt.value, strong.value)
            score = float(await said if inspect.isawaitable(said) else said)
        if not 0 <= score <= 1:
            raise ValueError("a grade lies from 0 to 1")
        return score, 1.0

    def _context(self, case: _Case, judged: Attempt, charges: list[Charge], run: Run) -> Context:
        return Context(
            self._strongest.tier,
            judged.request,
            case.args,
            case.kwargs,
            case.path,
            call=case.call,
            charges=charges,
            spend=run.spend,
            call_id=run.id,
        )

    async def _judged(
        self, grade: Validator, case: _Case, attempt: Attempt, charges: list[Charge], run: Run
    ) -> float | None:
        if attempt.answer is None:
            return None
        context = self._context(case, attempt, charges, run)
        verdict = await grade.judge(attempt.answer, context)
        if verdict.score is not None:
            return verdict.score
        return None if verdict.status == "abstained" else float(verdict.status == "passed")

    def _bill(self, attempt: Attempt) -> None:
        costs = [charge.cost_usd for charge in attempt.charges]
        self.unknown_costs += costs.count(None)
        known = add_exactly((self.cost_usd, *(cost for cost in costs if cost is not None)))
        self.cost_usd = self.cost_usd if known is None else known

    def _learn(self, case: _Case, score: float, best: float) -> None:
        self.audited += 1
        if self._audit.labels is not None:
            self._audit.labels.record_outcome(
                case.id,
                correct=score >= best,
                score=score,
                label=f"share={case.share:g} best={best:g}",
                by=AUDITED_BY,
            )
        if self._book.add(case.path, case.attempt.tier, score, best, case.share):
            self._drifted(case)

    def _drifted(self, case: _Case) -> None:
        warn(
            "audit_drift",
            cascade=self._plan.cascade,
            path=case.path,
            tier=case.attempt.tier,
            within=self._audit.within,
            on_drift=self._audit.on_drift,
        )
        if self._audit.on_drift == "bypass":
            self._bypassed.add(case.path)
        elif self._audit.fallback is not None and self._policy is not None:
            self._policy.fall_back(self._audit.fallback)

    def estimates(self) -> list[AuditEstimate]:
        """What the audits say so far, by path and tier."""
        return list(self._book)

    def audit_states(self) -> list[AuditState]:
        """The same for whoever watches the process, from any thread."""
        return [
            AuditState(
                self._plan.cascade, one.path, one.tier, one.quality, one.regret, one.has_drifted
            )
            for one in self._book
        ]

    def reset(self) -> None:
        """Begin anew, as after a mended route: no estimates, no alarms, no bypass."""
        self._bypassed.clear()
        self._book = type(self._book)(
            within=self._audit.within,
            confidence=self._audit.confidence,
            least_share=lambda path, tier: self._audit.share_of(path),
        )


def _check_share(name: str, share: object) -> None:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise ConfigError(f"{name} is {share!r}; give a part of the calls, above 0 and up to 1")


def check_packages() -> None:
    """Raises ConfigError when what the estimates need is not installed."""
    missing = [name for name in ("numpy", "scipy") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f'audits need {" and ".join(missing)}: pip install "cascade-engine[evals]"'
        )
